"""The widget and the figures of lab 10, without a browser."""

import itertools

import pytest

from course_lib import mobiletl
from course_lib.lab import figures10
from course_lib.measure import MiB


ACTIVATIONS = ("relu6", "hardswish", "silu", "relu")
DEFAULTS = dict(
    channels=96,
    expansion=6,
    side=7,
    stride=1,
    batch=8,
    squeeze=False,
    activation="relu6",
    mask_bits=1,
    blocks=1,
)


@pytest.mark.lab10
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_parts_add_up_to_the_closed_form(activation):
    for stride, squeeze, method in itertools.product((1, 2), (0, 24), ("full", "mobiletl", "bias")):
        shape = mobiletl.BlockShape(
            2, 16, 96, 9, 9, 24, stride=stride, activation=activation, squeeze=squeeze
        )
        parts = figures10.block_parts(shape, method)
        assert sum(parts.values()) == mobiletl.saved_bytes(shape, method=method)
        assert min(parts.values()) >= 0, (method, parts)


@pytest.mark.lab10
def test_bars_of_the_papers_block():
    data = figures10.compute_block(**DEFAULTS)
    saved = dict(zip(data["method"], data["saved [%]"], strict=True))
    sums = dict(zip(data["method"], data["sum [MiB]"], strict=True))
    assert saved["PyTorch"] == 0
    assert saved["MobileTL"] == pytest.approx(62.2, abs=0.1)
    assert 100 * (1 - sums["MobileTL"] / sums["ideal runtime"]) == pytest.approx(46.3, abs=0.1)
    assert sums["MobileTL"] * MiB == pytest.approx(2_164_608)


@pytest.mark.lab10
def test_what_the_widget_teaches():
    def mobiletl_share(**changes):
        return figures10.compute_block(**DEFAULTS | changes)["saved [%]"][2]

    packed, as_bool, as_float = (mobiletl_share(mask_bits=bits) for bits in (1, 8, 0))
    assert packed > as_bool > as_float
    assert mobiletl_share(batch=16) == pytest.approx(packed, abs=0.3)
    assert mobiletl_share(squeeze=True) < packed


@pytest.mark.lab10
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_figures_are_drawn(activation):
    figure = figures10.draw_block(
        figures10.compute_block(**DEFAULTS | dict(activation=activation, squeeze=True))
    )
    assert len(figure.axes[0].patches) == len(figures10.BARS) * len(figures10.PARTS)


@pytest.mark.lab10
def test_pareto_joins_only_what_nothing_beats():
    rows = [
        {"method": "plain", "accuracy": [90.0, 92.0], "kept": 8 * MiB, "flops": 10},
        {"method": "ours", "accuracy": [90.0, 91.0], "kept": 3 * MiB, "flops": 10},
        {"method": "worse", "accuracy": [80.0, 81.0], "kept": 7 * MiB, "flops": 8},
    ]
    figure = figures10.compare_methods({"task": rows}, title="A title", arrow=("plain", "ours"))
    (axes,) = figure.axes
    front = next(line for line in axes.lines if line.get_linestyle() == "--")
    assert list(front.get_xdata()) == [3, 8]
    assert any("-62 % bytes" in text.get_text() for text in axes.texts)
