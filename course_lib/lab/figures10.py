"""The figures of lab 10: what each decides, computed and drawn by plain functions."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from matplotlib.figure import Figure

from course_lib import mobiletl, plotting
from course_lib.lab.pareto import draw_panel, in_words
from course_lib.measure import MiB


PARTS = ("convolutions", "norms", "activations", "squeeze-excite")
BARS = ("PyTorch", "ideal runtime", "MobileTL", "bias only, ideal")


def by_block(blocks: Mapping[str, Mapping[str, int]], title: str) -> Figure:
    """Draw one bar per block, first to last, stacked by kind of layer; bytes in, MiB shown."""
    kinds = list(next(iter(blocks.values())))
    largest = max(blocks, key=lambda name: sum(blocks[name].values()))
    alt = f"Stacked bars, one per block: {', '.join(kinds)}. {title}. The largest is {largest}."
    with plotting.figure(alt=alt, width=8, height=3.4) as (fig, axes):
        bottom = [0.0] * len(blocks)
        for kind, color, hatch in zip(kinds, plotting.PALETTE, plotting.HATCHES, strict=False):
            heights = [parts[kind] / MiB for parts in blocks.values()]
            style = dict(color=color, hatch=hatch, edgecolor="white", label=kind)
            axes.bar(range(len(blocks)), heights, bottom=bottom, **style)
            bottom = [a + b for a, b in zip(bottom, heights, strict=True)]
        axes.set(xlabel="block, first to last", ylabel="kept for backward [MiB]", title=title)
        axes.set_xticks(range(len(blocks)))
        axes.grid(axis="x", visible=False)
        axes.legend()
    return fig


def block_parts(
    shape: mobiletl.BlockShape, method: Any, mask_bits: int | None = None, statistics: bool = True
) -> dict[str, int]:
    """Bytes that a block keeps, by part; they sum to `mobiletl.saved_bytes` of the same arguments.

    Each part is a difference of two closed forms.
    """

    def kept(shape: mobiletl.BlockShape, method: Any, mask_bits: int | None) -> int:
        return mobiletl.saved_bytes(
            shape, method=method, mask_bits=mask_bits, statistics=statistics
        )

    whole = kept(shape, method, mask_bits)
    plain = replace(shape, squeeze=0)
    bare = replace(plain, activation="relu6")
    squeeze = whole - kept(plain, method, mask_bits)
    all_norms = kept(plain, "norm", None) - kept(plain, "bias", None)
    convolutions = kept(bare, "full", 0) - all_norms
    if method == "bias":
        return dict(zip(PARTS, (0, 0, whole - squeeze, squeeze), strict=True))
    norms = kept(bare, method, 0) - convolutions
    activations = whole - squeeze - norms - convolutions
    return dict(zip(PARTS, (convolutions, norms, activations, squeeze), strict=True))


def compute_block(
    channels: int,
    expansion: int,
    side: int,
    stride: int,
    batch: int,
    squeeze: bool,
    activation: str,
    mask_bits: int,
    blocks: int,
) -> dict[str, list]:
    """Return four bars for `blocks` equal blocks: MiB by part, sum, and what is saved.

    `mask_bits` is the price of a derivative in MobileTL; 0 stands for the exact one in 32 bits.
    The ideal runtime packs the derivative of ReLU6 in 2 bits, as the paper's figure 1 counts.
    """
    expanded = channels * expansion
    shape = mobiletl.BlockShape(
        batch=batch,
        channels=channels,
        expanded=expanded,
        height=side,
        width=side,
        out_channels=channels,
        stride=stride,
        activation=activation,
        squeeze=expanded // 4 if squeeze else 0,
    )
    packs = activation in ("relu", "relu6")
    bars = (
        block_parts(shape, "full"),
        block_parts(shape, "full", 2 if packs else None, statistics=False),
        block_parts(shape, "mobiletl", mask_bits or 32),
        block_parts(shape, "bias"),
    )
    sums = [sum(bar.values()) for bar in bars]
    data: dict[str, list] = {"method": list(BARS)}
    data |= {part: [blocks * bar[part] / MiB for bar in bars] for part in PARTS}
    data["sum [MiB]"] = [blocks * one / MiB for one in sums]
    data["saved [%]"] = [100 * (1 - one / sums[0]) for one in sums]
    return data


def draw_block(data: Mapping[str, list]) -> Figure:
    """Draw the four bars, stacked by part, with their sum and the saving against PyTorch."""
    ends = [
        f" {total:.2f} MiB, {-saved:+.1f} %" if saved else f" {total:.2f} MiB"
        for total, saved in zip(data["sum [MiB]"], data["saved [%]"], strict=True)
    ]
    alt = "Stacked bars of kept bytes: " + "; ".join(
        f"{name}{end}" for name, end in zip(data["method"], ends, strict=True)
    )
    with plotting.figure(alt=alt, width=8, height=3.2) as (fig, axes):
        left = [0.0] * len(ends)
        for part, color, hatch in zip(PARTS, plotting.PALETTE, plotting.HATCHES, strict=False):
            style = dict(color=color, hatch=hatch, edgecolor="white", label=part)
            axes.barh(data["method"], data[part], left=left, **style)
            left = [a + b for a, b in zip(left, data[part], strict=True)]
        for name, end, total in zip(data["method"], ends, left, strict=True):
            axes.annotate(end, (total, name), va="center", fontsize=9)
        axes.set_xlim(0, 1.35 * max(left))
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        axes.set(xlabel="kept for backward [MiB]", title="Against plain PyTorch")
        axes.legend(ncols=4, loc="upper center", bbox_to_anchor=(0.5, -0.22))
    return fig


def compare_methods(
    tasks: Mapping[str, Sequence[Mapping[str, Any]]], title: str, arrow: tuple[str, str]
) -> Figure:
    """Draw accuracy against kept MiB, one panel per task; the area of a point is its FLOPs.

    A row holds `method`, `accuracy` (one value in % per seed), `kept` (bytes) and `flops` of a
    step. An arrow leads from the first to the second of the methods in `arrow`.
    """
    alt = f"{title}. " + " ".join(f"{task}: {in_words(rows)}." for task, rows in tasks.items())
    methods = dict.fromkeys(row["method"] for rows in tasks.values() for row in rows)
    styles = dict(zip(methods, zip(plotting.PALETTE, plotting.MARKERS, strict=True), strict=False))
    width = 4.6 * len(tasks)
    with plotting.figure(alt=alt, width=width, height=4.6, cols=len(tasks)) as (fig, _):
        for axes, (task, rows) in zip(fig.axes, tasks.items(), strict=True):
            draw_panel(axes, rows, styles, size="flops", arrow=arrow)
            axes.set(title=task, xlabel="kept for backward [MiB], batch 8")
        fig.axes[0].set_ylabel("test accuracy [%], mean and range of seeds")
        handles, names = fig.axes[0].get_legend_handles_labels()
        fig.legend(handles, names, loc="outside lower center", ncols=5, markerscale=0.7)
        fig.suptitle(title, fontweight="bold", fontsize=12)
    return fig
