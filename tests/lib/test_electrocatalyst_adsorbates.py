"""OC20's list of adsorbates: read without running anything, and every reaction of it balances."""

import importlib.metadata
import pickle
import re
import subprocess
import sys

import numpy as np
import pytest

from course_lib.electrocatalyst import energetics as en
from course_lib.electrocatalyst.energetics import _adsorbates


pytestmark = pytest.mark.lab70
LIST = en.adsorbates()
TERM = re.compile(r"([+-]?) *([\d.]*) *(CO|H2O|H2|N2)\(g\)")


def test_the_list_is_that_of_oc20():
    assert [adsorbate.index for adsorbate in LIST] == list(range(86))
    assert en.OC20_ADSORBATES == 82
    later = [adsorbate.symbol for adsorbate in LIST[en.OC20_ADSORBATES :]]
    assert later == ["CO*COH", "*OCHO", "*COOH", "*OOH"]
    assert [a.symbol for a in LIST[:6]] == ["*O", "*H", "*OH", "*OH2", "*C", "*CO"]
    assert LIST[81].symbol == "*CN"
    assert {element for a in LIST for element in a.counts} == {"C", "H", "O", "N"}


@pytest.mark.parametrize("adsorbate", LIST, ids=lambda adsorbate: adsorbate.symbol)
def test_every_reaction_balances(adsorbate):
    made = en.reaction(adsorbate.counts)
    for element in "CHON":
        supplied = sum(n * en.MOLECULES[m].get(element, 0) for m, n in made.items())
        assert supplied == adsorbate.counts.get(element, 0)  # halves are exact
    printed = dict.fromkeys(en.MOLECULES, 0.0)
    for sign, number, molecule in TERM.findall(adsorbate.reaction):
        printed[molecule] += (-1 if sign == "-" else 1) * float(number or 1)
    assert printed == made, adsorbate.reaction
    assert adsorbate.reaction.endswith(f"→ {adsorbate.symbol}")


@pytest.mark.parametrize("adsorbate", LIST, ids=lambda adsorbate: adsorbate.symbol)
def test_entries_are_whole(adsorbate):
    atoms = adsorbate.atoms
    assert sum(adsorbate.counts.values()) == len(atoms)
    assert {e: atoms.get_chemical_symbols().count(e) for e in adsorbate.counts} == adsorbate.counts
    assert all(0 <= atom < len(atoms) for atom in adsorbate.binding)
    assert len(adsorbate.binding) >= 1
    apart = atoms.get_all_distances()[np.triu_indices(len(atoms), 1)]
    assert (apart > 0.7).all()  # angstrom, below the shortest bond, that of H2


def test_nothing_of_the_package_is_imported():
    code = (
        "import sys; from course_lib.electrocatalyst.energetics import adsorbates; "
        "print(len(adsorbates()), 'fairchem' in sys.modules, 'torch' in sys.modules)"
    )
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert made.stdout.split() == ["86", "False", "False"]


def test_importing_is_light():
    code = (
        "import sys, course_lib.electrocatalyst.energetics; "
        "print({'ase', 'torch', 'pandas', 'scipy'} & set(sys.modules))"
    )
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert made.stdout.strip() == "set()"


def test_a_missing_package_names_the_extra(monkeypatch):
    def absent(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", absent)
    with pytest.raises(ModuleNotFoundError, match=r"small-memory\[chem\]"):
        en.adsorbates()


def test_a_hostile_list_runs_nothing(monkeypatch, tmp_path):
    class Hostile:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    file = tmp_path / "adsorbates.pkl"
    file.write_bytes(pickle.dumps({0: Hostile()}))
    monkeypatch.setattr(_adsorbates, "_file", lambda: file)
    with pytest.raises(ValueError, match="list of adsorbates"):
        en.adsorbates()
    assert not (tmp_path / "ran").exists()
