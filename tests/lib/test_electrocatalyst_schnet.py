"""SchNet against torch_geometric's; symmetries, forces and files of both networks."""

import dataclasses
import time
import warnings
from statistics import median
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import add_adsorbate, fcc111
from safetensors.torch import save_file

from course_lib.electrocatalyst.graphs import Graph, graph, join
from course_lib.electrocatalyst.models import (
    CGCNN,
    EnergyModel,
    SchNet,
    cfconv,
    energy_and_forces,
    load_model,
    model_facts,
    save_model,
)


pytestmark = pytest.mark.lab70
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}
dtypes = pytest.mark.parametrize("dtype", TOLERANCE, ids=["float32", "float64"])
kinds = pytest.mark.parametrize("kind", [SchNet, CGCNN])
caps = pytest.mark.parametrize("cap", [None, 20], ids=["all", "cap 20"])


def slab(metal="Cu", adsorbate="O", noise=0.05, seed=0) -> Atoms:
    """13 atoms, two metals, all a little off their places."""
    chance = np.random.default_rng(seed)
    atoms = fcc111(metal, (2, 2, 3), vacuum=8.0)
    atoms.numbers[chance.permutation(12)[:5]] = 78
    add_adsorbate(atoms, adsorbate, 1.2, "fcc")
    atoms.pbc = True
    atoms.positions += noise * chance.normal(size=(13, 3))
    return atoms


def model_of(kind: type[EnergyModel], dtype=torch.float64, seed=0) -> Any:
    """A small network in eval mode whose energies are of the size of one."""
    torch.manual_seed(seed)
    sizes = {"hidden": 16, "gaussians": 20}
    model = SchNet(filters=24, **sizes) if kind is SchNet else CGCNN(readout=24, **sizes)
    return model.to(dtype).eval()


def close(a: torch.Tensor, b: torch.Tensor, tolerance: float) -> bool:
    """Whether no entry differs by more than `tolerance` times the largest, or times 1."""
    a, b = a.detach(), b.detach()
    return float((a - b).abs().max()) <= tolerance * max(1.0, float(b.abs().max()))


def random_rotation() -> np.ndarray:
    q, _ = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))
    return q * np.sign(np.linalg.det(q))


# -- torch_geometric as the peer


def peer_of(model: Any) -> Any:
    """torch_geometric's SchNet with the same weights; its graph is set at each call."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch_geometric.nn import SchNet as Peer

        size = model.config
        peer: Any = Peer(
            size["hidden"],
            size["filters"],
            size["interactions"],
            size["gaussians"],
            cutoff=size["cutoff"],
            interaction_graph=lambda *_: None,
        )
    pairs = [
        (peer.embedding, model.embedding),
        (peer.lin1, model.readout1),
        (peer.lin2, model.readout2),
    ]
    for theirs, ours in zip(peer.interactions, model.interactions, strict=True):
        pairs += [
            (theirs.mlp[0], ours.filter1),
            (theirs.mlp[2], ours.filter2),
            (theirs.conv.lin1, ours.inward),
            (theirs.conv.lin2, ours.outward),
            (theirs.lin, ours.dense),
        ]
    for theirs, ours in pairs:
        theirs.load_state_dict(ours.state_dict())
    return peer


def peer_energy(peer: Any, batch: Graph) -> torch.Tensor:
    peer.interaction_graph = lambda *_: (batch.edges, batch.distances())
    return peer(batch.numbers, batch.positions, batch.system)[:, 0]


@caps
@pytest.mark.parametrize(("dtype", "bar"), [(torch.float32, 1e-6), (torch.float64, 1e-12)])
def test_energy_and_forces_are_those_of_torch_geometric(dtype, bar, cap, monkeypatch):
    """Both made in the dtype: the peer keeps ln 2 and the Gaussians' width as it was made."""
    default = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        torch.manual_seed(0)
        model = SchNet()
        peer = peer_of(model)
    finally:
        torch.set_default_dtype(default)
    batch = join([graph(slab(seed=k), max_neighbors=cap, dtype=dtype) for k in range(3)])
    energy, forces = energy_and_forces(model.eval(), batch)
    positions = batch.positions.clone().requires_grad_()
    expected = peer_energy(peer, batch.with_positions(positions))
    (slope,) = torch.autograd.grad(expected.sum(), positions)
    assert energy.dtype == forces.dtype == dtype
    assert close(energy, expected.detach(), bar)
    assert close(forces, -slope, bar)
    assert float(forces.abs().max()) > 0.01


def test_cfconv_sums_neighbors_times_filters():
    torch.manual_seed(0)
    x, w = torch.randn(3, 4), torch.randn(4, 4)
    edges = torch.tensor([[0, 1, 2, 2], [1, 0, 1, 2]])
    m = torch.zeros(3, 4)
    for edge, (source, target) in enumerate(edges.T):
        m[target] += x[source] * w[edge]
    torch.testing.assert_close(cfconv(x, w, edges), m)
    mirrored = torch.cat([edges, edges.flip(0)], dim=1)
    torch.testing.assert_close(cfconv(x, w, mirrored), cfconv(x, torch.cat([w, w]), mirrored))


