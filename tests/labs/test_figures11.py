"""The widgets and the figures of lab 11, without a browser."""

import pytest

from course_lib import s2a
from course_lib.lab import figures11
from course_lib.measure import MiB


pytestmark = pytest.mark.lab11

DEFAULTS = dict(
    compare="bias (BitFit)",
    tokens=197,
    width=768,
    heads=12,
    batch=1,
    blocks=1,
    activation=4,
    norm=4,
    softmax=4,
    qkv=32,
    fused=False,
)


@pytest.mark.parametrize("compare", figures11.METHODS)
@pytest.mark.parametrize("fused", [False, True])
def test_bars_are_closed_forms(compare, fused):
    data = figures11.compute_bytes(**DEFAULTS | dict(compare=compare, fused=fused))
    shape = s2a.BlockShape(batch=1, tokens=197, width=768, heads=12)
    methods = ("full", figures11.METHODS[compare], "s2a")
    for place, method in enumerate(methods):
        kept = s2a.saved_bytes(shape, method, fused=fused)
        assert data["kept [MiB]"][place] * MiB == pytest.approx(kept)
        assert sum(data[part][place] for part in figures11.PARTS) * MiB == pytest.approx(kept)
    assert len(figures11.draw_bytes(data).axes[0].patches) >= 3


@pytest.mark.parametrize("changes", [{"softmax": 32, "qkv": 4}, {"fused": True, "qkv": 4}])
def test_q_k_and_v_stay_where_the_softmax_is_not_coded(changes):
    data = figures11.compute_bytes(**DEFAULTS | changes)
    plain = figures11.compute_bytes(**DEFAULTS | changes | {"qkv": 32})
    assert data == plain


def test_parameters_are_those_of_the_networks():
    import timm

    net = timm.create_model("vit_tiny_patch16_224", depth=1, num_classes=2)
    for method in ("full", "bitfit", "lora_qkv", "lora_all", "adapter", "vpt_deep"):
        block = s2a.baseline(net, method).blocks[0]
        sizes = [(p.numel(), p.requires_grad) for p in block.parameters()]
        counted = sum(n for n, _ in sizes), sum(n for n, trained in sizes if trained)
        assert figures11.parameters(method, width=192, tokens=197, blocks=1) == counted, method


def test_the_code_of_the_derivative_does_not_see_outliers():
    calm, wild = (
        figures11.compute_code("derivative", 4, "minmax", 1, outliers) for outliers in (0, 0.1)
    )
    assert wild["error"] == pytest.approx(calm["error"], rel=0.02)
    calm, wild = (figures11.compute_code("act", 4, "zero", 1, outliers) for outliers in (0, 0.1))
    assert wild["error"] > 1.5 * calm["error"]
    assert "relative error" in figures11.draw_code(wild).axes[0].get_title()


def test_methods_are_compared_by_all_that_training_adds():
    many = MiB // 12  # their gradients and Adam's moments fill one MiB
    rows = [
        {"method": "plain", "family": "all", "accuracy": [90.0, 92.0], "kept": 7 * MiB}
        | {"trained": many, "time": 1.0},
        {"method": "ours", "family": "few", "accuracy": [90.0, 91.0], "kept": 2 * MiB}
        | {"trained": 0, "time": 1.2},
        {"method": "worse", "family": "few", "accuracy": [80.0, 81.0], "kept": 7 * MiB}
        | {"trained": 0, "time": 0.5},
    ]
    figure = figures11.compare_methods(rows, title="A title", arrow=("plain", "ours"), batch=8)
    (axes,) = figure.axes
    front = next(line for line in axes.lines if line.get_linestyle() == "--")
    assert list(front.get_xdata()) == pytest.approx([2, 8], rel=1e-5)
    assert any("-75 % bytes" in text.get_text() for text in axes.texts)
    names = [row["method"] for row in rows]
    points = {c.get_label(): c for c in axes.collections if c.get_label() in names}
    colors = {name: tuple(c.get_facecolor()[0][:3]) for name, c in points.items()}
    assert colors["ours"] == colors["worse"] != colors["plain"]
    assert points["ours"].get_sizes() > points["plain"].get_sizes() > points["worse"].get_sizes()


def test_the_other_figures_are_drawn():
    parts = dict.fromkeys(figures11.PARTS, MiB)
    rows = [{"method": "a", "trained": 100.0, "parts": parts}]
    assert len(figures11.kept_and_trained(rows, title="T").axes) == 2
    error = {"norm": {1: 1.0, 2: 0.1}, "qkv": {1: 0.5, 2: 0.2}}
    assert len(figures11.sensitivity(error, title="T").axes[0].lines) == 2
