"""Neighbors under periodic boundaries, held against ASE's; graphs, caps and batches."""

import time
import warnings
from collections import Counter
from statistics import median
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import add_adsorbate, bulk, fcc111
from ase.constraints import FixAtoms
from ase.neighborlist import neighbor_list

from course_lib.electrocatalyst.graphs import Graph, graph, graphs, join, neighbors


pytestmark = pytest.mark.lab70


def slab(metal="Cu", adsorbate="O", noise=0.0, seed=0) -> Atoms:
    """13 atoms: three layers of four and an adsorbate, periodic in all three directions."""
    atoms = fcc111(metal, (2, 2, 3), vacuum=8.0)
    add_adsorbate(atoms, adsorbate, 1.2, "fcc")
    atoms.pbc = True
    atoms.set_tags([0] * 8 + [1] * 4 + [2])
    atoms.set_constraint(FixAtoms(range(8)))
    atoms.positions += noise * np.random.default_rng(seed).normal(size=(13, 3))
    return atoms


def random_atoms(chance: np.random.Generator, number: int) -> tuple[Atoms, float]:
    """A skewed cell, some axes periodic, atoms in and out of it, none closer than 0.35 angstrom."""
    while True:
        count = 1 if number % 4 == 0 else int(chance.integers(2, 7))
        cell = np.diag(chance.uniform(2.0, 7.0, 3)) + chance.uniform(-2.5, 2.5, (3, 3))
        pbc = chance.random(3) < (1.0 if count == 1 else 0.7)
        if abs(np.linalg.det(cell)) < 8:
            continue
        positions = chance.uniform(-1, 2, (count, 3)) @ cell
        cell[~pbc] *= chance.random() < 0.5  # an axis that is not periodic may have no vector
        atoms = Atoms(f"Cu{count}", positions, cell=cell, pbc=pbc)
        if (neighbor_list("d", atoms, 0.35)).size == 0:
            return atoms, float(chance.uniform(2.0, 6.0))


def ours(atoms: Atoms, cutoff: float):
    return neighbors(atoms.positions, np.asarray(atoms.cell), atoms.pbc, cutoff)


def counted(i, j, offsets) -> Counter:
    return Counter(zip(i.tolist(), j.tolist(), map(tuple, offsets.tolist()), strict=True))


def in_turns(turns: int, **calls) -> dict[str, float]:
    """Median seconds of this process's own time, the calls in turns."""
    spent = {name: [] for name in calls}
    for turn in range(turns + 1):
        for name, call in calls.items():
            start = time.process_time()
            call()
            if turn:
                spent[name].append(time.process_time() - start)
    return {name: median(times) for name, times in spent.items()}


# -- neighbors


def test_100_random_cells_have_the_neighbors_of_ase():
    chance = np.random.default_rng(70)
    kinds, edges = Counter(), 0
    for number in range(100):
        atoms, cutoff = random_atoms(chance, number)
        i, j, offsets, d = ours(atoms, cutoff)
        assert counted(i, j, offsets) == counted(*neighbor_list("ijS", atoms, cutoff))
        way = atoms.positions[j] + offsets @ np.asarray(atoms.cell) - atoms.positions[i]
        np.testing.assert_allclose(d, np.linalg.norm(way, axis=1), rtol=0, atol=1e-12)
        kinds[len(atoms) == 1, int(sum(atoms.pbc))] += 1
        edges += len(d)
    assert kinds[True, 3] == 25 and min(kinds[False, n] for n in (1, 2, 3)) > 5
    assert edges > 4000


def test_one_atom_sees_its_own_images_shell_by_shell():
    """Face-centered cubic: 12 neighbors at a / sqrt 2, 6 at a, 24 at a sqrt 1.5, 12 at a sqrt 2."""
    copper = bulk("Cu", a=3.6)
    i, j, offsets, d = ours(copper, 5.2)
    assert len(copper) == 1 and not i.any() and not j.any()
    assert np.abs(offsets).sum(axis=1).min() == 1
    shells = Counter(np.round(d / 3.6, 6).tolist())
    assert shells == {0.707107: 12, 1.0: 6, 1.224745: 24, 1.414214: 12}


def test_each_pair_is_found_once_and_seen_from_both_ends():
    i, j, offsets, d = ours(slab(noise=0.05), 6.0)
    half = len(d) // 2
    assert np.array_equal(i[:half], j[half:]) and np.array_equal(j[:half], i[half:])
    assert np.array_equal(offsets[:half], -offsets[half:]) and np.array_equal(d[:half], d[half:])


