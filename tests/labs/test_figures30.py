"""The widget and the figures of lab 30, without a browser."""

import json
import time

import numpy as np
import pandas as pd
import pytest

from course_lib import massive_activations as massive
from course_lib import plotting
from course_lib.lab import figures30


pytestmark = pytest.mark.lab30

DEFAULTS = dict(log_lam=-0.9, log_gamma=-3.5, t0=0.6, A=100, K=55, end=143_000)
BEYOND = [{"log_gamma": -4.8}, {"end": 10_000}, {"log_lam": -2.5}]


@pytest.fixture
def alts(monkeypatch):
    """The alt texts of all figures that a test draws."""
    found = []
    monkeypatch.setattr(plotting, "show", lambda fig, *, alt: found.append(alt))
    return found


def free(data):
    """How far K may move, in ranges of the curve, while R2 stays within 0.001 of the best."""
    shifts, r2 = np.array(data["shift"]), np.array(data["r2"])
    return np.ptp(shifts[r2 >= r2.max() - 1e-3])


def test_the_default_has_a_peak_in_the_window_and_a_narrow_valley():
    data = figures30.compute_valley(**DEFAULTS)
    assert data["class"] == "early peak"
    assert 0 < data["peak"] < data["end"]
    highest = int(np.argmax(data["value"]))
    apart = data["end"] / (len(data["step"]) - 1)
    assert data["step"][highest] == pytest.approx(data["peak"], abs=apart)
    assert data["peak value"] == pytest.approx(max(data["value"]), rel=0.01)
    assert min(data["value"]) > 0  # a ratio
    assert 0 < free(data) < 0.1
    low, high = data["floor"]
    assert -0.05 < low < 0 < high < 0.05


@pytest.mark.parametrize("changes", BEYOND)
def test_the_valley_opens_when_the_peak_leaves_the_window(changes):
    narrow = figures30.compute_valley(**DEFAULTS)
    wide = figures30.compute_valley(**DEFAULTS | changes)
    assert wide["peak"] > wide["end"]
    assert wide["class"] == "log increase"
    assert free(wide) > 1000 * free(narrow)
    # The twin has another K by many ranges, and its curve is the same within 2 % of the range.
    span = np.ptp(wide["value"])
    assert abs(wide["twin K"] - wide["K"]) > 100 * span
    assert np.abs(np.subtract(wide["value"], wide["twin"])).max() < 0.02 * span


def test_the_true_baseline_fits_exactly_and_misfit_is_what_r2_says():
    data = figures30.compute_valley(**DEFAULTS)
    true = data["shift"].index(0.0)
    assert data["r2"][true] == pytest.approx(1, abs=1e-9)
    assert min(data["misfit"]) == data["misfit"][true]
    lost = 1 - np.array(data["r2"])
    squares = np.array(data["misfit"]) ** 2
    assert squares == pytest.approx(squares.max() * lost / lost.max(), rel=1e-6, abs=1e-9)
    assert data["limit"] ** 2 == pytest.approx(squares.max() * 1e-3 / lost.max())


def test_the_widget_is_pure_fast_and_plain():
    first = figures30.compute_valley(**DEFAULTS)
    begin = time.thread_time()
    second = figures30.compute_valley(**DEFAULTS)
    assert time.thread_time() - begin < 0.5
    assert json.dumps(first, allow_nan=False) == json.dumps(second, allow_nan=False)


@pytest.mark.parametrize(
    ("changes", "reason"), [({"t0": 0}, "Raise t0"), ({"A": 0}, "A > 0"), ({"A": -5}, "A > 0")]
)
def test_where_there_is_no_curve_the_figure_says_why(changes, reason, alts):
    data = figures30.compute_valley(**DEFAULTS | changes)
    assert list(data) == ["problem"]
    (axes,) = figures30.draw_valley(data).axes
    assert reason in axes.texts[0].get_text()
    assert reason in alts[0]


@pytest.mark.parametrize(
    ("changes", "left_title", "right_title"),
    [
        ({}, "early peak at step 13,788", "K is known to"),
        ({"log_gamma": -4.8}, "log increase, peak beyond the window", "K can be anything"),
        ({"end": 10_000}, "log increase, peak beyond the window", "K can be anything up to"),
        ({"log_gamma": -4.4}, "log increase, peak at step 109,521", "K can be anything up to"),
        ({"t0": 5.5}, "the peak is before step 0", "K is known to"),
    ],
)
def test_titles_name_the_shape_and_what_is_known_of_k(changes, left_title, right_title, alts):
    data = figures30.compute_valley(**DEFAULTS | changes)
    left, right = figures30.draw_valley(data).axes
    assert left.get_title() == left_title
    assert right.get_title().startswith(right_title)
    assert left_title in alts[0] and right_title in alts[0]
    stars = [line for line in left.lines if line.get_marker() == "*"]
    assert len(stars) == (0 < data["peak"] < data["end"])


@pytest.mark.parametrize("place", [(0, 3), (40, 7), (79, 0)])
def test_the_needle_is_found_and_named(place, alts):
    h = np.abs(np.random.default_rng(0).standard_normal((80, 16)))
    h[place] = 5000
    tokens, entries = figures30.needle(h, title="T").axes
    words = f"position {place[0]}, dimension {place[1]}: 5,000"
    assert tokens.get_title() == words
    assert "5,000 at " + words.removesuffix(": 5,000") in alts[0]
    points = next(line for line in tokens.lines if len(line.get_ydata()) == 80)
    assert list(points.get_ydata()) == pytest.approx(list(h.max(axis=1)))
    lines = [line.get_xdata()[0] for line in entries.lines]
    assert lines == pytest.approx([np.median(h), 100, 5000])
    heights = sum(patch.get_height() for patch in entries.patches)
    assert heights == (h >= np.median(h) / 1000).sum()


