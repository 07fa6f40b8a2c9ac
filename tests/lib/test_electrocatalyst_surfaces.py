"""Slabs, adsorbates, potentials, relaxations, and what went wrong in them."""

import subprocess
import sys

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.emt import EMT
from ase.data import covalent_radii

from course_lib.electrocatalyst.surfaces import (
    ADSORBATES,
    METALS,
    adsorption_energy,
    anomalies,
    atom_energies,
    fit_lattice_constant,
    gas_energies,
    lattice_constant,
    place,
    potential,
    reference_energies,
    relax,
    sites,
    slab,
)


pytestmark = pytest.mark.lab70


@pytest.fixture(scope="module")
def copper() -> Atoms:
    return slab("Cu")


def nearest(atoms: Atoms, number: int) -> float:
    """The distance of an atom to its nearest neighbor, in angstrom."""
    others = [other for other in range(len(atoms)) if other != number]
    return float(atoms.get_distances(number, others, mic=True).min())


# --- slabs


@pytest.mark.parametrize("facet", ["111", "100"])
@pytest.mark.parametrize("metals", ["Pt", ("Cu", "Ni")])
def test_slab_has_the_tags_and_constraints_of_oc20(facet, metals):
    atoms = slab(metals, facet, size=(2, 2, 4), seed=0)
    heights = np.unique(atoms.positions[:, 2].round(6))
    assert len(atoms) == 16 and len(heights) == 4
    assert atoms.pbc.all()
    top = np.isclose(atoms.positions[:, 2], heights[-1])
    assert (atoms.get_tags() == np.where(top, 1, 0)).all()
    low = atoms.positions[:, 2] < heights[1] + 1e-6
    assert set(atoms.constraints[0].get_indices()) == set(np.flatnonzero(low))
    assert atoms.cell.array[2, 2] == pytest.approx(heights[-1] - heights[0] + 2 * 8.0)


def test_neighbors_are_at_the_lattice_constant_of_the_potential():
    for name in ("emt", "chgnet"):
        atoms = slab("Pd", potential=name)
        assert nearest(atoms, 0) == pytest.approx(lattice_constant("Pd", name) / 2**0.5, abs=1e-9)


@pytest.mark.parametrize("share", [0.25, 0.5, 0.75])
def test_two_metals_follow_vegard(share):
    atoms = slab(("Ag", "Cu"), share=share, seed=3)
    assert atoms.get_chemical_symbols().count("Cu") == 12 * share
    expected = (1 - share) * lattice_constant("Ag") + share * lattice_constant("Cu")
    assert nearest(atoms, 0) == pytest.approx(expected / 2**0.5, abs=1e-9)


def test_the_seed_decides_the_arrangement():
    first, again, other = (str(slab(("Au", "Pd"), seed=seed).symbols) for seed in (1, 1, 2))
    assert first == again != other


def test_orders():
    layers = slab(("Cu", "Au"), order="layers")
    per_layer = {
        height: set(layers.symbols[np.isclose(layers.positions[:, 2], height)])
        for height in np.unique(layers.positions[:, 2].round(6))
    }
    assert list(per_layer.values()) == [{"Cu"}, {"Au"}, {"Cu"}]
    rows = slab(("Cu", "Au"), "100", order="rows")
    top = rows[rows.get_tags() == 1]
    assert {(round(y, 3), s) for y, s in zip(top.positions[:, 1], top.symbols, strict=True)} == {
        (0.0, "Cu"),
        (round(nearest(rows, 0), 3), "Au"),
    }


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"metals": "Fe"}, "not among the metals of emt"),
        ({"metals": "Rh"}, "not among the metals of emt"),
        ({"metals": ("Cu", "Cu")}, "two different"),
        ({"metals": "Cu", "facet": "110"}, "no facet '110'"),
        ({"metals": "Cu", "size": (2, 2, 2)}, "leaves nothing free"),
        ({"metals": "Cu", "vacuum": 0.0}, "vacuum"),
        ({"metals": ("Cu", "Ni"), "order": "stripes"}, "no order 'stripes'"),
        ({"metals": ("Cu", "Ni"), "share": 1.0}, "between 0 and 1"),
        ({"metals": ("Cu", "Ni"), "share": 0.01}, "one metal"),
        ({"metals": "Cu", "potential": "dft"}, "no table for 'dft'"),
    ],
)
def test_slabs_that_cannot_be(options, words):
    with pytest.raises(ValueError, match=words):
        slab(**options)


