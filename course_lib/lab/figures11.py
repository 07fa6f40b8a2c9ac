"""The figures of lab 11: what each decides, computed and drawn by plain functions."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from course_lib import plotting, s2a
from course_lib.lab.pareto import draw_panel, in_words
from course_lib.measure import MiB


PARTS = ("norm", "attention", "activation", "linear", "added")
REACH = 5.0  # inputs of GELU that a figure shows
# Names for readers, and the names of `s2a.baseline`.
METHODS = {
    "bias (BitFit)": "bitfit",
    "LoRA on qkv": "lora_qkv",
    "adapter": "adapter",
    "VPT-deep": "vpt_deep",
    "checkpointing": "checkpointing",
}


def kept_and_trained(rows: Sequence[Mapping[str, Any]], title: str) -> Figure:
    """Draw two panels of bars: share of weights that is trained, and bytes kept by part.

    A row holds `method`, `trained` (% of the weights), and `parts` (bytes by part).
    """
    names = [row["method"] for row in rows]
    sums = [sum(row["parts"].values()) / MiB for row in rows]
    words = "; ".join(
        f"{row['method']} trains {row['trained']:.3g} % and keeps {total:.1f} MiB"
        for row, total in zip(rows, sums, strict=True)
    )
    with plotting.figure(alt=f"{title}: {words}.", width=8.4, height=2.6, cols=2) as (fig, axes):
        trained = [row["trained"] for row in rows]
        axes[0].barh(names, trained, color="0.6")
        axes[0].set(xlabel="trained, share of all weights [%]", xlim=(0, 125))
        for name, share in zip(names, trained, strict=True):
            axes[0].annotate(f" {share:.3g} %", (share, name), va="center")
        _stack(axes[1], names, [{p: n / MiB for p, n in r["parts"].items()} for r in rows])
        axes[1].set(xlabel="kept for backward, one picture [MiB]")
        axes[1].set_yticklabels([])
        for axis in axes:
            axis.invert_yaxis()
            axis.grid(axis="y", visible=False)
        handles, labels = axes[1].get_legend_handles_labels()
        fig.legend(handles, labels, loc="outside lower right", ncols=len(labels))
        fig.suptitle(title, fontweight="bold", fontsize=12)
    return fig


def _stack(axes: Any, names: Sequence[str], bars: Sequence[Mapping[str, float]]) -> list[float]:
    """Draw horizontal bars, stacked by part; parts that are empty everywhere are left out."""
    left = [0.0] * len(bars)
    for part, color, hatch in zip(PARTS, plotting.PALETTE, plotting.HATCHES, strict=False):
        sizes = [bar.get(part, 0.0) for bar in bars]
        if any(sizes):
            style = dict(color=color, hatch=hatch, edgecolor="white", label=part)
            axes.barh(names, sizes, left=left, **style)
            left = [a + b for a, b in zip(left, sizes, strict=True)]
    return left


def parameters(method: str, width: int, tokens: int, blocks: int) -> tuple[int, int]:
    """Numbers of all weights of `blocks` blocks, and of the trained ones among what is added.

    A block of width D has 12 D^2 weights and 13 D biases and norm scales. LoRA and the prompts of
    S2A have rank 8, the adapter 64, VPT 10 tokens. The classifier is left out.
    """
    d = width
    own, biases = 12 * d * d + 13 * d, 11 * d
    added = {
        "lora_qkv": 8 * (d + 3 * d),
        "lora_all": 8 * (4 * d + 2 * d + 5 * d + 5 * d),
        "adapter": 2 * 64 * d + 64 + d,
        "vpt_deep": 10 * d,
        "s2a": 8 * (tokens + d),
    }.get(method, 0)
    trained = {"full": own, "checkpointing": own, "bitfit": biases, "s2a": biases + added}
    return blocks * (own + added), blocks * trained.get(method, added)


def compute_bytes(
    compare: str,
    tokens: int,
    width: int,
    heads: int,
    batch: int,
    blocks: int,
    activation: int,
    norm: int,
    softmax: int,
    qkv: int,
    fused: bool,
) -> dict[str, list]:
    """Return bars for full, `compare` and S2A with the given bits: MiB by part, sums, ratios.

    Fused attention keeps no map: then `softmax` and `qkv` do not apply. q, k and v are coded only
    together with the softmax. "training" adds weights, and gradient and two moments of Adam for
    each trained weight.
    """
    width = max(1, round(width / heads)) * heads
    shape = s2a.BlockShape(batch=batch, tokens=tokens, width=width, heads=heads)
    attention = 32 if fused else softmax
    coded = {"activation": activation, "norm": norm, "attention": attention}
    codes = dict(bits=coded, qkv_bits=32 if attention == 32 else qkv)
    bars = {"full": ("full", {}), compare: (METHODS[compare], {}), "S2A": ("s2a", codes)}
    data: dict[str, list] = {"method": list(bars)}
    kept = [s2a.saved_by_part(shape, m, fused=fused, **o) for m, o in bars.values()]
    data |= {part: [blocks * one[part] / MiB for one in kept] for part in PARTS}
    sums = [blocks * sum(one.values()) / MiB for one in kept]
    counts = [parameters(m, width, tokens, blocks) for m, _ in bars.values()]
    training = [s + 4 * (a + 3 * b) / MiB for s, (a, b) in zip(sums, counts, strict=True)]
    data["kept [MiB]"] = sums
    data["full / it"] = [sums[0] / one for one in sums]
    data["training [MiB]"] = training
    data["training: full / it"] = [training[0] / one for one in training]
    return data


def draw_bytes(data: Mapping[str, list]) -> Figure:
    """Draw the bars, stacked by part, with sum and ratio to full fine-tuning."""
    ends = [
        f" {kept:,.1f} MiB, {ratio:.2f}× less" if ratio != 1 else f" {kept:,.1f} MiB"
        for kept, ratio in zip(data["kept [MiB]"], data["full / it"], strict=True)
    ]
    names = data["method"]
    alt = "Stacked bars of kept bytes by part: " + "; ".join(
        f"{name}{end}" for name, end in zip(names, ends, strict=True)
    )
    with plotting.figure(alt=alt, width=8, height=2.8) as (fig, axes):
        bars = [{p: data[p][i] for p in PARTS} for i in range(len(names))]
        left = _stack(axes, names, bars)
        for name, end, total in zip(names, ends, left, strict=True):
            axes.annotate(end, (total, name), va="center", fontsize=9)
        axes.set_xlim(0, 1.3 * max(left))
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        axes.set(xlabel="kept for backward [MiB]", title="Where the bytes are, by closed form")
        axes.legend(ncols=5, loc="upper center", bbox_to_anchor=(0.5, -0.24))
    return fig


def gelu_slope(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return the exact derivative of GELU, from autograd."""
    y = x.detach().clone().requires_grad_()
    return torch.autograd.grad(F.gelu(y).sum(), y)[0]


