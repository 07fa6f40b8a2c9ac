"""The widget and the figures of lab 70, without a browser."""

import json
import time

import numpy as np
import pandas as pd
import pytest
import torch

from course_lib import assets, plotting
from course_lib.electrocatalyst import energetics, graphs, models, surfaces
from course_lib.lab import figures70, figures70_spheres, figures70_widget
from course_lib.lab.checks import _lab70_graphs as checked


pytestmark = pytest.mark.lab70

DEFAULTS = dict(
    metal="Pt", second="none", facet="111", site="fcc", adsorbate="H", sigma=0.3, turn=30
)
SEEN = frozenset(["Ag", "Al", "Au", "Cu", "Pd", "Pt", "H", "C", "O"])


@pytest.fixture
def alts(monkeypatch):
    """The alt texts of all figures that a test draws."""
    found = []
    monkeypatch.setattr(plotting, "show", lambda fig, *, alt: found.append(alt))
    return found


@pytest.fixture
def network(monkeypatch):
    """An untrained network in place of the trained one."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = models.SchNet(hidden=8, filters=8, interactions=1).eval()
    monkeypatch.setattr(figures70_widget, "_network", lambda: (net, SEEN))
    return net


@pytest.fixture(scope="module")
def relaxed():
    """Oxygen on copper, relaxed by EMT."""
    return surfaces.relax(surfaces.place(surfaces.slab("Cu"), "O", "fcc"), "emt")


def numbers(data):
    return {one["method"]: one["energy"] for one in data["methods"]}


# The widget


def test_every_method_gives_its_number(network):
    data = figures70.compute_choice(**DEFAULTS)
    found = numbers(data)
    clean = surfaces.slab("Pt")
    start = surfaces.place(clean, "H", "fcc")
    reference = surfaces.reference_energies("emt")
    bare, full = surfaces.relax(clean, "emt"), surfaces.relax(start, "emt")
    assert found["EMT"] == pytest.approx(full.energy - bare.energy - reference["H"], abs=1e-9)
    with torch.no_grad():
        raw = float(network(graphs.graph(start)))
    assert found["SchNet"] == pytest.approx(raw - reference["H"], abs=1e-5)
    (sample,) = [one for one in surfaces.read_samples("chgnet") if one.id == "Pt-111-H-fcc"]
    assert found["CHGNet"] == sample.energy
    assert data["free energy"] == pytest.approx(sample.energy + 0.24)
    assert data["energy"][0] == 0 and data["energy"][-1] < 0
    assert data["force"][-1] < 0.05 < data["force"][0]


def test_the_widget_is_pure_fast_and_plain(network, alts):
    first = figures70.compute_choice(**DEFAULTS)
    figures70.draw_choice(first)
    begin = time.thread_time()
    second = figures70.compute_choice(**DEFAULTS)
    figures70.draw_choice(second)
    assert time.thread_time() - begin < 1
    assert json.dumps(first, allow_nan=False) == json.dumps(second, allow_nan=False)
    assert alts[0] == alts[1]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"facet": "100"}, "A (100) surface has no fcc site: choose"),
        ({"site": "hollow"}, "A (111) surface has no hollow site: choose"),
    ],
)
def test_a_site_that_is_not_there_gets_a_sentence(network, alts, changes, words):
    data = figures70.compute_choice(**DEFAULTS | changes)
    assert data["methods"] == [] and data["free energy"] is None
    assert data["problem"].startswith(words)
    assert 2 not in data["slab"]["tags"]
    figure = figures70.draw_choice(data)
    assert words in alts[0]
    assert any(words in text.get_text() for axes in figure.axes for text in axes.texts)


@pytest.mark.parametrize(
    ("changes", "method", "words"),
    [
        ({"adsorbate": "OH"}, "EMT", "no data of *OH"),
        ({"adsorbate": "OH"}, "SchNet", "no data of *OH"),
        ({"adsorbate": "C"}, "CHGNet", "no run of *C"),
        ({"second": "Cu"}, "CHGNet", "one metal and (111) only"),
        ({"facet": "100", "site": "hollow"}, "CHGNet", "one metal and (111) only"),
    ],
)
def test_a_method_without_data_says_so(network, changes, method, words):
    data = figures70.compute_choice(**DEFAULTS | changes)
    (said,) = [one for one in data["methods"] if one["method"] == method]
    assert said["energy"] is None
    assert words in said["words"]


def test_the_network_says_what_it_never_saw(network):
    data = figures70.compute_choice(**DEFAULTS | {"metal": "Ni", "adsorbate": "N"})
    words = {one["method"]: one["words"] for one in data["methods"]}
    assert words["SchNet"].endswith("it never saw N, Ni")
    words = {one["method"]: one["words"] for one in figures70.compute_choice(**DEFAULTS)["methods"]}
    assert words["SchNet"].endswith("it has seen all elements")


def test_the_network_comes_from_its_file(monkeypatch, tmp_path):
    file = tmp_path / "net.safetensors"
    models.save_model(file, models.SchNet(hidden=8, filters=8), {"elements": ["Cu", "H"]})
    monkeypatch.setattr(assets, "path", lambda name: file)
    figures70_widget._network.cache_clear()
    try:
        network, seen = figures70_widget._network()
    finally:
        figures70_widget._network.cache_clear()
    assert network.config["hidden"] == 8
    assert seen == {"Cu", "H"}


def test_a_metal_with_itself_is_pure(network):
    again = figures70.compute_choice(**DEFAULTS | {"second": "Pt"})
    assert numbers(again) == numbers(figures70.compute_choice(**DEFAULTS))


def test_errors_let_more_or_fewer_metals_reach_the_top(network):
    exact = figures70.compute_choice(**DEFAULTS | {"sigma": 0.0})["volcano"]
    vague = figures70.compute_choice(**DEFAULTS | {"sigma": 0.5})["volcano"]
    assert exact["count"] == [exact["top"]] * 2
    assert vague["count"][1] > vague["count"][0]
    assert set(exact["share"]) <= {0.0, 1.0}
    assert exact["log_i0"] == vague["log_i0"] and len(exact["metal"]) == 9


def test_the_chosen_site_is_a_star_on_the_volcano(network, alts):
    figure = figures70.draw_choice(figures70.compute_choice(**DEFAULTS))
    (star,) = [line for line in figure.axes[3].lines if line.get_marker() == "*"]
    assert star.get_xdata()[0] == pytest.approx(-0.127, abs=0.001)
    assert "Free energy of *H: -0.13 eV" in alts[0]
    other = figures70.draw_choice(figures70.compute_choice(**DEFAULTS | {"adsorbate": "O"}))
    assert not [line for line in other.axes[3].lines if line.get_marker() == "*"]


# Spheres


def test_the_nearer_sphere_hides_the_other():
    def seen(height):
        spheres = figures70_spheres.Spheres(
            centers=np.array([[0.0, 0, 0], [0, 0, height]]),
            radii=np.array([1.0, 1.0]),
            colors=np.array([[1.0, 0, 0], [0, 0, 1]]),
            wash=np.zeros(2),
            outlined=np.zeros(2, dtype=bool),
        )
        picture = figures70_spheres.paint(spheres, (-1.5, 1.5, -1.5, 1.5), 30)
        assert picture.shape == (30, 30, 4)
        assert picture[0, 0, 3] == 0 and picture[15, 15, 3] == 1
        return picture[15, 15, :3]

    red, blue = seen(-1.0), seen(1.0)
    assert red[0] > 0.5 and red[0] > 1.5 * red[2]
    assert blue[2] > 0.5 and blue[2] > 1.5 * blue[0]


def test_turning_keeps_lengths_and_tilting_shows_the_side():
    points = np.random.default_rng(0).normal(size=(5, 3))
    seen = figures70_spheres.turned(points, turn=25, tilt=-70)
    assert np.linalg.norm(seen, axis=1) == pytest.approx(np.linalg.norm(points, axis=1))
    side = figures70_spheres.turned(points, turn=0, tilt=-90)
    assert side[:, 1] == pytest.approx(points[:, 2])  # height points up
    assert side[:, 2] == pytest.approx(-points[:, 1])  # small y is near


# Figures


def test_both_views_of_a_slab_are_told(alts):
    atoms = surfaces.place(surfaces.slab(("Cu", "Pt"), seed=0), "O", "fcc")
    figure = figures70.slab_views(atoms, title="T", turn=40)
    above, side = figure.axes
    assert side.get_title() == "turned by 40°"
    names = [text.get_text() for text in above.texts]
    assert names.count("O") == 1 and set(names) <= {"Cu", "Pt", "O"}
    assert "13 atoms" in alts[0] and "8 atoms are held fixed" in alts[0]
    assert "The adsorbate is O." in alts[0]


def test_a_bare_slab_is_drawn_too(alts):
    figures70.slab_views(surfaces.slab("Ag", "100"), title="T")
    assert "There is no adsorbate." in alts[0]


def test_edges_are_counted_by_distance(alts):
    atoms = surfaces.place(surfaces.slab("Cu"), "O", "fcc")
    one = graphs.graph(atoms, cutoff=5.0)
    figure = figures70.graph_view(
        atoms, one.edges.numpy(), one.shifts.numpy(), center=12, cutoff=5.0, title="T"
    )
    count = int((one.edges[1] == 12).sum())
    assert sum(patch.get_height() for patch in figure.axes[1].patches) == count
    assert f"has {count} neighbors within 5 angstrom" in alts[0]
    ring = max(figure.axes[0].lines, key=lambda line: len(line.get_xdata()))
    assert np.ptp(ring.get_xdata()) == pytest.approx(10, rel=1e-3)


def test_a_relaxation_shows_energy_and_the_force_on_free_atoms(alts, relaxed):
    figure = figures70.relaxation(relaxed, title="T")
    energy, force, side = figure.axes
    assert energy.lines[0].get_ydata()[-1] == pytest.approx(relaxed.energy - relaxed.energies[0])
    largest = force.lines[0].get_ydata()
    free = np.linalg.norm(relaxed.forces[:, 8:], axis=2).max(axis=1)
    assert list(largest) == pytest.approx(list(free))
    path = side.lines[-1]
    moved = relaxed.positions[-1][12] - relaxed.positions[0][12]
    assert np.ptp(path.get_ydata()) >= abs(moved[2]) - 1e-9
    assert f"The adsorbate moves by {np.linalg.norm(moved):.2f} angstrom." in alts[0]


def test_a_relaxation_of_a_bare_slab_has_no_path(alts):
    figures70.relaxation(surfaces.relax(surfaces.slab("Cu"), "emt"), title="T")
    assert "adsorbate" not in alts[0]


def test_filters_show_the_channels_that_grew(alts):
    d = np.linspace(0.5, 6, 40)
    basis = np.exp(-0.5 * ((d[:, None] - np.linspace(0, 6, 20)) / 0.3) ** 2)
    before = np.zeros((40, 10))
    after = before.copy()
    after[:, [1, 4, 9]] = np.sin(d)[:, None] * (1, 2, 3)
    figure = figures70.filters(d, basis, before, after, title="T")
    assert len(figure.axes) == 3
    drawn = [line.get_label() for line in figure.axes[2].lines[1:]]
    assert len(drawn) == 6 and {"1", "4", "9"} <= set(drawn)
    assert "after it 3" in alts[0]


def learned(**more):
    rows = [
        dict(model=model, train=train, seed=seed, id_mae=factor * (1 + seed / 10) / train, **more)
        for model, factor in (("schnet", 5), ("cgcnn", 8))
        for train in (50, 500)
        for seed in (0, 1)
    ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("columns", "labels"),
    [
        ({"baseline": 0.08}, ["guess the training mean"]),
        (
            {"id_baseline": 0.8, "id_by_adsorbate": 0.07},
            ["guess the training mean", "guess the adsorbate's mean"],
        ),
    ],
)
def test_a_learning_curve_has_a_point_per_seed_and_a_line_of_means(alts, columns, labels):
    (axes,) = figures70.learning_curve(learned(**columns), title="T").axes
    lines = {line.get_label(): line for line in axes.lines}
    assert list(lines["schnet"].get_ydata()) == pytest.approx([0.105, 0.0105])
    assert [label for label in lines if label.startswith("guess")] == labels
    points = [line for line in axes.lines if line.get_linestyle() == "None"]
    assert [len(line.get_xdata()) for line in points] == [4, 4]
    assert "schnet: 0.105 eV with 50, 0.010 eV with 500 examples" in alts[0]
    assert "mean of 2 seeds" in alts[0]


def test_parity_says_where_a_guess_is_no_worse(alts):
    true = np.linspace(-2, -1, 20)
    parts = {"ID": (true, true + 0.01, 0.25), "OOD-Cat": (true, true + 0.3, 0.25)}
    good, bad = figures70.parity(parts, title="T").axes
    assert good.texts[0].get_text() == "error 0.010\nguess 0.250"
    assert bad.texts[0].get_text() == "error 0.300\nguess 0.250\nno better"
    assert good.get_xlim() == bad.get_ylim()
    assert "OOD-Cat, 20 systems: 0.300 eV, the training mean 0.250" in alts[0]


def test_driven_relaxations_are_counted(alts):
    table = pd.DataFrame({"before": [1.0, 2.0, 0.5], "after": [0.1, 0.04, 0.7]})
    curves = {
        "AFbT": (np.array([0.05, 0.2, 1.0]), np.array([1, 2, 3]) / 3),
        "ADwT": (np.array([0.1, 0.2]), np.array([0.5, 1.0])),
    }
    forces, shares = figures70.driven(table, curves, title="T").axes
    assert forces.get_title() == "largest force: falls in 2 of 3"
    assert [line.get_label().split(":")[-1] for line in shares.lines] == [" 67 %", " 75 %"]
    assert "falls in 2 of 3 relaxations" in alts[0]


def test_the_offset_is_taken_off_and_told(alts):
    pbe = np.array([-5.0, -4.0, -3.0])
    rows = {"metal": ["Cu", "Pd", "Ag"], "adsorbate": "O", "pbe": pbe}
    table = pd.DataFrame(
        rows | {"chgnet": pbe + [5.9, 6.2, 5.9], "shifted": pbe + [-0.1, 0.2, -0.1]}
    )
    (axes,) = figures70.against_pbe(table, title="T").axes
    assert axes.get_title().split("\n")[1] == "offset +6.00 eV taken off"
    assert [text.get_text() for text in axes.texts] == ["Cu", "Pd", "Ag"]
    assert "error 0.13 eV after an offset of +6.00 eV" in alts[0]


@pytest.mark.parametrize(("sigma", "within"), [(0, 1), (0.2, 2)])
def test_the_volcano_counts_who_may_be_at_the_top(alts, sigma, within):
    free = np.array([0.05, -0.2, 0.6])
    height = energetics.log10_exchange_current(free)
    table = pd.DataFrame({"metal": ["Pt", "Cu", "Au"], "delta_g": free, "log_i0": height})
    (axes,) = figures70.volcano(table, sigma, title="T").axes
    assert {text.get_text() for text in axes.texts} == {"Pt", "Cu", "Au"}
    assert f"1 of 3 metals lie in it, and {within} may" in alts[0]
    assert "Pt at +0.05 eV, Cu at -0.20 eV, Au at +0.60 eV" in alts[0]


# The reference of exercise 3 is the library's


def test_the_check_of_cfconv_has_the_librarys_equations():
    net = models.SchNet(hidden=5, filters=7, gaussians=11, cutoff=5.0)
    layer = net.interactions[0]
    random = torch.Generator().manual_seed(0)
    x, edges = torch.randn(4, 5, generator=random), torch.randint(0, 4, (2, 9), generator=random)
    d = 1 + 4 * torch.rand(9, generator=random)
    one, two = layer.filter1, layer.filter2
    given = (x, edges, d, layer.inward.weight, one.weight, one.bias, two.weight, two.bias)
    with torch.no_grad():
        mine = checked._convolution(given, 5.0)
        e = net.gaussians(d)
        c = 0.5 * (torch.cos(torch.pi * d / 5.0) + 1)
        shifted = torch.nn.functional.softplus(one(e)) - np.log(2)
        theirs = models.cfconv(layer.inward(x), two(shifted) * c[:, None], edges)
    assert torch.allclose(mine, theirs, atol=1e-5)