def test_lattice_constants_of_emt_are_computed():
    for metal in METALS:
        found = fit_lattice_constant(metal, potential("emt"))
        assert found == pytest.approx(lattice_constant(metal), abs=1e-3)


def test_lattice_constant_of_chgnet_is_computed():
    found = fit_lattice_constant("Pt", potential("chgnet"))
    assert found == pytest.approx(lattice_constant("Pt", "chgnet"), abs=2e-3)


# --- sites and adsorbates


def test_sites_are_where_their_names_say(copper):
    known = sites(copper)
    spacing = nearest(copper, 0)
    assert set(known) == {"ontop", "bridge", "fcc", "hcp"}
    top = copper.positions[copper.get_tags() == 1, :2]
    below = np.isclose(copper.positions[:, 2], np.unique(copper.positions[:, 2].round(6))[1])
    cell = copper.cell.array[:2, :2]

    def to_nearest(points, xy):
        parts = (points - xy) @ np.linalg.inv(cell)
        return np.linalg.norm((parts - parts.round()) @ cell, axis=1).min()

    expected = {"ontop": 0, "bridge": 1 / 2, "fcc": 3**-0.5, "hcp": 3**-0.5}
    for name, copies in known.items():
        assert copies.shape == (4, 2)
        for xy in copies:
            assert to_nearest(top, xy) == pytest.approx(expected[name] * spacing, abs=1e-6)
    assert all(to_nearest(copper.positions[below, :2], xy) < 1e-6 for xy in known["hcp"])
    assert all(to_nearest(copper.positions[below, :2], xy) > 1.0 for xy in known["fcc"])


@pytest.mark.parametrize("adsorbate", ADSORBATES)
@pytest.mark.parametrize("facet", ["111", "100"])
def test_an_adsorbate_touches_the_surface(adsorbate, facet):
    clean = slab(("Al", "Pt"), facet, seed=5)
    before = clean.copy()
    for site in sites(clean):
        atoms = place(clean, adsorbate, site, copy=1)
        assert clean == before
        assert (atoms.get_tags()[12:] == 2).all() and len(atoms) == 12 + len(adsorbate)
        assert len(atoms.constraints[0].get_indices()) == 8
        apart = atoms.get_distances(12, range(12), mic=True)
        touch = covalent_radii[atoms.numbers[12]] + covalent_radii[atoms.numbers[:12]]
        height = atoms.positions[12, 2] - clean.positions[:, 2].max()
        gaps = (apart - touch)[clean.get_tags() == 1]
        assert height >= 1.2 - 1e-9
        assert gaps.min() > -1e-6  # nothing overlaps
        assert gaps.min() < 1e-6 or height == pytest.approx(1.2)


def test_oh_binds_through_oxygen(copper):
    atoms = place(copper, "OH", (1.0, 2.0))
    assert atoms.get_chemical_symbols()[12:] == ["O", "H"]
    assert atoms.positions[12, :2] == pytest.approx([1.0, 2.0])
    assert atoms.get_distance(12, 13) == pytest.approx(0.97)
    assert atoms.positions[13, 2] > atoms.positions[12, 2]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("CO", "fcc"), "no adsorbate 'CO'"),
        (("H", "hollow"), "no site 'hollow'"),
        (("H", "fcc", 4), "has 4 copies"),
    ],
)
def test_adsorbates_that_cannot_be_placed(copper, arguments, words):
    with pytest.raises(ValueError, match=words):
        place(copper, *arguments)


def test_only_slabs_know_their_sites():
    with pytest.raises(ValueError, match="make it with `slab`"):
        sites(Atoms("Cu4"))


# --- potentials


def test_emt_is_that_of_ase(copper):
    ours, theirs = place(copper, "O", "fcc"), place(copper, "O", "fcc")
    ours.calc, theirs.calc = potential("emt"), EMT()
    assert ours.get_potential_energy() == theirs.get_potential_energy()
    assert (ours.get_forces() == theirs.get_forces()).all()


