"""CGCNN: one layer against a plain loop, batch norm as it is, the bits of the elements."""

from typing import Any

import pytest
import torch
from ase.build import fcc111
from torch.nn import functional as F

from course_lib.electrocatalyst.graphs import graph, join
from course_lib.electrocatalyst.models import CGCNN, element_bits


pytestmark = pytest.mark.lab70
# where the bits of each property begin
GROUP, PERIOD, PAULING, RADIUS, VALENCE, IONIZATION, AFFINITY, BLOCK, VOLUME = [
    0,
    18,
    26,
    36,
    46,
    58,
    68,
    78,
    82,
]


def metal(symbol="Cu", noise=0.05, seed=0):
    torch.manual_seed(seed)
    atoms = fcc111(symbol, (1, 2, 3), vacuum=6.0, orthogonal=True)
    atoms.pbc = True
    atoms.positions += noise * torch.randn(6, 3).numpy()
    atoms.numbers[0] = 8
    return graph(atoms, cutoff=4.0, dtype=torch.float64)


def small() -> Any:
    torch.manual_seed(0)
    return CGCNN(hidden=8, layers=2, readout=12, gaussians=10, cutoff=4.0).double()


@pytest.mark.parametrize("training", [False, True])
def test_a_layer_is_the_plain_loop(training):
    made, layer = metal(), small().layers[0].train(training)
    torch.nn.init.normal_(layer.batch_norm.weight)
    torch.nn.init.normal_(layer.linear.bias)
    x = torch.randn(6, 8, dtype=torch.float64)
    e = torch.randn(made.edges.shape[1] // 2, 10, dtype=torch.float64)
    z = []
    for edge, (source, target) in enumerate(made.edges.T):
        between = e[edge % len(e)]
        row = torch.cat([x[target], x[source], between])
        z.append(layer.linear.weight @ row + layer.linear.bias)
    z = torch.stack(z)
    mean, variance = torch.zeros_like(z[0]), torch.ones_like(z[0])
    if training:
        mean, variance = z.mean(0), z.var(0, unbiased=False)
    norm = layer.batch_norm
    y = (z - mean) / (variance + norm.eps).sqrt() * norm.weight + norm.bias
    m = torch.zeros(6, 8, dtype=torch.float64)
    for edge, target in enumerate(made.edges[1]):
        m[target] += torch.sigmoid(y[edge, :8]) * F.softplus(y[edge, 8:])
    centered = m - m.mean(1, keepdim=True)
    spread = (m.var(1, unbiased=False, keepdim=True) + layer.layer_norm.eps).sqrt()
    expected = F.softplus(centered / spread + x)
    torch.testing.assert_close(layer(x, made.edges, e), expected, rtol=0, atol=1e-12)


def test_the_readout_is_a_mean_then_layers():
    model, made = small().eval(), metal()
    x = model.embedding(model.bits[made.numbers])
    e = model.gaussians(made.distances()[: made.edges.shape[1] // 2])
    for layer in model.layers:
        x = layer(x, made.edges, e)
    expected = x.mean(0)
    for layer in model.readout:
        expected = F.softplus(layer(expected))
    assert len(model.readout) == 2
    torch.testing.assert_close(model(made), model.energy(expected))


def test_one_system_per_batch_can_be_trained_on():
    """Batch norm counts edges, not systems: a batch of one slab has hundreds."""
    model, made = small().train(), metal()
    start = model.layers[0].batch_norm.running_mean.clone()
    model(made).sum().backward()
    assert all(torch.isfinite(weight.grad).all() for weight in model.parameters())
    assert not torch.equal(start, model.layers[0].batch_norm.running_mean)


def test_in_training_an_energy_depends_on_its_neighbors_in_the_batch():
    model, made, other = small(), metal(), metal("Au", seed=1)
    assert not torch.allclose(model.train()(join([made, other]))[:1], model(made))
    torch.testing.assert_close(model.eval()(join([made, other]))[:1], model(made))


# -- the bits of the elements


def test_copper_and_oxygen_by_hand():
    """Copper: group 11, 1.9 Pauling, 132 pm, ln 7.73, 1.24 eV, d, ln 7.11; oxygen likewise."""
    bits = element_bits()
    copper = [
        GROUP + 10, PERIOD + 3, PAULING + 4, RADIUS + 4, VALENCE + 10,
        IONIZATION + 3, AFFINITY + 6, BLOCK + 2, VOLUME + 1,
    ]  # fmt: skip
    assert bits[29].nonzero()[:, 0].tolist() == copper
    oxygen = bits[8].nonzero()[:, 0].tolist()
    assert oxygen[:5] == [GROUP + 15, PERIOD + 1, PAULING + 8, RADIUS + 1, VALENCE + 5]
    assert BLOCK + 1 in oxygen


def test_every_element_has_its_bits():
    bits = element_bits()
    assert bits.shape == (100, 92) and not bits[0].any()
    assert set(bits.unique().tolist()) == {0.0, 1.0}
    counts = bits[1:].sum(1)
    assert counts.max() == 9 and counts.min() == 8
    assert not bits[2, PAULING : PAULING + 10].any()  # helium has no electronegativity
    assert bits[2, BLOCK] and bits[2, VALENCE + 1]
    metals = [bits[z] for z in (13, 28, 29, 45, 46, 47, 77, 78, 79)]
    assert len({tuple(row.tolist()) for row in metals}) == len(metals)


def test_a_missing_library_names_the_extra(monkeypatch):
    element_bits.cache_clear()
    monkeypatch.setitem(__import__("sys").modules, "pymatgen.core", None)
    with pytest.raises(ImportError, match=r"small-memory\[chem\]"):
        CGCNN()
    monkeypatch.undo()
    assert element_bits().any()