def decoded_slope(x: Float[Tensor, "*shape"], **code: Any) -> Float[Tensor, "*shape"]:
    """Return the derivative of GELU as a coded backward sees it; `code` as `coded_activation`."""
    y = x.detach().clone().requires_grad_()
    return torch.autograd.grad(s2a.coded_activation(y, "gelu", **code).sum(), y)[0]


def compute_code(
    code: str, bits: int, grid: str, scale: float | int, outliers: float | int
) -> dict[str, Any]:
    """Code GELU' at normal inputs times `scale`, of which `outliers` % are 20 times as large."""
    random = torch.Generator().manual_seed(0)
    x = scale * torch.randn(2**16, generator=random)
    chosen = torch.rand(len(x), generator=random) < outliers / 100
    x = torch.where(chosen, 20 * x, x)
    true, seen = gelu_slope(x), decoded_slope(x, bits=bits, grid=grid, code=code)
    first = 3 * 256  # three groups of activation coding
    return {
        "x": x[:first].tolist(),
        "decoded": seen[:first].tolist(),
        "inputs": x.clamp(-REACH, REACH)[: 2**13].tolist(),
        "error": float((seen - true).norm() / true.norm()),
        "worst": float((seen - true).abs().max()),
        "code": f"{code}, {bits} bits",
    }


def draw_code(data: Mapping[str, Any]) -> Figure:
    """Draw the true derivative, what the code gives back for 768 inputs, and where inputs lie."""
    title = f"{data['code']}: relative error {data['error']:.3f}, worst {data['worst']:.3f}"
    alt = (
        "The derivative of GELU, which rises from 0 at -5 to 1 at 5 with a dip below 0 and a bump "
        f"above 1. Points show what the code gives back. {title}."
    )
    line = torch.linspace(-REACH, REACH, 400)
    with plotting.figure(alt=alt, width=7.4, height=3.2) as (fig, axes):
        style = dict(bins=60, density=True, color="0.88", label="where the inputs lie")
        axes.hist(data["inputs"], **style)
        axes.plot(line, gelu_slope(line), color="0.25", label="true derivative")
        points = dict(s=7, color=plotting.PALETTE[5], zorder=3, label="decoded")
        axes.scatter(data["x"], data["decoded"], **points)
        axes.set(xlabel="input of GELU", ylabel="derivative; density", title=title)
        axes.set_xlim(-REACH, REACH)
        axes.legend(loc="upper left")
    return fig


def sensitivity(error: Mapping[str, Mapping[int, float]], title: str) -> Figure:
    """Draw the gradient's relative error against the bits of one part, a line per part."""
    words = "; ".join(
        f"{part}: " + ", ".join(f"{bits} bits {value:.3g}" for bits, value in one.items())
        for part, one in error.items()
    )
    with plotting.figure(alt=f"{title}. {words}.", width=6.8, height=3) as (fig, axes):
        for (part, one), marker in zip(error.items(), plotting.MARKERS, strict=False):
            axes.plot(list(one), list(one.values()), marker=marker, label=part)
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_xticks([1, 2, 4, 8], ["1", "2", "4", "8"])
        axes.set(xlabel="bits of this part", ylabel="relative gradient error", title=title)
        axes.legend()
    return fig


def compare_methods(
    rows: Sequence[Mapping[str, Any]], title: str, arrow: tuple[str, str], batch: int
) -> Figure:
    """Draw accuracy against what training adds to memory; a point's area is its step time.

    A row holds `method`, `family` (one color each), `accuracy` (one value in % per seed), `kept`
    (bytes), `trained` and `time`. A trained weight adds a gradient and two moments of Adam, 12
    bytes. An arrow leads from the first to the second of the methods in `arrow`.
    """
    rows = [{**row, "kept": row["kept"] + 12 * row["trained"]} for row in rows]
    families: dict[str, list[str]] = {}
    for row in rows:
        families.setdefault(row["family"], []).append(row["method"])
    styles = {
        method: (color, marker)
        for color, methods in zip(plotting.PALETTE, families.values(), strict=False)
        for method, marker in zip(methods, plotting.MARKERS, strict=False)
    }
    with plotting.figure(alt=f"{title}. {in_words(rows)}.", width=8, height=5.2) as (fig, axes):
        draw_panel(axes, rows, styles, size="time", arrow=arrow)
        axes.set(xlabel=f"kept for backward, gradients, Adam [MiB], batch {batch}", title=title)
        axes.set_ylabel("test accuracy [%], mean and range of seeds")
        fig.legend(loc="outside lower center", ncols=4, markerscale=0.6)
    return fig