def test_chgnet_is_quiet_and_its_forces_are_those_of_its_energy(capfd):
    atoms = place(slab("Pt", potential="chgnet"), "O", "hcp")
    atoms.calc = potential("chgnet")
    force = atoms.get_forces()[12, 2]
    energies = []
    for step in (0.02, -0.04):
        atoms.positions[12, 2] += step
        energies.append(atoms.get_potential_energy())
    assert force == pytest.approx((energies[1] - energies[0]) / 0.04, rel=0.03)
    assert isinstance(energies[0], float)
    spoken = capfd.readouterr()
    assert spoken.out == spoken.err == ""


def broken() -> list:
    copper = slab("Cu")
    nan, near, far = place(copper, "O", "fcc"), place(copper, "O", "fcc"), place(copper, "O", "fcc")
    nan.positions[12, 1] = np.nan
    near.positions[12] = near.positions[8] + [0.1, 0.0, 0.0]
    far.positions[12] = far.positions[8] + far.cell.array[0] + far.cell.array[1] + [0, 0.2, 0]
    flat = copper.copy()
    flat.set_cell(np.zeros((3, 3)))
    return [
        (nan, r"atom 12 \(O\) is not a number"),
        (near, r"Atoms 8 \(Cu\) and 12 \(O\) overlap: 0.100"),
        (far, r"overlap: 0.200"),
        (flat, "cell has no volume"),
        (Atoms(pbc=False), "no atoms"),
    ]


@pytest.mark.parametrize("name", ["emt", "chgnet"])
@pytest.mark.parametrize("number", range(5))
def test_broken_structures_are_refused(name, number):
    atoms, words = broken()[number]
    with pytest.raises(ValueError, match=words):
        relax(atoms, name)
    atoms.calc = potential(name)
    with pytest.raises(ValueError, match=words):
        atoms.get_potential_energy()


@pytest.mark.parametrize(
    ("name", "metal", "words"),
    [
        ("emt", "Rh", r'no parameters for Rh. Take potential\("chgnet"\)'),
        ("emt", "Po", "no parameters for Po. It knows Ag, Al"),
        ("chgnet", "Po", "chgnet has no parameters for Po"),
    ],
)
def test_unknown_elements_are_refused(copper, name, metal, words):
    atoms = copper.copy()
    atoms.symbols[3] = metal
    with pytest.raises(ValueError, match=words):
        relax(atoms, name)


def test_unknown_potentials_are_refused():
    with pytest.raises(ValueError, match="choose one of: chgnet, emt"):
        potential("dft")


