"""Potentials by name: `emt`, fast and a toy, and `chgnet`, a pretrained network.

EMT: effective medium theory (Jacobsen, Stoltze and Norskov 1996) in ASE. Its H, C, N and O are toy
parameters: adsorption energies by EMT are not chemistry. CHGNet: Deng and others, Nature Machine
Intelligence 2023; version 0.3.0, whose weights come with the package. It was trained on bulk
crystals with PBE and PBE+U, neither on surfaces nor on molecules.
"""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from functools import lru_cache
from typing import Any

from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from ase.calculators.emt import parameters as emt_parameters
from ase.data import chemical_symbols

from course_lib.electrocatalyst.surfaces._check import refuse_broken


# CHGNet's training set, MPtrj, has the first 94 elements without polonium to radium.
ELEMENTS: dict[str, frozenset[str]] = {
    "chgnet": frozenset(chemical_symbols[1:95]) - {"Po", "At", "Rn", "Fr", "Ra"},
    "emt": frozenset(emt_parameters),
}


def potential(name: str) -> Calculator:
    """Return the ASE calculator `emt` or `chgnet`: energies in eV, forces in eV/angstrom, CPU.

    It prints nothing, and refuses broken structures and elements that it does not know.
    Raises ValueError for another name, ImportError where CHGNet is not installed.
    """
    if name == "emt":
        return _CheckedEMT()
    if name == "chgnet":
        return _chgnet_class()(_chgnet_model(), use_device="cpu", on_isolated_atoms="ignore")
    raise ValueError(f"There is no potential '{name}'; choose one of: {', '.join(ELEMENTS)}.")


def refuse_unknown(atoms: Atoms, name: str) -> None:
    """Raise ValueError for an element that the potential `name` does not know."""
    unknown = sorted(set(atoms.get_chemical_symbols()) - ELEMENTS[name])
    if unknown:
        known = ", ".join(sorted(ELEMENTS[name]))
        other = "chgnet" if name == "emt" else "emt"
        helps = not set(unknown) - ELEMENTS[other]
        advice = f'Take potential("{other}")' if helps else f"It knows {known}"
        raise ValueError(f"{name} has no parameters for {', '.join(unknown)}. {advice}.")


class _CheckedEMT(EMT):
    """ASE's EMT behind the checks."""

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Any = ("energy",),
        system_changes: Any = all_changes,
    ) -> None:
        """Check the structure, then compute."""
        if atoms is not None:
            refuse_broken(atoms)
            refuse_unknown(atoms, "emt")
        super().calculate(atoms, list(properties), system_changes)


@lru_cache(maxsize=1)
def _chgnet_class() -> type[Calculator]:
    CHGNetCalculator = _import_chgnet().CHGNetCalculator

    class CheckedCHGNet(CHGNetCalculator):
        """CHGNet without its words, its stress and its magnetic moments, behind the checks."""

        implemented_properties = ("energy", "forces")

        def __init__(self, *arguments: Any, **options: Any) -> None:
            with _quiet():
                super().__init__(*arguments, **options)

        def calculate(
            self,
            atoms: Atoms | None = None,
            properties: Any = None,
            system_changes: Any = None,
            task: Any = "ef",
        ) -> None:
            if atoms is not None:
                refuse_broken(atoms)
                refuse_unknown(atoms, "chgnet")
            with _quiet():
                super().calculate(atoms, properties, system_changes, task)
            self.results["energy"] = float(self.results["energy"])

    return CheckedCHGNet


@lru_cache(maxsize=1)
def _chgnet_model() -> Any:
    with _quiet():
        return _import_chgnet().CHGNet.load(verbose=False, use_device="cpu")


def _import_chgnet() -> Any:
    try:
        with _quiet():
            from chgnet.model import dynamics
    except ImportError as error:
        raise ImportError(
            'potential("chgnet") needs CHGNet: pip install "small-memory[chem]"'
        ) from error
    return dynamics


@contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
