"""The four gas molecules behind every reference energy, relaxed by the potential of the slabs."""

from typing import TYPE_CHECKING

from course_lib.electrocatalyst.energetics._reactions import MOLECULES


if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator

BOX = 12.0  # angstrom, the side of a molecule's empty cell


def gas_energies(
    calculator: "Calculator", fmax: float = 0.01, steps: int = 200
) -> dict[str, float]:
    """Energies (eV) of CO, H2, H2O and N2, each relaxed alone in a cubic cell: for `references`.

    calculator: an ASE calculator, the one that also gives the slabs' energies. fmax: the largest
    force left (eV/angstrom). Errors: ValueError for a molecule not relaxed within `steps`.
    """
    from ase.build import molecule
    from ase.optimize import BFGS

    energies = {}
    for name in MOLECULES:
        atoms = molecule(name, cell=(BOX, BOX, BOX), pbc=True)
        atoms.center()
        atoms.calc = calculator
        if not BFGS(atoms, logfile=None).run(fmax=fmax, steps=steps):
            raise ValueError(f"{name} did not relax to {fmax:g} eV/angstrom in {steps} steps.")
        energies[name] = float(atoms.get_potential_energy())
    return energies
