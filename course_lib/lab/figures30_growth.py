"""Figures of growth in lab 30: ratios against training steps, on a logarithmic axis with step 0."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Real
from matplotlib.figure import Figure

from course_lib import massive_activations as massive
from course_lib import plotting


if TYPE_CHECKING:
    import pandas


NULL_BAND = 0.35  # share of the null by which an untrained model may differ from it
ARCHITECTURE = ["blocks", "width", "heads", "positions", "bos"]
DARK, LIGHT = 0.0, 0.85  # the part of the color map that shows on white


def emergence(
    table: "pandas.DataFrame",
    null: float | int,
    title: str,
    live: "pandas.DataFrame | None" = None,
) -> Figure:
    """Draw the ratio of each block against the training step, over the null's band of 35 %.

    `table` holds one run: columns step, block, ratio. A second table, `live`, is drawn as points.
    """
    lines = _by_step(table)
    first, last = lines.iloc[0], lines.iloc[-1]
    alt = (
        f"{title}. At step {lines.index[0]} the ratios are {first.min():.1f} to {first.max():.1f}, "
        f"the null is {null:.2f}. At step {lines.index[-1]:,}: "
        + ", ".join(f"block {block} {ratio:.1f}" for block, ratio in last.items())
        + "."
    )
    if live is not None:
        now = _by_step(live)
        end = now.iloc[-1]
        alt += f" The points, a live run, end at step {now.index[-1]:,} with {end.min():.1f} to "
        alt += f"{end.max():.1f}."
    with plotting.figure(alt=alt, width=8, height=3.8) as (fig, axes):
        edges = null * (1 - NULL_BAND), null * (1 + NULL_BAND)
        axes.axhspan(*edges, color="0.88", label="untrained:\nnull ± 35 %")
        colors = _shades(len(lines.columns))
        for color, (block, ratios) in zip(colors, lines.items(), strict=True):
            axes.plot(ratios.index, ratios, "-", color=color, label=f"block {block}")
            if live is not None and block in now:
                points = dict(color=color, markeredgecolor="black", markersize=4.5)
                axes.plot(now.index, now[block], "o", markeredgewidth=0.5, **points)
        if live is not None:
            style = dict(color="white", markeredgecolor="black", markersize=4.5)
            axes.plot([], [], "o", label="live run", **style)
        _step_axis(axes, int(lines.index[-1]))
        _plain_log(axes, [*lines.min(), *lines.max(), *edges])
        axes.set(ylabel="largest / median |h|", title=title)
        fig.legend(loc="outside right center")
    return fig


def shapes(table: "pandas.DataFrame", title: str) -> Figure:
    """Draw the ratio against the step, one panel per architecture: a line per block and seed.

    Columns: blocks, width, heads, positions, bos, seed, step, block, ratio.
    """
    panels: list[tuple[Any, Any]] = list(table.groupby(ARCHITECTURE, sort=False))
    cols = min(3, len(panels))
    rows = -(-len(panels) // cols)
    names = [_architecture(dict(zip(ARCHITECTURE, key, strict=True))) for key, _ in panels]
    words = "; ".join(
        f"{' '.join(name.split())}: " + _ends(one)
        for name, (_, one) in zip(names, panels, strict=True)
    )
    alt = f"{title}. Ratios at the last step that all seeds reach, over blocks and seeds. {words}."
    width, height = 2.9 * cols + 0.4, 2.1 * rows + 0.8
    with plotting.figure(alt=alt, width=width, height=height, rows=rows, cols=cols) as (fig, _):
        for axes, name, (_, one) in zip(fig.axes, names, panels, strict=False):
            seeds = sorted(one["seed"].unique())
            for seed, dashes in zip(seeds, plotting.LINESTYLES, strict=False):
                run: Any = one[one["seed"] == seed]
                lines = _by_step(run)
                for color, block in zip(_shades(len(lines.columns)), lines, strict=True):
                    style = dict(color=color, linestyle=dashes, linewidth=1)
                    axes.plot(lines.index, lines[block], **style)
            _step_axis(axes, int(np.max(table["step"])))
            _plain_log(axes, table["ratio"])
            axes.set_title(name, fontsize=9, fontweight="normal")
        for axes in fig.axes[len(panels) :]:
            axes.axis("off")
        for index, axes in enumerate(fig.axes[: len(panels)]):
            if index % cols:
                axes.tick_params(labelleft=False)
            if index + cols < len(panels):
                axes.tick_params(labelbottom=False)
                axes.set_xlabel("")
        fig.supylabel("largest / median |h|", fontsize=10)
        dark, *_, light = _shades(3)
        keys = [("first block", dark, "-"), ("last block", light, "-")]
        keys += [
            (f"seed {seed}", "0.3", dashes)
            for seed, dashes in zip(
                sorted(table["seed"].unique()), plotting.LINESTYLES, strict=False
            )
        ]
        handles = [
            fig.axes[0].plot([], [], color=color, linestyle=dashes, label=label)[0]
            for label, color, dashes in keys
        ]
        fig.legend(handles=handles, loc="outside lower center", ncols=len(handles))
        fig.suptitle(title, fontweight="bold", fontsize=12)
    return fig


def _architecture(of: Mapping[str, Any]) -> str:
    start = "BOS" if of["bos"] else "no BOS"
    return (
        f"{of['blocks']} blocks, width {of['width']},\n"
        f"{of['heads']} heads, {of['positions']}, {start}"
    )


def _ends(one: Any) -> str:
    """The lowest and the highest ratio at the last step that all seeds share, in words."""
    step = one.groupby("seed")["step"].max().min()
    ratios = one.loc[one["step"] == step, "ratio"]
    return f"{ratios.min():.1f} to {ratios.max():.1f} at step {step:,}"


def fits(
    t: Real[np.ndarray, " steps"],
    y: Real[np.ndarray, " steps"],
    curves: Mapping[str, Float[np.ndarray, " steps"]],
    title: str,
) -> Figure:
    """Draw points (t, y) and fitted curves at the same t; below, the residuals in % of the range.

    The legend gives each curve's R2.
    """
    scores = {name: massive.r_squared(y, curve) for name, curve in curves.items()}
    left = {name: 100 * (y - curve) / np.ptp(y) for name, curve in curves.items()}
    words = "; ".join(
        f"{name}: R2 {scores[name]:.4f}, largest residual {np.abs(rest).max():.1f} % of the range "
        f"at step {t[np.abs(rest).argmax()]:,.0f}"
        for name, rest in left.items()
    )
    with plotting.figure(alt=f"{title}. {words}.", width=8, height=5, rows=2) as (fig, axes):
        upper, lower = axes
        upper.plot(t, y, "o", color="0.55", markersize=4, label="data")
        lower.axhline(0, color="0.4", linewidth=1)
        for index, (name, curve) in enumerate(curves.items()):
            color, dashes = plotting.PALETTE[index], plotting.LINESTYLES[index]
            style = dict(color=color, linestyle=dashes)
            upper.plot(t, curve, label=f"{name}\n$R^2$ = {scores[name]:.4f}", **style)
            marker = dict(marker=plotting.MARKERS[index], markersize=3, linewidth=1)
            lower.plot(t, left[name], **style | marker)
        for one in axes:
            _step_axis(one, float(t[-1]))
        upper.set(xlabel="", ylabel="largest / median |h|", title=title)
        lower.set_ylabel("residual [% of the range]")
        fig.legend(loc="outside right center")
    return fig


def _by_step(table: "pandas.DataFrame") -> "pandas.DataFrame":
    """Ratios with a row per step and a column per block."""
    return table.pivot_table(index="step", columns="block", values="ratio")


def _shades(count: int) -> list[Any]:
    """One color per block, dark for the first and light for the last, also in gray."""
    import matplotlib

    return list(matplotlib.colormaps["viridis"](np.linspace(DARK, LIGHT, count)))


def _step_axis(axes: Any, end: float | int) -> None:
    """A logarithmic axis of training steps that holds step 0."""
    axes.set_xscale("symlog", linthresh=1, linscale=0.5)
    ticks = [0, *(10**power for power in range(int(np.log10(max(end, 1))) + 1))]
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.set_xlim(-0.15, 1.15 * float(end))
    axes.set_xlabel("training step")


def _plain_log(axes: Any, values: Iterable[float]) -> None:
    """A logarithmic axis with plain numbers: 1, 2, 5, or more of them where the range is short."""
    low, high = min(values) / 1.15, max(values) * 1.15
    axes.set_yscale("log")
    digits = (1, 2, 5) if high > 10 * low else (1, 2, 3, 4, 5, 6, 8)
    ticks = [k * 10.0**power for power in range(-2, 7) for k in digits]
    ticks = [tick for tick in ticks if low <= tick <= high]
    axes.set_yticks(ticks, [f"{tick:,g}" for tick in ticks])
    axes.set_yticks([], minor=True)
    axes.set_ylim(low, high)