def probed():
    """Two windows, five blocks: massive in both after blocks 2 and 3, in one after block 4."""
    tops = {0: (30, 30), 1: (120, 90), 2: (4000, 6000), 3: (3000, 3200), 4: (900, 1100)}
    rows = [
        dict(window=window, block=block, top1=float(top), median=1.0, ratio=float(top))
        for block, both in tops.items()
        for window, top in enumerate(both)
    ]
    return pd.DataFrame(rows)


def test_blocks_where_the_criterion_holds_are_filled(alts):
    sizes, ratios = figures30.by_block(probed(), null=6.1, title="T").axes
    top1, median = sizes.lines
    assert list(top1.get_ydata()) == [30, 105, 5000, 3100, 1000]
    assert list(median.get_ydata()) == [1] * 5
    marks = {line.get_label(): line for line in ratios.lines}
    assert list(marks["criterion holds in all windows"].get_xdata()) == [2, 3]
    assert list(marks["it does not"].get_xdata()) == [0, 1, 4]
    assert marks["null, untrained: 6.10"].get_ydata()[0] == 6.1
    assert "after blocks 2-3." in alts[0] and "5,000 / 1 = 5,000" in alts[0]


def test_a_model_without_massive_activations_is_drawn_too(alts):
    table = probed().query("block < 2")
    _, ratios = figures30.by_block(table, null=6.1, title="T").axes
    marks = {line.get_label(): line for line in ratios.lines}
    assert len(marks["criterion holds in all windows"].get_xdata()) == 0
    assert "after no block" in alts[0]


def grown(blocks=3, steps=(0, 1, 10, 100, 1000), /, **more):
    rows = [
        dict(more, step=step, block=block, ratio=6 + (blocks - block) * step / 100)
        for step in steps
        for block in range(blocks)
    ]
    return pd.DataFrame(rows)


def test_every_block_grows_out_of_the_band(alts):
    live = grown(3, (0, 1, 10))
    figure = figures30.emergence(grown(), null=6.1, title="T", live=live)
    (axes,) = figure.axes
    lines = {line.get_label(): line for line in axes.lines if line.get_linestyle() == "-"}
    assert list(lines) == ["block 0", "block 1", "block 2"]
    assert list(lines["block 0"].get_ydata()) == pytest.approx([6, 6.03, 6.3, 9, 36])
    band = axes.patches[0].get_extents().transformed(axes.transData.inverted())
    assert (band.y0, band.y1) == pytest.approx((6.1 * 0.65, 6.1 * 1.35))
    points = [line for line in axes.lines if line.get_marker() == "o" and len(line.get_xdata())]
    assert [list(line.get_xdata()) for line in points] == [[0, 1, 10]] * 3
    low, high = axes.get_xlim()
    assert low < 0 and high > 1000  # step 0 is on the axis
    assert "block 0 36.0, block 1 26.0, block 2 16.0" in alts[0]
    assert "live run" in alts[0] and "step 10" in alts[0]


def test_one_panel_per_architecture_all_with_the_same_axes(alts):
    shape = dict(width=64, heads=4, positions="rotary")
    runs = [
        grown(blocks, steps, blocks=blocks, bos=bos, seed=seed, **shape)
        for seed in (0, 1)
        for blocks, bos, steps in ((3, True, (0, 10, 1000)), (3, False, (0, 10)), (5, True, (0, 9)))
    ]
    figure = figures30.shapes(pd.concat(runs), title="T")
    assert len(figure.axes) == 3
    assert [
        len([line for line in axes.lines if len(line.get_xdata())]) for axes in figure.axes
    ] == [
        6,
        6,
        10,
    ]
    assert len({(axes.get_xlim(), axes.get_ylim()) for axes in figure.axes}) == 1
    assert "no BOS" in figure.axes[1].get_title()
    assert "5 blocks, width 64, 4 heads, rotary, BOS: 6.1 to 6.5 at step 9" in alts[0]


def test_residuals_are_in_percent_of_the_range(alts):
    t = np.array([0, 1, 10, 100, 1000, 10_000])
    y = np.array([6.0, 7, 9, 14, 26, 16])
    figure = figures30.fits(t, y, {"good": y + 0.2, "flat": np.full(6, 13.0)}, title="T")
    upper, lower = figure.axes
    curves = {line.get_label().split("\n")[0]: line for line in upper.lines}
    assert list(curves["data"].get_ydata()) == list(y)
    _, good, flat = lower.lines  # the first is the line at 0
    assert list(good.get_ydata()) == pytest.approx([-1.0] * 6)
    assert list(flat.get_ydata()) == pytest.approx(list(5 * (y - 13)))
    assert f"{massive.r_squared(y, y + 0.2):.4f}" in curves["good"].get_label()
    assert {axes.get_xscale() for axes in figure.axes} == {"symlog"}
    assert "flat: R2 0.0000, largest residual 65.0 % of the range at step 1,000" in alts[0]


def test_the_leak_shows_means_ranges_and_the_papers_score(alts):
    scores = {"no law": ([0.8, 0.9], [-1.2, -0.8]), "a law": ([0.97, 0.99], [0.9, 0.94])}
    (axes,) = figures30.leak(scores, title="T").axes
    assert [text.get_text() for text in axes.texts] == ["0.85", "0.98", "-1.00", "0.92"]
    upright = [line.get_xdata() for line in axes.lines if len(line.get_xdata()) == 2]
    assert [0, 0] in [list(x) for x in upright]
    assert [0.847, 0.847] in [list(x) for x in upright]
    assert "no law: random split 0.85, one model left out -1.00" in alts[0]
    assert axes.get_xlim()[0] < -1.2
