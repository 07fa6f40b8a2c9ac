"""Checks of lab 70, energies: one adsorption energy by hand, one overpotential."""

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from course_lib.lab.exercise import Wrong, exercise, generator, same_number


if TYPE_CHECKING:
    from torch import Generator


Number = float | int

CLOSE = 1e-6  # eV
FROM_LIST = 3  # adsorbates of OC20's list that an answer is asked for
GAS = {"H2": -6.7, "H2O": -14.2, "CO": -14.8, "N2": -16.6}  # eV, the size DFT gives
WATER = 4.92  # eV, free energy of 2 H2O -> O2 + 4 (H+ + e-)
IDEAL = WATER / 4  # V, each of the four steps of an ideal catalyst

# One of each row is asked, in this order: the first row tells what oxygen is measured against, the
# second what carbon brings along. Then come some of OC20's list.
ADSORBATES = (
    {"*O": {"O": 1}, "*OH": {"O": 1, "H": 1}},
    {"*CHO": {"C": 1, "H": 1, "O": 1}, "*CH2*O": {"C": 1, "H": 2, "O": 1}},
    {"*CH": {"C": 1, "H": 1}, "*CCH": {"C": 2, "H": 1}, "*CCHO": {"C": 2, "H": 1, "O": 1}},
    {"*N*NH": {"N": 2, "H": 1}, "*NH2": {"N": 1, "H": 2}, "*NO2": {"N": 1, "O": 2}},
    {"*COOH": {"C": 1, "H": 1, "O": 2}, "*CN": {"C": 1, "N": 1}},
)


def _uniform(random: "Generator", low: Number, high: Number) -> float:
    import torch

    return low + (high - low) * float(torch.rand((), generator=random, dtype=torch.float64))


def _one_of(random: "Generator", some: list[Any]) -> Any:
    import torch

    return some[int(torch.randint(len(some), (), generator=random))]


@exercise(
    "70.adsorption_energy",
    points=2,
    difficulty=2,
    minutes=8,
    hints=(
        "The adsorption energy is that of a reaction: gas molecules and a clean slab on the left, "
        "the covered slab on the right. So which three energies do you subtract or add?",
        "Balance atoms, one element after the other. C comes from CO and brings an O along. What O "
        "then lacks comes from H2O, or leaves as H2O. H2 settles H, two atoms at a time.",
        "x, y, z, w = (counts.get(e, 0) for e in 'CHON'); then subtract x * gas['CO'] + "
        "(x + y / 2 - z) * gas['H2'] + (z - x) * gas['H2O'] + w / 2 * gas['N2'] and e_slab from "
        "e_adslab.",
    ),
)
def adsorption_energy(answer: Callable[..., Any]) -> None:
    """Ask for adsorbates, some drawn from OC20's list, with random energies; name usual slips."""
    from course_lib.electrocatalyst.energetics import adsorbates

    random = generator()
    gas = {name: size + _uniform(random, -1, 1) for name, size in GAS.items()}
    asked = [_one_of(random, list(row.items())) for row in ADSORBATES]
    listed = adsorbates()
    for one in (_one_of(random, listed) for _ in range(FROM_LIST)):
        asked.append((one.symbol, one.counts))
    for name, counts in asked:
        slab, want = _uniform(random, -90, -60), _uniform(random, -3, 3)
        adslab = want + slab + _of_gas(gas, *_molecules(counts))
        got = answer(adslab, slab, dict(counts), dict(gas))
        _one_energy(got, want, name, counts, (adslab, slab, gas))


def _molecules(counts: Mapping[str, int]) -> tuple[Number, Number, Number, Number]:
    """Return how many CO, H2, H2O and N2 make the adsorbate; negative ones leave."""
    x, y, z, w = (counts.get(element, 0) for element in "CHON")
    return x, x + y / 2 - z, z - x, w / 2


def _of_gas(gas: Mapping[str, float], co: Number, h2: Number, h2o: Number, n2: Number) -> Number:
    return co * gas["CO"] + h2 * gas["H2"] + h2o * gas["H2O"] + n2 * gas["N2"]