def test_the_cutoff_itself_is_inside():
    pair = Atoms("H2", [[0, 0, 0], [0, 0, 2]])
    assert len(ours(pair, 2.0)[3]) == 2
    assert len(ours(pair, 1.9999999)[3]) == 0


def test_moving_atoms_by_whole_cells_changes_offsets_only():
    atoms = slab(noise=0.05)
    moved = atoms.copy()
    hops = np.random.default_rng(0).integers(-3, 4, (13, 3))
    moved.positions += hops @ np.asarray(atoms.cell)
    i, j, offsets, _ = ours(moved, 6.0)
    assert counted(i, j, offsets + hops[j] - hops[i]) == counted(*ours(atoms, 6.0)[:3])


def test_blocks_of_images_do_not_change_the_result(monkeypatch):
    atoms = slab(noise=0.05)
    whole = ours(atoms, 6.0)
    monkeypatch.setattr("course_lib.electrocatalyst.graphs._neighbors.BLOCK", 1000)
    assert all(np.array_equal(a, b) for a, b in zip(whole, ours(atoms, 6.0), strict=True))


# -- graphs


def test_a_graph_holds_the_system():
    atoms = slab()
    made = graph(atoms, dtype=torch.float64)
    assert isinstance(made, Graph) and len(made) == 1
    assert made.numbers.tolist() == [29] * 12 + [8]
    assert made.tags.tolist() == [0] * 8 + [1] * 4 + [2]
    assert made.fixed.tolist() == [True] * 8 + [False] * 5
    assert made.paired and made.shifts.shape == (made.edges.shape[1], 3)
    i, j, offsets, d = neighbor_list("ijSd", atoms, 6.0)
    source, target = made.edges.numpy()
    assert counted(target, source, made.shifts.numpy()) == counted(i, j, offsets)
    np.testing.assert_allclose(np.sort(made.distances()), np.sort(d), rtol=0, atol=1e-12)


def test_vectors_go_from_the_center_to_the_neighbor():
    atoms = Atoms("HO", [[0, 0, 0], [0, 0, 9]], cell=[20, 20, 10], pbc=True)
    made = graph(atoms, cutoff=2.0)
    to_hydrogen = made.edges[1] == 0
    assert made.edges[:, to_hydrogen].tolist() == [[1], [0]]
    assert made.shifts[to_hydrogen].tolist() == [[0, 0, -1]]
    assert made.vectors()[to_hydrogen].tolist() == [[0, 0, -1]]


def test_dtype_and_moving():
    made = graph(slab())
    assert made.positions.dtype == made.cells.dtype == made.distances().dtype == torch.float32
    double = made.to(dtype=torch.float64)
    assert double.positions.dtype == double.cells.dtype == torch.float64
    assert double.edges.dtype == torch.int64 and double.to("cpu").fixed.dtype == torch.bool
    apart = made.with_positions(2 * made.positions)
    assert torch.equal(apart.edges, made.edges) and apart.positions[12, 2] > made.positions[12, 2]


def test_join_keeps_systems_apart_and_in_order():
    made = graphs([slab("Cu"), slab("Pt", "H", 0.1), slab("Au", "N", 0.1)], dtype=torch.float64)
    batch = join(made)
    assert len(batch) == 3 and batch.paired
    assert batch.system.tolist() == [0] * 13 + [1] * 13 + [2] * 13
    assert torch.equal(batch.system[batch.edges[0]], batch.system[batch.edges[1]])
    for k, single in enumerate(made):
        own = batch.system[batch.edges[1]] == k
        assert torch.equal(batch.edges[:, own] - 13 * k, single.edges)
        assert torch.equal(batch.shifts[own], single.shifts)
        assert torch.equal(batch.vectors()[own], single.vectors())
    again = join([join(made[:2]), made[2]])
    assert torch.equal(again.system, batch.system)
    assert sorted(again.edges.T.tolist()) == sorted(batch.edges.T.tolist())


def test_the_second_half_of_a_batch_mirrors_the_first():
    batch = join(graphs([slab(noise=0.05), slab("Pt", noise=0.05)]))
    half = batch.edges.shape[1] // 2
    assert torch.equal(batch.edges[:, :half], batch.edges[:, half:].flip(0))
    assert torch.equal(batch.shifts[:half], -batch.shifts[half:])
    assert torch.equal(batch.distances()[:half], batch.distances()[half:])


# -- the cap