def test_an_epoch_is_not_slower_than_torch_geometrics():
    """Measured about 0.6 of the peer's time; the bar is 1.1. Seconds are the process's own."""
    torch.manual_seed(0)
    model = SchNet()
    peer = peer_of(model)
    batch = join([graph(slab(seed=k)) for k in range(16)])

    def step(network, energy) -> float:
        start = time.process_time()
        network.zero_grad()
        energy(batch).abs().mean().backward()
        return time.process_time() - start

    spent = [
        (step(model, model), step(peer, lambda batch: peer_energy(peer, batch))) for _ in range(6)
    ]
    ours, theirs = (median(times) for times in zip(*spent[1:], strict=True))
    assert ours <= 1.1 * theirs


# -- symmetries of both networks


@dtypes
@kinds
def test_rotation_leaves_energy_and_turns_forces(kind, dtype):
    model, atoms, turn = model_of(kind, dtype), slab(), random_rotation()
    turned = atoms.copy()
    turned.set_cell(np.asarray(atoms.cell) @ turn.T)
    turned.positions = atoms.positions @ turn.T
    energy, forces = energy_and_forces(model, graph(atoms, dtype=dtype))
    other, others = energy_and_forces(model, graph(turned, dtype=dtype))
    assert close(other, energy, TOLERANCE[dtype])
    assert close(others, forces @ torch.tensor(turn.T, dtype=dtype), TOLERANCE[dtype])


@dtypes
@kinds
def test_translation_and_wrapping_change_nothing(kind, dtype):
    model, atoms = model_of(kind, dtype), slab()
    moved = atoms.copy()
    moved.positions += [1.3, -2.7, 9.1]
    moved.wrap()
    energy, forces = energy_and_forces(model, graph(atoms, dtype=dtype))
    other, others = energy_and_forces(model, graph(moved, dtype=dtype))
    assert close(other, energy, TOLERANCE[dtype]) and close(others, forces, TOLERANCE[dtype])


@dtypes
@kinds
def test_the_order_of_atoms_changes_nothing(kind, dtype):
    model, atoms = model_of(kind, dtype), slab()
    order = np.random.default_rng(1).permutation(13)
    energy, forces = energy_and_forces(model, graph(atoms, dtype=dtype))
    other, others = energy_and_forces(model, graph(atoms[order], dtype=dtype))
    assert close(other, energy, TOLERANCE[dtype])
    assert close(others, forces[torch.from_numpy(order)], TOLERANCE[dtype])


@caps
@dtypes
@kinds
def test_a_double_cell_has_double_the_energy(kind, dtype, cap):
    """SchNet's energy is a sum over atoms, CGCNN's a function of the mean.

    It holds with a cap too, as no tie is cut: what a center keeps depends on distances alone.
    """
    model, atoms = model_of(kind, dtype), slab()
    single = model(graph(atoms, max_neighbors=cap, dtype=dtype))
    double = model(graph(atoms.repeat((2, 1, 1)), max_neighbors=cap, dtype=dtype))
    assert close(double, (2 if kind is SchNet else 1) * single, TOLERANCE[dtype])


# -- forces


@kinds
def test_forces_are_minus_the_slope_of_the_energy(kind):
    model, made = model_of(kind), graph(slab(), dtype=torch.float64)
    _, forces = energy_and_forces(model, made)
    step = 1e-4  # angstrom
    for atom, axis in [(0, 0), (5, 1), (12, 2)]:
        move = torch.zeros_like(made.positions)
        move[atom, axis] = step
        up, down = (model(made.with_positions(made.positions + s * move)) for s in (1, -1))
        slope = ((up - down) / (2 * step)).item()
        assert float(forces[atom, axis]) == pytest.approx(-slope, rel=1e-4, abs=1e-9)


@caps
@kinds
def test_net_force_is_zero(kind, cap):
    """With a cap too: the energy depends on differences of positions alone, both ends feel it."""
    _, forces = energy_and_forces(
        model_of(kind), graph(slab(), max_neighbors=cap, dtype=torch.float64)
    )
    assert float(forces.sum(0).abs().max()) < 1e-12
    _, forces = energy_and_forces(model_of(kind, torch.float32), graph(slab(), max_neighbors=cap))
    assert float(forces.sum(0).abs().max()) < 1e-6


