"""The figures of lab 30: where the largest activations are, how they grow, what a fit is worth."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Real
from matplotlib.figure import Figure

from course_lib import massive_activations as massive
from course_lib import plotting
from course_lib.lab.figures30_growth import emergence, fits, shapes
from course_lib.lab.figures30_valley import compute_valley, draw_valley


if TYPE_CHECKING:
    import pandas


__all__ = [
    "by_block",
    "compute_valley",
    "draw_valley",
    "emergence",
    "fits",
    "leak",
    "needle",
    "shapes",
]

PAPER_SCORE = 0.847  # the paper's best R2, for K on a random split (its table 3)


def needle(h: Real[np.ndarray, "tokens width"], title: str) -> Figure:
    """Draw the largest |h| of each token, and a histogram of all |h|; `h` is one block's output.

    The histogram leaves out what is below a thousandth of the median.
    """
    sizes = np.abs(h)
    position, dimension = np.unravel_index(sizes.argmax(), sizes.shape)
    top, median = float(sizes.max()), float(np.median(sizes))
    rest = float(np.delete(sizes, position, axis=0).max())
    alt = (
        f"{title}. Left, the largest |h| of each of {len(h)} tokens: {top:,.0f} at position "
        f"{position}, dimension {dimension}; at most {rest:,.0f} at all other positions. Right, a "
        f"histogram of all {h.size:,} entries: their median is {median:.3g}, and "
        f"{int((sizes > 100).sum())} of them exceed 100."
    )
    with plotting.figure(alt=alt, width=8.8, height=3.4, cols=2) as (fig, (tokens, entries)):
        tops = sizes.max(axis=1)
        tokens.fill_between(np.arange(len(h)), median, tops, step="mid", color="0.88")
        tokens.plot(tops, "o", color=plotting.PALETTE[0], markersize=2.5)
        red = plotting.PALETTE[5]
        tokens.vlines(position, median, top, color=red, linewidth=1.5)
        tokens.plot(position, top, "D", color=red, markersize=7)
        words = f"position {position}, dimension {dimension}: {top:,.0f}"
        tokens.set_title(words, fontsize=10, fontweight="normal")
        tokens.set(xlabel="token position", ylabel="largest |h| of the token", yscale="log")
        tokens.set_ylim(median, 3 * top)
        bins = np.geomspace(median / 1000, 2 * top, 70).tolist()
        entries.hist(sizes.ravel(), bins=bins, color="0.7")
        marks = ((median, f"median {median:.3g}"), (100, "100"), (top, f"largest {top:,.0f}"))
        for (value, words), dashes in zip(marks, ("-", ":", "--"), strict=True):
            entries.axvline(value, color="black", linestyle=dashes, linewidth=1.3, label=words)
        entries.set(xlabel="|h| of one entry", ylabel="number of entries")
        entries.set(xscale="log", yscale="log", ylim=(0.5, None))
        entries.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3)
        fig.suptitle(title, fontweight="bold", fontsize=12)
    return fig


def by_block(table: "pandas.DataFrame", null: float | int, title: str) -> Figure:
    """Draw the largest and the median |h| of each block, and their ratio beside the null.

    `table` is that of `massive_activations.probe`; values are means over its windows, bars their
    range. A filled mark says that the criterion of Sun et al. holds in every window.
    """
    one: Any = table.groupby("block")[["top1", "median", "ratio"]].mean()
    low: Any = table.groupby("block")["ratio"].min()
    high: Any = table.groupby("block")["ratio"].max()
    holds = massive.is_massive(table["top1"].to_numpy(), table["median"].to_numpy())
    everywhere: Any = table.assign(holds=holds).groupby("block")["holds"].all()
    found = list(one.index[everywhere])
    peak = one["ratio"].idxmax()
    alt = (
        f"{title}. The ratio of largest to median |h| is highest after block {peak}: "
        f"{one['top1'][peak]:,.0f} / {one['median'][peak]:.3g} = {one['ratio'][peak]:,.0f}. "
        f"It is {one['ratio'].iloc[0]:,.0f} after the first block and "
        f"{one['ratio'].iloc[-1]:,.0f} after the last; the null is {null:.2f}. "
        f"The criterion holds in all windows after {_spans(found)}."
    )
    with plotting.figure(alt=alt, width=8.8, height=3.4, cols=2) as (fig, (sizes, ratios)):
        for name, label, marker in (("top1", "largest |h|", "o"), ("median", "median |h|", "s")):
            sizes.plot(one.index, one[name], marker=marker, markersize=4, label=label)
        sizes.set(xlabel="block", ylabel="mean over the windows", yscale="log")
        sizes.set_ylim(top=12 * one["top1"].max())
        sizes.legend(loc="upper left", ncols=2)
        blue = plotting.PALETTE[0]
        ratios.vlines(one.index, low, high, color="0.5", linewidth=1.2)
        ratios.plot(one.index, one["ratio"], "-", color="0.7", linewidth=1, zorder=1)
        for chosen, face, label in (
            (everywhere, blue, "criterion holds in all windows"),
            (~everywhere, "white", "it does not"),
        ):
            style = dict(markerfacecolor=face, markersize=5.5, label=label)
            ratios.plot(one.index[chosen], one["ratio"][chosen], "o", color=blue, **style)
        dots = dict(color="black", linestyle="--", linewidth=1.2)
        ratios.axhline(null, label=f"null, untrained: {null:.2f}", **dots)
        ratios.set(xlabel="block", ylabel="largest / median |h|, mean and range", yscale="log")
        ratios.set_ylim(null / 2, 40 * float(high.max()))
        ratios.legend(loc="upper left")
        for axes in (sizes, ratios):
            axes.xaxis.get_major_locator().set_params(integer=True)
        fig.suptitle(title, fontweight="bold", fontsize=12)
    return fig


def _spans(blocks: Sequence[int]) -> str:
    """Blocks in words: "blocks 2, 11-27", or "no block"."""
    spans: list[list[int]] = []
    for block in blocks:
        if spans and block == spans[-1][1] + 1:
            spans[-1][1] = block
        else:
            spans.append([block, block])
    words = ", ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in spans)
    return f"blocks {words}" if words else "no block"


def leak(scores: Mapping[str, tuple[Sequence[float], Sequence[float]]], title: str) -> Figure:
    """Draw R2 by random splits and by leaving out one model at a time: mean and range of seeds.

    `scores` holds, by name of the target, the two lists of R2 over seeds.
    """
    kinds = ("random split", "one model left out")
    words = "; ".join(
        f"{name}: {kinds[0]} {np.mean(pair[0]):.2f}, {kinds[1]} {np.mean(pair[1]):.2f}"
        for name, pair in scores.items()
    )
    alt = f"{title}. Mean R2 over seeds. {words}. The paper reports {PAPER_SCORE} for K."
    height = 1.5 + 0.9 * len(scores)
    with plotting.figure(alt=alt, width=8, height=height) as (fig, axes):
        axes.axvline(0, color="0.4", linewidth=1.2)
        paper = dict(color="black", linestyle="--", linewidth=1.2)
        axes.axvline(PAPER_SCORE, label=f"the paper's $R^2$ for K: {PAPER_SCORE}", **paper)
        for index, (kind, lift) in enumerate(zip(kinds, (-0.2, 0.2), strict=True)):
            color, marker = plotting.PALETTE[(0, 5)[index]], plotting.MARKERS[index]
            for row, pair in enumerate(scores.values()):
                values = np.asarray(pair[index])
                mean, text = values.mean(), None if row else kind
                reach = [[mean - values.min()], [values.max() - mean]]
                style = dict(color=color, marker=marker, markersize=8, capsize=4)
                axes.errorbar(mean, row + lift, xerr=reach, linestyle="none", label=text, **style)
                spot = dict(xytext=(0, -60 * lift), textcoords="offset points", fontsize=9)
                spot |= dict(ha="center", va="center", bbox=dict(color="white", pad=0.5))
                axes.annotate(f"{mean:.2f}", (mean, row + lift), **spot)
        axes.set_yticks(range(len(scores)), list(scores))
        axes.set_ylim(len(scores) - 0.45, -0.55)
        axes.grid(axis="y", visible=False)
        axes.set(xlabel="$R^2$ of the prediction (0: as good as the mean)", title=title)
        fig.legend(loc="outside lower center", ncols=3, markerscale=0.8)
    return fig