@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_a_cap_keeps_the_nearest_and_their_ties(noise):
    atoms = slab(noise=noise)
    capped = graph(atoms, max_neighbors=20, dtype=torch.float64)
    i, j, offsets, d = neighbor_list("ijSd", atoms, 6.0)
    kept = np.zeros(len(i), dtype=bool)
    for center in range(13):
        reach = np.sort(d[i == center])[19] + 0.01
        kept |= (i == center) & (d <= reach)
    source, target = capped.edges.numpy()
    assert counted(target, source, capped.shifts.numpy()) == counted(
        i[kept], j[kept], offsets[kept]
    )
    assert np.bincount(target).min() >= 20 and not capped.paired
    assert not join([capped, graph(atoms, dtype=torch.float64)]).paired


def test_a_cap_cuts_no_shell_of_a_lattice():
    """An ideal crystal has 12, 6, 24 neighbors per shell: a cap of 15 keeps two shells."""
    assert graph(bulk("Cu", a=3.6), max_neighbors=15).edges.shape[1] == 18


def test_a_cap_that_cuts_nothing_leaves_pairs():
    assert graph(slab(), max_neighbors=57).paired


# -- bad input


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda a: a.positions.__setitem__((12, 2), np.nan), "position of atom 12"),
        (lambda a: a.positions.__setitem__(12, a.positions[11]), "atoms 11 and 12 overlap"),
        (lambda a: a.positions.__setitem__(12, a.positions[11] + a.cell[0] + 0.1), "overlap"),
        (lambda a: a.cell.__setitem__(2, 0), "no volume"),
        (lambda a: a.cell.__setitem__(1, a.cell[0]), "no volume"),
        (lambda a: a.cell.__setitem__((0, 0), np.inf), "cell has entries"),
        (lambda a: a.numbers.__setitem__(3, 0), "atomic numbers"),
        (lambda a: a.numbers.__setitem__(3, 110), "atomic numbers"),
    ],
)
def test_bad_systems_are_named(spoil, message):
    atoms = slab()
    atoms.set_constraint()
    spoil(atoms)
    with pytest.raises(ValueError, match=message):
        graph(atoms)
    with pytest.raises(ValueError, match=f"system 1: .*{message}"):
        graphs([slab(), atoms])


def test_lonely_atoms_are_named():
    with pytest.raises(ValueError, match="atom 0 has no neighbors within 6.0 angstrom"):
        graph(Atoms("H"))
    with pytest.raises(ValueError, match="atom 2 has no neighbors"):
        graph(Atoms("CuCuH", [[0, 0, 0], [0, 0, 2.5], [0, 0, 12]]))


def test_bad_settings_are_named():
    with pytest.raises(ValueError, match="no atoms"):
        graph(Atoms())
    with pytest.raises(ValueError, match="max_neighbors is 0"):
        graph(slab(), max_neighbors=0)
    for cutoff in (0.0, -1.0, np.nan, np.inf):
        with pytest.raises(ValueError, match="the cutoff is"):
            graph(slab(), cutoff=cutoff)
    with pytest.raises(ValueError, match="at least one graph"):
        join([])
    with pytest.raises(ValueError, match="mix"):
        join([graph(slab()), graph(slab(), dtype=torch.float64)])


# -- speed, in turns; the share of this process's own time leaves a wide margin


def test_neighbors_are_not_slower_than_ase():
    """Measured about 0.05 of ASE's time; the bar is 1."""
    systems = [slab(noise=0.05, seed=k) for k in range(30)]
    spent = in_turns(
        3,
        ours=lambda: [ours(atoms, 6.0) for atoms in systems],
        ase=lambda: [neighbor_list("ijS", atoms, 6.0) for atoms in systems],
    )
    assert spent["ours"] <= spent["ase"]


def test_joining_is_not_slower_than_torch_geometric():
    """Measured about 0.35 of the peer's time; the bar is 1."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch_geometric.data import Batch, Data

    made = graphs([slab(noise=0.05, seed=k) for k in range(10)]) * 50
    data: list[Any] = [
        Data(
            z=one.numbers,
            pos=one.positions,
            cell=one.cells,
            tags=one.tags,
            fixed=one.fixed,
            edge_index=one.edges,
            shifts=one.shifts,
        )
        for one in made
    ]
    starts = range(0, 500, 32)  # batches as in training
    spent = in_turns(
        3,
        ours=lambda: [join(made[k : k + 32]) for k in starts],
        peer=lambda: [Batch.from_data_list(data[k : k + 32]) for k in starts],
    )
    assert spent["ours"] <= spent["peer"]