@kinds
def test_forces_can_be_trained_on(kind):
    """The gradient of a loss on forces, for one weight, against a finite difference."""
    model, made = model_of(kind).train(), graph(slab(), dtype=torch.float64)
    weight = next(iter(model.parameters()))

    def loss() -> torch.Tensor:
        return energy_and_forces(model, made)[1].square().sum()

    loss().backward()
    place = np.unravel_index(int(weight.grad.abs().argmax()), weight.shape)
    slope, step = float(weight.grad[place]), 1e-5
    values = []
    for sign in (1, -1):
        with torch.no_grad():
            weight[place] += sign * step
        values.append(loss().item())
        with torch.no_grad():
            weight[place] -= sign * step
    assert slope == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-4)


def test_in_eval_mode_nothing_is_kept():
    model, made = model_of(SchNet), graph(slab(), dtype=torch.float64)
    with torch.no_grad():
        energy, forces = energy_and_forces(model, made)
    assert not energy.requires_grad and not forces.requires_grad
    assert not made.positions.requires_grad
    assert all(weight.grad is None for weight in model.parameters())


# -- batches and edges


@caps
@kinds
def test_a_batch_is_its_singles(kind, cap):
    model = model_of(kind)
    made = [graph(slab(seed=k), max_neighbors=cap, dtype=torch.float64) for k in range(3)]
    made.append(graph(slab("Au", "H")[4:], dtype=torch.float64))
    energy, forces = energy_and_forces(model, join(made))
    singles = [energy_and_forces(model, one) for one in made]
    assert close(energy, torch.cat([one for one, _ in singles]), 1e-12)
    assert close(forces, torch.cat([one for _, one in singles]), 1e-12)


@pytest.mark.parametrize("training", [False, True])
@kinds
def test_pairs_are_a_shortcut_and_nothing_else(kind, training):
    model, made = model_of(kind).train(training), graph(slab(), dtype=torch.float64)
    energy, forces = energy_and_forces(model, made)
    plain, plainly = energy_and_forces(model, dataclasses.replace(made, paired=False))
    assert made.paired and close(energy, plain, 1e-12) and close(forces, plainly, 1e-12)


def test_edges_beyond_schnets_cutoff_count_nothing():
    model = model_of(SchNet)
    near, far = (graph(slab(), cutoff, dtype=torch.float64) for cutoff in (6.0, 8.0))
    assert far.edges.shape[1] > 1.5 * near.edges.shape[1]
    for one, other in zip(
        energy_and_forces(model, near), energy_and_forces(model, far), strict=True
    ):
        assert close(other, one, 1e-12)


# -- scale, settings, files


@kinds
def test_a_scale_gives_electronvolts(kind):
    model, made = model_of(kind), graph(slab(), dtype=torch.float64)
    energy, forces = energy_and_forces(model, made)
    model.set_scale(-1.5, 2.25)
    scaled, stretched = energy_and_forces(model, made)
    torch.testing.assert_close(scaled, -1.5 + 2.25 * energy)
    torch.testing.assert_close(stretched, 2.25 * forces)
    for mean, std in [(0.0, 0.0), (0.0, -1.0), (float("nan"), 1.0), (0.0, float("nan"))]:
        with pytest.raises(ValueError, match="above 0"):
            model.set_scale(mean, std)


def test_bad_settings_are_named():
    with pytest.raises(ValueError, match="hidden is 0"):
        SchNet(hidden=0)
    with pytest.raises(ValueError, match="gaussians is 1"):
        CGCNN(gaussians=1)
    with pytest.raises(ValueError, match="cutoff is -1"):
        SchNet(cutoff=-1)
    with pytest.raises(ValueError, match=r"graph holds torch.float32 and the model torch.float64"):
        model_of(SchNet)(graph(slab()))
    with pytest.raises(TypeError, match="SchNet and CGCNN"):
        EnergyModel()(graph(slab()))


@dtypes
@kinds
def test_a_file_brings_the_model_back(kind, dtype, tmp_path):
    model, made = model_of(kind, dtype), graph(slab(), dtype=dtype)
    model.set_scale(-0.75, 2.9)
    file = tmp_path / "here" / "model.safetensors"
    save_model(file, model, {"seed": 3})
    state = torch.get_rng_state()
    back = load_model(file)
    assert torch.equal(state, torch.get_rng_state())
    assert type(back) is kind and not back.training and back.config == model.config
    assert {weight.dtype for weight in back.parameters()} == {dtype}
    for one, other in zip(
        energy_and_forces(model, made), energy_and_forces(back, made), strict=True
    ):
        assert torch.equal(one, other)
    assert model_facts(file) == {"seed": 3}


def test_other_files_are_refused(tmp_path):
    file = tmp_path / "model.safetensors"
    with pytest.raises(FileNotFoundError, match="write one with save_model"):
        load_model(file)
    save_file({"x": torch.zeros(1)}, file)
    with pytest.raises(ValueError, match="not a model that save_model wrote"):
        load_model(file)
    save_model(file, model_of(SchNet))
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(ValueError, match="damaged"):
        load_model(file)
    with pytest.raises(ValueError, match="keeps SchNet and CGCNN, not EnergyModel"):
        save_model(file, EnergyModel())