def _one_energy(
    got: Any,
    want: Number,
    name: str,
    counts: Mapping[str, int],
    energies: tuple[float, float, Mapping[str, float]],
) -> None:
    adslab, slab, gas = energies
    x, y, z, w = (counts.get(element, 0) for element in "CHON")

    def energy(*molecules: Number) -> Number:
        return adslab - slab - _of_gas(gas, *molecules)

    co, h2, h2o, n2 = _molecules(counts)
    mistakes = {
        "Subtract the energy of the clean slab as well.": want + slab,
        "The gas molecules are the reactants: subtract their energy, do not add it.": 2
        * (adslab - slab)
        - want,
        "The gas molecules are missing. Subtract the energy of what the adsorbate is made from.": (
            adslab - slab
        ),
        "The sign is reversed: products minus reactants, so binding is negative.": -want,
        "H comes from H2, which has two atoms: each H counts one half of it.": energy(
            co, h2 + y / 2, h2o, n2
        ),
        "N comes from N2, which has two atoms: each N counts one half of it.": energy(
            co, h2, h2o, w
        ),
        "For each O you take H2O, but its H2 stays behind: subtract one H2 for each.": energy(
            co, y / 2, h2o, n2
        ),
        "Each CO brings an O along. So only z - x of the O come from H2O.": energy(co, h2, z, n2),
        "You left out the O that each CO brings, in H2O and in H2.": energy(co, y / 2 - z, z, n2),
        "H does not balance: water that leaves takes H along. H2 counts x + y/2 - z.": energy(
            co, y / 2 - z, h2o, n2
        ),
    }
    head = f"For {name} with {_formula(counts)}: "
    for words, wrong in mistakes.items():
        if _is(_plain(got), wrong) and not _is(want, wrong):
            raise Wrong(f"{head}{got:.4f} eV in place of {want:.4f}. {words}")
    same_number(got, want, f"{head}the energy in eV", tol=CLOSE)


def _formula(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {element}" for element, number in counts.items())


def _is(got: Any, value: Number) -> bool:
    number = isinstance(got, int | float) and not isinstance(got, bool)
    return number and math.isclose(got, value, abs_tol=CLOSE)


@exercise(
    "70.overpotential",
    points=2,
    difficulty=2,
    minutes=6,
    hints=(
        "G_OH, G_O and G_OOH are heights of a ladder that starts at 0 and ends at 4.92 eV. "
        "A step is the difference of two neighboring heights.",
        "The four steps add up to 4.92 eV. The highest one decides which voltage is needed. "
        "The overpotential is what it takes beyond 1.23 V.",
        "steps = [g_oh, g_o - g_oh, g_ooh - g_o, 4.92 - g_ooh]; eta = max(steps) - 1.23; "
        "return eta, steps.index(max(steps)) + 1.",
    ),
)
def overpotential(answer: Callable[..., Any]) -> None:
    """Ask for ladders whose limiting step is the first, second, third, and fourth."""
    import torch

    random = generator()
    for place in torch.randperm(4, generator=random).tolist():
        steps = [_uniform(random, 0.3, 1.2) for _ in range(4)]
        steps[place] += 1.5
        steps = [one * WATER / sum(steps) for one in steps]
        heights = [sum(steps[: count + 1]) for count in range(3)]
        _one_ladder(answer(*heights), heights)


def _one_ladder(got: Any, heights: list[float]) -> None:
    oh, o, ooh = heights
    call = f"my_overpotential({oh:.3f}, {o:.3f}, {ooh:.3f})"
    if not isinstance(got, tuple | list) or len(got) != 2:
        raise Wrong(f"{call} should return two numbers: eta in V, and the limiting step.")
    steps = [oh, o - oh, ooh - o, WATER - ooh]
    top, low = max(steps), min(steps)
    number = steps.index(top) + 1

    def ladder(*some: float) -> tuple[float, int]:
        return max(some) - IDEAL, some.index(max(some)) + 1

    mistakes = {
        "The first number is the energy of the highest step. Subtract 4.92 / 4 = 1.23 from it.": (
            top,
            number,
        ),
        "Steps count from 1 here: the step to *OH is number 1.": (top - IDEAL, number - 1),
        "The last step is missing, or has the wrong sign: it is 4.92 - G_OOH.": ladder(*steps[:3]),
        "This is the ORR, the reverse reaction. For the OER take the highest step.": (
            IDEAL - low,
            steps.index(low) + 1,
        ),
        "A height is no step. Take the difference to the height before it.": ladder(oh, o, ooh),
        "The order is wrong: eta first, then the step.": (number, top - IDEAL),
    }
    right = _is(_plain(got[0]), top - IDEAL) and _plain(got[1]) == number
    for words, (eta, step) in mistakes.items():
        if not right and _is(_plain(got[0]), eta) and _is(_plain(got[1]), step):
            raise Wrong(f"{call} should be ({top - IDEAL:.3f}, {number}). {words}")
    same_number(got[0], top - IDEAL, f"{call}: eta, in V,", tol=CLOSE)
    same_number(got[1], number, f"{call}: the limiting step")


def _plain(one: Any) -> Any:
    """A number of numpy or torch as one of Python."""
    return one.item() if hasattr(one, "item") and getattr(one, "size", 1) == 1 else one
