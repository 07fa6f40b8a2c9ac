"""Check of lab 70, splits: which slabs are on both sides?"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from course_lib.lab.exercise import Wrong, exercise, generator


if TYPE_CHECKING:
    import pandas
    from torch import Generator


SITES = {"H": ("fcc", "hcp"), "N": ("fcc", "hcp"), "O": ("fcc", "bridge")}
FRAMES = 4


@exercise(
    "70.leakage",
    points=2,
    difficulty=2,
    minutes=6,
    hints=(
        "A slab comes with several adsorbates and sites, and each of those has many frames. "
        "Which column tells that two rows share a slab?",
        "Collect the ids of the slabs of each table once: set(train['slab']). "
        "Two sets have an intersection.",
        "return sorted(set(train['slab']) & set(test['slab'])).",
    ),
)
def leakage(answer: Callable[..., Any]) -> None:
    """Split by samples, by frames, and by slabs; only the last one shares no slab."""
    random = generator()
    for by in ("sample", "frame", "slab"):
        train, test = _split(_table(random), by, random)
        _one_split(answer(train.copy(), test.copy()), train, test, by)


def _table(random: "Generator") -> "pandas.DataFrame":
    """Frames of relaxations: 8 to 11 slabs, three adsorbates, two sites each."""
    import pandas
    import torch

    metals = ("Ag", "Al", "Au", "Cu", "Ni", "Pd", "Pt")
    rows = []
    for place in range(int(torch.randint(8, 12, (), generator=random))):
        one, two = (metals[i] for i in torch.randperm(7, generator=random)[:2].tolist())
        slab = f"{one}{two}-111-{place:02d}"
        for adsorbate, sites in SITES.items():
            for site in sites:
                whole = dict(
                    sample=f"{slab}-{adsorbate}-{site}", slab=slab, adsorbate=adsorbate, site=site
                )
                rows += [dict(whole, frame=frame) for frame in range(FRAMES)]
    order = torch.randperm(len(rows), generator=random).tolist()
    return pandas.DataFrame([rows[i] for i in order])


def _split(
    table: "pandas.DataFrame", by: str, random: "Generator"
) -> tuple["pandas.DataFrame", "pandas.DataFrame"]:
    """Split at random by whole slabs, by whole samples, or by single frames.

    Three slabs stay whole in any case: one for training, two for the test.
    """
    import numpy as np
    import torch

    slabs = sorted(set(table["slab"]))
    only_train, *only_test = (slabs[i] for i in torch.randperm(len(slabs), generator=random)[:3])
    keys = table.index.to_numpy() if by == "frame" else table[by].to_numpy()
    names = np.unique(keys)
    chosen = names[torch.randperm(len(names), generator=random)[: len(names) // 4].numpy()]
    held = np.isin(keys, chosen) & (table["slab"] != only_train).to_numpy()
    held |= table["slab"].isin(only_test).to_numpy()
    return table.loc[~held].reset_index(drop=True), table.loc[held].reset_index(drop=True)


def _one_split(got: Any, train: "pandas.DataFrame", test: "pandas.DataFrame", by: str) -> None:
    seen, tested = set(train["slab"]), set(test["slab"])
    want = sorted(seen & tested)
    if isinstance(got, int | float):
        raise Wrong(f"my_leakage returns the number {got}. Return the ids of the slabs as a list.")
    if isinstance(got, set | frozenset | str) or not hasattr(got, "__iter__"):
        kind = type(got).__name__
        raise Wrong(f"my_leakage returns a {kind}; return a sorted list of slab ids.")
    found = [str(one) for one in got]
    if found == want:
        return
    head = f"On a split by {by}s, {len(want)} slabs are on both sides; yours are {len(found)}. "
    samples = set(train["sample"]) & set(test["sample"])
    others = {
        "You compare samples. A slab with another adsorbate is another sample, but the same "
        "slab: compare the column slab.": (
            samples,
            set(test.loc[test["sample"].isin(list(samples)), "slab"]),
        ),
        "You compare adsorbates. Each is on both sides by design: compare the column slab.": (
            set(train["adsorbate"]) & set(test["adsorbate"]),
        ),
        "These are the slabs of the test alone: take those that are in train as well.": (
            tested - seen,
        ),
        "These are all slabs of the test: keep only those that are in train as well.": (tested,),
        "These are all slabs of one side or the other: you need their intersection.": (
            seen | tested,
            seen ^ tested,
        ),
    }
    if sorted(found) == want:
        raise Wrong(f"{head}They are right but not in order: return sorted(…).")
    if sorted(set(found)) == want:
        raise Wrong(f"{head}Each slab should be there once, however many rows it has: use a set.")
    for words, sets in others.items():
        if any(set(found) == one != set(want) for one in sets):
            raise Wrong(head + words)
    missing, more = sorted(set(want) - set(found)), sorted(set(found) - set(want))
    example = f"{missing[0]} is missing." if missing else f"{more[0]} is in one table only."
    raise Wrong(f"{head}{example} Compare the column slab of both tables.")
