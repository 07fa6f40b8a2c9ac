"""A learned model as an ASE calculator, so that ASE can relax with it.

The third way to a relaxed energy in the Open Catalyst benchmark (arXiv 2010.09990): a model of
energies and forces moves the atoms itself.
"""

from collections.abc import Collection
from typing import Any

from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

from course_lib.electrocatalyst.graphs import graph
from course_lib.electrocatalyst.models import EnergyModel, energy_and_forces


class LearnedPotential(Calculator):
    """Energy (eV) and forces (eV/angstrom) of a trained model; neighbors are found anew each time.

    `elements`: the symbols of the training set. Others are refused: their rows of the embedding
    are still random. The energy is what the model was trained on, here the adsorption energy.
    Raises ValueError in `calculate` for other elements and for structures that have no graph.
    """

    implemented_properties = ["energy", "forces"]

    def __init__(self, model: EnergyModel, elements: Collection[str]) -> None:
        """Take the model in eval mode."""
        super().__init__()
        self.model, self.elements = model.eval(), frozenset(elements)

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Any = ("energy",),
        system_changes: Any = all_changes,
    ) -> None:
        """Compute energy and forces of one structure."""
        super().calculate(atoms, list(properties), system_changes)
        assert self.atoms is not None
        unknown = sorted(set(self.atoms.get_chemical_symbols()) - self.elements)
        if unknown:
            raise ValueError(
                f"The model never saw {', '.join(unknown)}; "
                f"it was trained on {', '.join(sorted(self.elements))}."
            )
        weight = next(self.model.parameters())
        made = graph(self.atoms, cutoff=self.model.config["cutoff"], dtype=weight.dtype)
        energy, forces = energy_and_forces(self.model, made.to(weight.device))
        self.results = {
            "energy": float(energy[0]),
            "forces": forces.detach().double().cpu().numpy(),
        }
