"""Parts to learn from and parts to be judged by, and how to see that a part has leaked.

The four test parts follow the Open Catalyst benchmark (arXiv 2010.09990, section on splits): ID is
like the training part; OOD-Ads has an adsorbate that training never saw, OOD-Cat a metal, OOD-Both
both. All parts are cut by clean slab, because two structures of one slab, or two frames of one
relaxation, are nearly the same structure.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from course_lib.electrocatalyst.surfaces import Frame, Sample


Item = TypeVar("Item", Sample, Frame)


@dataclass(frozen=True, repr=False)
class Splits:
    """One training part and four test parts; no two of them share a clean slab."""

    train: list[Sample]
    id: list[Sample]
    ood_ads: list[Sample]
    ood_cat: list[Sample]
    ood_both: list[Sample]

    def tests(self) -> dict[str, list[Sample]]:
        """Return the test parts by name: id, ood_cat, ood_ads, ood_both."""
        return {
            "id": self.id,
            "ood_cat": self.ood_cat,
            "ood_ads": self.ood_ads,
            "ood_both": self.ood_both,
        }

    def __repr__(self) -> str:
        sizes = {"train": self.train, **self.tests()}
        return f"Splits: {', '.join(f'{name} {len(part)}' for name, part in sizes.items())}"


def ood_splits(
    samples: Sequence[Sample],
    adsorbate: str = "N",
    metal: str = "Ni",
    seed: int = 0,
    id_share: float = 0.2,
) -> Splits:
    """Return the splits that keep one adsorbate and one metal away from training.

    `id_share` of the slabs without the metal, drawn by `seed`, is held out: their samples are ID,
    or OOD-Ads where they have the adsorbate. Samples with the adsorbate on training slabs are left
    out: the surface would be known. Slabs with the metal give OOD-Cat and OOD-Both. Training comes
    in random order, so its first n samples are a random choice, and smaller ones are inside larger.
    Raises ValueError for a part that would be empty.
    """
    known = [sample for sample in samples if metal not in sample.metals]
    strange = [sample for sample in samples if metal in sample.metals]
    if not known or not strange:
        raise ValueError(
            f"{len(strange)} of {len(samples)} samples hold {metal}; the splits need samples with "
            "and without it. Choose another metal."
        )
    rest, held = split_systems(known, id_share, seed)
    train = [sample for sample in rest if sample.adsorbate != adsorbate]
    order = np.random.default_rng(seed).permutation(len(train))
    found = Splits(
        train=[train[i] for i in order],
        id=[sample for sample in held if sample.adsorbate != adsorbate],
        ood_ads=[sample for sample in held if sample.adsorbate == adsorbate],
        ood_cat=[sample for sample in strange if sample.adsorbate != adsorbate],
        ood_both=[sample for sample in strange if sample.adsorbate == adsorbate],
    )
    empty = [name for name, part in {"train": train, **found.tests()}.items() if not part]
    if empty:
        raise ValueError(
            f"Without {adsorbate} and {metal} there is nothing left for: {', '.join(empty)}. "
            "Take more samples, or another adsorbate or metal."
        )
    return found


def split_systems(
    items: Sequence[Item], share: float, seed: int = 0
) -> tuple[list[Item], list[Item]]:
    """Return `(rest, held)`: `share` of the clean slabs, at least one, with all that is on them.

    For samples and for frames; both lists keep the order of `items`. Use it to cut a validation
    part from training. Raises ValueError for a share outside 0 to 1, or fewer than two slabs.
    """
    if not 0 < share < 1:
        raise ValueError(f"The share is {share}; it must lie between 0 and 1.")
    systems = sorted({item.system for item in items})
    if len(systems) < 2:
        raise ValueError(f"A split by slab needs at least two slabs; here are {len(systems)}.")
    count = min(max(1, round(share * len(systems))), len(systems) - 1)
    drawn = np.random.default_rng(seed).permutation(len(systems))[:count]
    chosen = {systems[i] for i in drawn}
    rest = [item for item in items if item.system not in chosen]
    return rest, [item for item in items if item.system in chosen]


def split_randomly(
    items: Sequence[Item], share: float, seed: int = 0
) -> tuple[list[Item], list[Item]]:
    """Return `(rest, held)`, drawn without a look at slabs: the usual mistake, kept to show it.

    Errors as for `split_systems`.
    """
    if not 0 < share < 1 or len(items) < 2:
        raise ValueError(f"A share of {share} of {len(items)} items leaves a part empty.")
    count = min(max(1, round(share * len(items))), len(items) - 1)
    drawn = set(np.random.default_rng(seed).permutation(len(items))[:count].tolist())
    rest = [item for i, item in enumerate(items) if i not in drawn]
    return rest, [item for i, item in enumerate(items) if i in drawn]


def leakage(train: Sequence[Item], test: Sequence[Item]) -> dict[str, int | float]:
    """Return what both parts hold: all zero for an honest split.

    systems: clean slabs in both; trajectories: relaxations in both; samples: items of `test` that
    are in `train` too; share: of the items of `test`, those whose slab is in `train`.
    """
    systems = {item.system for item in train}
    return {
        "systems": len(systems & {item.system for item in test}),
        "trajectories": len({_trajectory(a) for a in train} & {_trajectory(b) for b in test}),
        "samples": len({_identity(a) for a in train} & {_identity(b) for b in test}),
        "share": sum(item.system in systems for item in test) / max(len(test), 1),
    }


def _trajectory(item: Sample | Frame) -> str:
    return item.sample if isinstance(item, Frame) else item.id


def _identity(item: Sample | Frame) -> Hashable:
    return (item.sample, item.step) if isinstance(item, Frame) else item.id
