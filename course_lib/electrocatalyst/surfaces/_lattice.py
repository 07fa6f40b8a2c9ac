"""The lattice constant at which a potential's own fcc crystal is in equilibrium."""

from ase.build import bulk
from ase.calculators.calculator import Calculator
from ase.data import atomic_numbers, covalent_radii


# angstrom; `fit_lattice_constant` computes them, and a test holds the table against it.
LATTICE: dict[str, dict[str, float]] = {
    "emt": {
        "Ag": 4.0636,
        "Al": 3.9943,
        "Au": 4.0562,
        "Cu": 3.5898,
        "Ni": 3.4872,
        "Pd": 3.8787,
        "Pt": 3.9218,
    },
    "chgnet": {
        "Ag": 4.1590,
        "Al": 4.0445,
        "Au": 4.1715,
        "Cu": 3.6168,
        "Ir": 3.8761,
        "Ni": 3.5033,
        "Pd": 3.9529,
        "Pt": 3.9762,
        "Rh": 3.8471,
    },
}


def lattice_constant(metal: str, potential: str = "emt") -> float:
    """Return the fcc lattice constant in angstrom of `metal` in `emt` or `chgnet`, from a table.

    Raises ValueError for a metal that the table of this potential does not hold.
    """
    if potential not in LATTICE:
        raise ValueError(f"There is no table for '{potential}'; choose one of: {_names(LATTICE)}.")
    table = LATTICE[potential]
    if metal not in table:
        raise ValueError(f"'{metal}' is not among the metals of {potential}: {_names(table)}.")
    return table[metal]


def fit_lattice_constant(metal: str, calculator: Calculator) -> float:
    """Return the lattice constant in angstrom of the lowest energy of an fcc crystal."""
    from scipy.optimize import minimize_scalar

    def energy(constant: float) -> float:
        crystal = bulk(metal, "fcc", a=constant)
        crystal.calc = calculator
        return crystal.get_potential_energy()

    guess = 2 * 2**0.5 * covalent_radii[atomic_numbers[metal]]  # neighbors that touch
    found = minimize_scalar(energy, bounds=(0.85 * guess, 1.3 * guess), options={"xatol": 1e-4})
    return float(found.x)


def _names(table: dict) -> str:
    return ", ".join(sorted(table))
