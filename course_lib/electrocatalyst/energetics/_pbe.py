"""A potential held against density functional theory: the table of Xu and Kitchin, and the test.

Table: Xu and Kitchin 2014, J. Phys. Chem. C 118, 25597 (DOI 10.1021/jp508805h): PBE, fcc(111),
fcc site, a quarter of a monolayer, relative to the free atom. Energies in two references differ
by one number per adsorbate. So that offset is taken out of the comparison, and reported.
"""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from course_lib._paths import data_dir
from course_lib.electrocatalyst.energetics._checks import finite
from course_lib.electrocatalyst.energetics._scaling import scaling


Table = Mapping[str, Mapping[str, float]]  # adsorbate -> metal -> eV


@dataclass(frozen=True)
class Agreement:
    """How a potential's energies of one adsorbate follow PBE's over n metals.

    pearson: correlation. slope: change of the potential's energy per eV of PBE. offset: mean
    difference (eV), the references' included. mae: mean absolute error (eV) without the offset.
    """

    pearson: float
    slope: float
    offset: float
    mae: float
    n: int


@dataclass(frozen=True)
class Transfer:
    """An offset (eV) fitted on a few metals, and the error (eV) it leaves on each other metal."""

    offset: float
    errors: dict[str, float]
    mae: float


def pbe_adsorption() -> dict[str, dict[str, float]]:
    """PBE adsorption energies (eV) relative to the free atom: adsorbate -> metal -> energy.

    Seven metals, O, H, N and C. Source: the module's head; one row of the file for each value.
    """
    table: dict[str, dict[str, float]] = {}
    file = data_dir() / "electrocatalyst" / "pbe_adsorption.csv"
    with file.open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            table.setdefault(row["adsorbate"], {})[row["metal"]] = float(row["energy_ev"])
    return table


def compare(
    computed: Table, pbe: Table, metals: Sequence[str] | None = None
) -> dict[str, Agreement]:
    """How each adsorbate of `computed` follows PBE: adsorbate -> Agreement.

    computed, pbe: adsorbate -> metal -> energy (eV), each in one reference of its own.
    metals: at least three; default all that `pbe` has. Others are not used.
    Errors: ValueError that names an adsorbate or metal without a value, fewer than 3 metals,
    and energies that are not finite.
    """
    return {adsorbate: _agreement(adsorbate, computed, pbe, metals) for adsorbate in computed}


def transfer_offset(
    computed: Mapping[str, float], pbe: Mapping[str, float], fit: Sequence[str]
) -> Transfer:
    """Fit the offset between two tables of one adsorbate on the metals `fit`, test on the others.

    computed, pbe: metal -> energy (eV). offset: mean of computed - PBE over `fit`; errors:
    computed - offset - PBE. Errors: ValueError for metals without a value, or none left to test.
    """
    others = [metal for metal in pbe if metal not in fit]
    if not fit or not others:
        raise ValueError("Fit on at least one metal, and leave at least one to test on.")
    metals = [*fit, *others]
    difference = dict(zip(metals, _difference("The adsorbate", computed, pbe, metals), strict=True))
    offset = float(np.mean([difference[metal] for metal in fit]))
    errors = {metal: float(difference[metal] - offset) for metal in others}
    return Transfer(offset, errors, float(np.mean(np.abs(list(errors.values())))))


def _agreement(
    adsorbate: str, computed: Table, pbe: Table, metals: Sequence[str] | None
) -> Agreement:
    if adsorbate not in pbe:
        raise ValueError(f"PBE's table has no {adsorbate}: it has {', '.join(pbe)}.")
    metals = list(pbe[adsorbate]) if metals is None else list(metals)
    difference = _difference(adsorbate, computed[adsorbate], pbe[adsorbate], metals)
    reference = np.array([pbe[adsorbate][metal] for metal in metals])
    line = scaling(reference, reference + difference)
    offset = float(difference.mean())
    return Agreement(
        pearson=line.pearson,
        slope=line.slope,
        offset=offset,
        mae=float(np.abs(difference - offset).mean()),
        n=line.n,
    )


def _difference(
    adsorbate: str, computed: Mapping[str, float], pbe: Mapping[str, float], metals: Sequence[str]
) -> Float[np.ndarray, " metals"]:
    for name, table in (("the computed energies", computed), ("the energies of PBE", pbe)):
        missing = [metal for metal in metals if metal not in table]
        if missing:
            raise ValueError(
                f"{adsorbate}: {name} have no {', '.join(missing)}; name the metals to compare."
            )
    mine = finite(f"{adsorbate}, computed,", np.array([computed[metal] for metal in metals]))
    return mine - finite(f"{adsorbate}, PBE,", np.array([pbe[metal] for metal in metals]))
