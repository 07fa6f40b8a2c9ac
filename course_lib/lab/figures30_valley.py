"""The widget of lab 30: a curve of the law, and how well the law fits it with a wrong baseline."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from course_lib import massive_activations as massive
from course_lib import plotting


LOST = 1e-3  # of R2: fits that lose less are called equally good
REACH = np.geomspace(3e-3, 1e3, 24)  # distances from the true K, in ranges of the curve
BEST = 0.01  # % of the range; better fits are drawn at this height


def compute_valley(
    log_lam: float | int,
    log_gamma: float | int,
    t0: float | int,
    A: float | int,
    K: float | int,
    end: float | int,
) -> dict[str, Any]:
    """Draw 39 points of the law on steps 0 to `end`, and fit them again with K held elsewhere.

    λ and γ are given by their log10. `misfit` is the RMS residual in % of the curve's range, for
    each `shift` of K in ranges of the curve; `floor` is where R2 is within 0.001 of the best, and
    `twin` a curve whose K is the most distant one there. Where there is no curve, the dictionary
    holds only `problem`, the reason in words.
    """
    truth = massive.Eq9(float(A), 10.0**log_lam, 10.0**log_gamma, float(t0), float(K))
    try:
        return _valley(truth, float(end))
    except ValueError as problem:
        return {"problem": str(problem)}


def _valley(truth: massive.Eq9, end: float) -> dict[str, Any]:
    if not truth.A > 0:
        raise ValueError(f"A is {truth.A:g}: the curve rises only for A > 0.")
    t = _points(end)
    y = massive.law(t, *truth)
    peak, span = massive.peak_time(*truth), float(np.ptp(y))
    shifts = np.concatenate([-REACH[::-1], [0.0], REACH])
    table = massive.profile(t, y, truth.K + span * shifts)
    r2 = table["r2"].to_numpy()
    low, high = _floor(shifts, r2)
    far = table.iloc[_most_distant(shifts, r2)]
    curve = np.linspace(0, end, 200)
    form = massive.Eq14(*(float(far[name]) for name in massive.Eq14._fields))
    exact = massive.Fit("law", truth._asdict(), 1.0, 0.0, lambda steps: massive.law(steps, *truth))
    return {
        "step": curve.tolist(),
        "value": massive.law(curve, *truth).tolist(),
        "twin": massive.law14(curve, *form).tolist(),
        "twin K": form.K,
        "K": truth.K,
        "peak": peak,
        "peak value": massive.peak_value(*truth),
        "end": end,
        "class": massive.shape_class(exact, end),
        "shift": shifts.tolist(),
        "r2": r2.tolist(),
        "misfit": (100 * np.sqrt((1 - r2).clip(0)) * y.std() / span).tolist(),
        "limit": 100 * np.sqrt(LOST) * float(y.std()) / span,
        "floor": [low, high],
    }


def _points(end: float) -> Float[np.ndarray, "39"]:
    """Step 0, ten steps that double, and 28 at equal distances, as public checkpoints lie."""
    even = np.linspace(0, end, 29)[1:]
    return np.concatenate([[0.0], even[0] * 2.0 ** np.arange(-10, 0), even])


def _good(r2: Float[np.ndarray, " shifts"]) -> Any:
    return r2 >= r2.max() - LOST


def _most_distant(shifts: Float[np.ndarray, " shifts"], r2: Float[np.ndarray, " shifts"]) -> int:
    return int(np.argmax(np.where(_good(r2), np.abs(shifts), -1)))


def _floor(
    shifts: Float[np.ndarray, " shifts"], r2: Float[np.ndarray, " shifts"]
) -> tuple[float, float]:
    """The lowest and the highest shift of K that fit equally well, interpolated between shifts."""
    inside, limit = np.flatnonzero(_good(r2)), r2.max() - LOST
    ends = []
    for index, step in ((inside[0], -1), (inside[-1], 1)):
        other = index + step
        if not 0 <= other < len(shifts):
            ends.append(float(shifts[index]))
            continue
        share = (r2[index] - limit) / (r2[index] - r2[other])
        ends.append(float(shifts[index] + share * (shifts[other] - shifts[index])))
    return ends[0], ends[1]


def draw_valley(data: Mapping[str, Any]) -> Figure:
    """Draw the curve with its peak and its twin, and the misfit for each K."""
    if "problem" in data:
        return _no_curve(data["problem"])
    head, freedom = _shape(data), _freedom(*data["floor"])
    truth, other = (f"K = {_plain(data[name])}" for name in ("K", "twin K"))
    alt = (
        f"Left, the law with {truth} on steps 0 to {data['end']:,.0f}: {head}. "
        f"A fit with {other} lies nearly on it. Right, the misfit of the best curve for each K "
        f"from {-REACH[-1]:+,.0f} to {REACH[-1]:+,.0f} ranges off: {freedom}; there R2 is within "
        "0.001 of the best."
    )
    with plotting.figure(alt=alt, width=9.2, height=3.6, cols=2) as (fig, (left, right)):
        left.plot(data["step"], data["value"], "-", label=f"the law, {truth}")
        left.plot(data["step"], data["twin"], "--", label=f"fit, {other}")
        if 0 < data["peak"] < data["end"]:
            point = dict(marker="*", markersize=13, color="black", linestyle="none")
            left.plot(data["peak"], data["peak value"], label="peak", **point)
        left.set(xlabel="training step", ylabel="ratio", title=head, xlim=(0, data["end"]))
        left.xaxis.get_major_locator().set_params(nbins=5)
        left.xaxis.set_major_formatter("{x:,.0f}")
        left.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=3)
        right.axvspan(*data["floor"], color="0.88", label="equally good fits")
        line = dict(color="black", linestyle=":", linewidth=1.2)
        right.axhline(data["limit"], label="$R^2$ is 0.001 below the best", **line)
        right.plot(data["shift"], np.maximum(data["misfit"], BEST), "-o", markersize=3)
        right.set_xscale("symlog", linthresh=0.01, linscale=0.6)
        right.set(yscale="log", ylim=(0.8 * BEST, 100), xlim=(-1300, 1300))
        ticks = [-1000, -10, -0.1, 0, 0.1, 10, 1000]
        right.set_xticks(ticks, [f"{tick:,g}" for tick in ticks])
        heights = [0.01, 0.1, 1, 10, 100]
        right.set_yticks(heights, [f"{height:g}" for height in heights])
        right.set(xlabel="K held at its true value + ... [ranges of the curve]", title=freedom)
        right.set_ylabel("RMS misfit [% of the range]")
        right.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2)
    return fig


def _shape(data: Mapping[str, Any]) -> str:
    """The class, and where the peak is."""
    if data["peak"] <= 0:
        return "the peak is before step 0"
    if data["peak"] >= data["end"]:
        return f"{data['class']}, peak beyond the window"
    joint = " at" if data["class"] == "early peak" else ", peak at"
    return f"{data['class']}{joint} step {data['peak']:,.0f}"


def _freedom(low: float, high: float) -> str:
    """The floor in words; an end of it that is the end of what was tried is open."""
    if low <= -REACH[-1] and high >= REACH[-1]:
        return "K can be anything"
    if low <= -REACH[-1]:
        return f"K can be anything up to {high:+.2g} ranges"
    if high >= REACH[-1]:
        return f"K can be anything from {low:+.2g} ranges"
    return f"K is known to {low:+.2g} ... {high:+.2g} ranges"


def _plain(number: float) -> str:
    return f"{number:,.0f}" if abs(number) >= 100 else f"{number:.3g}"


def _no_curve(problem: str) -> Figure:
    with plotting.figure(alt=f"No curve: {problem}", width=9.2, height=1.2) as (fig, axes):
        axes.axis("off")
        axes.text(0.5, 0.5, problem, ha="center", va="center", wrap=True)
    return fig