def test_what_is_missing_is_named():
    code = (
        "import sys\n"
        "sys.modules['chgnet'] = None\n"
        "from course_lib.electrocatalyst.surfaces import potential\n"
        "try: potential('chgnet')\n"
        "except ImportError as error: print(error)\n"
        "for name in [n for n in sys.modules if n.split('.')[0] in ('ase', 'course_lib')]:\n"
        "    del sys.modules[name]\n"
        "sys.modules['ase'] = None\n"
        "try: import course_lib.electrocatalyst.surfaces\n"
        "except ImportError as error: print(error)\n"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    lines = said.stdout.splitlines()
    assert [line.split()[0] for line in lines] == [
        'potential("chgnet")',
        "course_lib.electrocatalyst.surfaces",
    ]
    assert all(line.endswith('pip install "small-memory[chem]"') for line in lines)


# --- relaxations


def test_a_relaxation_goes_down_and_keeps_every_step(copper):
    start = place(copper, "N", "bridge")
    found = relax(start, "emt")
    steps = len(found.energies)
    assert found.converged and steps > 3
    assert found.energies[-1] == found.energy < found.energies[0]
    assert found.forces.shape == found.positions.shape == (steps, 13, 3)
    assert found.initial == start and start.calc is None
    fixed = start.constraints[0].get_indices()
    assert (found.positions[:, fixed] == start.positions[fixed]).all()
    free = np.delete(found.forces[-1], fixed, axis=0)
    assert np.linalg.norm(free, axis=1).max() < 0.05
    assert np.abs(found.forces[-1][fixed]).max() > 0.05  # not set to zero by the constraint
    for number in (0, -1):
        frame = found.frames[number]
        fresh = frame.copy()
        fresh.calc = EMT()
        assert frame.get_potential_energy() == pytest.approx(fresh.get_potential_energy(), abs=1e-9)
        kept = frame.get_forces(apply_constraint=False)
        assert kept == pytest.approx(fresh.get_forces(apply_constraint=False), abs=1e-9)
    assert f"{steps - 1} steps" in repr(found)


def test_a_relaxation_may_end_early(copper):
    found = relax(place(copper, "C", "ontop"), EMT(), steps=2)
    assert len(found.energies) == 3 and not found.converged
    assert "not converged" in repr(found)


# --- anomalies


def moved(atoms: Atoms, number: int, step: tuple[float, float, float]) -> Atoms:
    other = atoms.copy()
    other.positions[number] += step
    return other


def test_an_adsorbate_that_stays_is_no_anomaly(copper):
    start = place(copper, "OH", "fcc")
    assert anomalies(start, start) == ()
    assert relax(place(copper, "O", "fcc"), "emt").anomalies == ()
    assert relax(copper, "emt").anomalies == ()


def test_each_anomaly_is_named(copper):
    start = place(copper, "OH", "fcc")
    away = start.copy()
    away.positions[12:, 2] += 3.0
    assert anomalies(away, start) == ("desorbed",)
    assert anomalies(moved(start, 13, (1.5, 0, 0)), start) == ("dissociated",)
    assert anomalies(moved(start, 9, (0, 0, 1.2)), start) == ("surface changed",)
    single = place(copper, "H", "fcc")
    assert anomalies(moved(single, 12, (0, 0, -2.2)), single) == ("intercalated",)
    both = moved(moved(start, 13, (0, 0, 3.0)), 9, (0, 0, 1.2))
    assert anomalies(both, start) == ("dissociated", "surface changed")


def test_an_atom_that_passes_the_edge_of_the_cell_did_not_move(copper):
    start = place(copper, "O", "fcc")
    other = start.copy()
    other.positions[8] += start.cell.array[0] - start.cell.array[1]
    assert anomalies(other, start) == ()


def test_hydrogen_in_a_wide_hollow_is_not_desorbed():
    found = relax(place(slab("Al", "100"), "H", "hollow"), "emt")
    assert nearest(found.relaxed, 12) > 1.5 * (covalent_radii[1] + covalent_radii[13])
    assert found.anomalies == ()


def test_anomalies_need_an_adsorbate_and_the_same_atoms(copper):
    with pytest.raises(ValueError, match="no adsorbate"):
        anomalies(copper, copper)
    with pytest.raises(ValueError, match="same atoms"):
        anomalies(copper, place(copper, "H", "fcc"))


# --- adsorption energies


def test_emt_counts_from_single_atoms(copper):
    single = Atoms("O", calculator=EMT()).get_potential_energy()
    assert atom_energies()["O"] == reference_energies("emt")["O"] == single
    with_it, without = relax(place(copper, "O", "fcc"), "emt"), relax(copper, "emt")
    found = adsorption_energy(with_it, without, "O", reference_energies("emt"))
    assert found == pytest.approx(with_it.energy - without.energy - single, abs=1e-12)


def test_chgnet_counts_from_its_own_molecules():
    gas, found = gas_energies("chgnet"), reference_energies("chgnet")
    assert found["H"] == pytest.approx(gas["H2"] / 2, abs=1e-6)
    assert found["O"] == pytest.approx(gas["H2O"] - gas["H2"], abs=1e-6)
    assert found["C"] == pytest.approx(gas["CO"] - gas["H2O"] + gas["H2"], abs=1e-6)
    assert found["N"] == pytest.approx(gas["N2"] / 2, abs=1e-6)


def test_adsorption_energies_need_matching_parts(copper):
    with_it, without = relax(place(copper, "O", "fcc"), "emt", steps=0), relax(copper, "emt")
    with pytest.raises(ValueError, match="with N added"):
        adsorption_energy(with_it, without, "N", reference_energies("emt"))
    with pytest.raises(ValueError, match="lack O"):
        adsorption_energy(with_it, without, "O", {"H": 0.0})
