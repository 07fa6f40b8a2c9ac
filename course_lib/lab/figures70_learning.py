"""Figures of learning in lab 70: filters, learning curves, predictions against labels."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Real
from matplotlib.figure import Figure

from course_lib import plotting


if TYPE_CHECKING:
    import pandas


GUESSES = {
    "baseline": "guess the training mean",
    "id_baseline": "guess the training mean",
    "id_by_adsorbate": "guess the adsorbate's mean",
}
FEW = 6  # Gaussians and filter channels that are drawn


def filters(
    distances: Real[np.ndarray, " n"],
    rbf: Real[np.ndarray, "n gaussians"],
    before: Real[np.ndarray, "n channels"],
    after: Real[np.ndarray, "n channels"],
    title: str,
) -> Figure:
    """Draw some radial basis functions, and the same filter channels before and after training.

    `distances` in angstrom. The channels are those that training made largest.
    """
    few = min(FEW, rbf.shape[1])
    size = np.abs(after).max(axis=0)
    chosen = np.sort(np.argsort(-size)[:FEW])
    alt = (
        f"{title}. Left, {few} of {rbf.shape[1]} Gaussians of the distance. "
        f"Right, filter channels {', '.join(map(str, chosen))} of {after.shape[1]}: before "
        f"training they reach {np.abs(before[:, chosen]).max():.2g}, after it "
        f"{np.abs(after[:, chosen]).max():.2g}; at {distances[-1]:.1f} angstrom they end at "
        f"{np.abs(after[-1, chosen]).max():.2g}."
    )
    with plotting.figure(alt=alt, width=9.2, height=3.4, cols=3) as (fig, (left, middle, right)):
        inside = np.flatnonzero(rbf.max(axis=0) > 0.9)  # their peak is within the distances
        for place in inside[np.linspace(0, len(inside) - 1, few).astype(int)]:
            left.plot(distances, rbf[:, place])
        left.set(ylabel="$e_k(d)$", xlabel="distance d [Å]")
        left.set_title(f"{rbf.shape[1]} Gaussians, some of them", fontsize=10)
        for axes, values, words in ((middle, before, "before"), (right, after, "after")):
            axes.axhline(0, color="0.5", linewidth=1)
            for place, dashes in zip(chosen, plotting.LINESTYLES, strict=False):
                axes.plot(distances, values[:, place], linestyle=dashes, label=f"{place}")
            axes.set(xlabel="distance d [Å]")
            axes.set_title(f"filters {words} training", fontsize=10)
        middle.set_ylabel("W(d)")
        handles, labels = right.get_legend_handles_labels()
        words: Any = dict(loc="outside lower center", ncols=len(labels))
        fig.legend(handles, labels, title="filter channel", **words)
        fig.suptitle(title, fontweight="bold", fontsize=12)
    return fig


def learning_curve(table: "pandas.DataFrame", title: str) -> Figure:
    """Draw the error against the number of training examples: a point per seed, lines of means.

    Columns: train, seed, model, id_mae, and the errors of simple guesses, each where it is given:
    baseline or id_baseline (the training mean), id_by_adsorbate (the mean of the same adsorbate).
    """
    means: Any = table.groupby(["model", "train"])["id_mae"].mean()
    given = {column: words for column, words in GUESSES.items() if column in table}
    guesses: Any = {words: table.groupby("train")[column].mean() for column, words in given.items()}
    models: list[str] = list(dict.fromkeys(table["model"]))
    words = "; ".join(
        f"{model}: "
        + ", ".join(f"{mae:.3f} eV with {size}" for size, mae in means[model].items())
        + " examples"
        for model in models
    )
    seeds = len(set(table["seed"]))
    alt = (
        f"{title}. Mean absolute error on new slabs of known metals, mean of {seeds} "
        f"{'seed' if seeds == 1 else 'seeds'}. {words}. "
        + " ".join(f"{words}: {line.iloc[-1]:.3f} eV." for words, line in guesses.items())
    )
    with plotting.figure(alt=alt, width=7, height=4) as (fig, axes):
        for dashes, (words, line) in zip(("--", ":"), guesses.items(), strict=False):
            axes.plot(line.index, line, linestyle=dashes, color="0.35", label=words)
        for index, model in enumerate(models):
            look: Any = dict(color=plotting.PALETTE[(0, 5)[index % 2]])
            marker = plotting.MARKERS[index]
            rows: Any = table[table["model"] == model]
            small = dict(marker=marker, linestyle="none", markersize=5, alpha=0.55)
            axes.plot(rows["train"], rows["id_mae"], **small | look)
            line = means[model]
            axes.plot(line.index, line, plotting.LINESTYLES[index], label=model, **look)
            highest: Any = max(models, key=lambda one: float(means[one].mean()))
            side = 1 if model == highest else -1
            for size, mae in line.items():
                spot: Any = dict(xytext=(6 * side, 8 * side), textcoords="offset points")
                spot |= dict(fontsize=9, ha="left" if side > 0 else "right", va="center")
                axes.annotate(f"{mae:.3f}", (size, mae), **spot)
        axes.set(xscale="log", yscale="log", title=title)
        axes.set(xlabel="training examples", ylabel="mean absolute error [eV]")
        sizes = sorted(table["train"].unique())
        axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
        axes.set_xticks([], minor=True)
        errors = table[["id_mae", *given]].to_numpy()
        low, high = errors.min() / 1.4, 1.4 * errors.max()
        heights = [k * 10.0**power for power in (-3, -2, -1, 0) for k in (1, 2, 5)]
        heights = [one for one in heights if low <= one <= high]
        axes.set_yticks(heights, [f"{one:g}" for one in heights])
        axes.set_yticks([], minor=True)
        axes.set(xlim=(sizes[0] / 1.4, sizes[-1] * 1.35), ylim=(low, high))
        axes.legend(loc="lower left")
    return fig


def parity(
    parts: Mapping[str, tuple[Real[np.ndarray, "..."], Real[np.ndarray, "..."], float]], title: str
) -> Figure:
    """Draw predictions against labels (eV), one panel per part of the data on the same axes.

    `parts` holds, by name, true values, predicted ones, and the error of guessing the mean.
    """
    errors = {
        name: float(np.abs(np.subtract(predicted, true)).mean())
        for name, (true, predicted, _) in parts.items()
    }
    words = "; ".join(
        f"{name}, {len(true)} systems: {errors[name]:.3f} eV, the training mean {baseline:.3f}"
        for name, (true, _, baseline) in parts.items()
    )
    alt = f"{title}. Mean absolute errors. {words}."
    everything = np.concatenate([np.concatenate(pair[:2]) for pair in parts.values()])
    low, high = everything.min(), everything.max()
    margin = 0.05 * (high - low)
    low, high = low - margin, high + margin
    count = len(parts)
    with plotting.figure(alt=alt, width=2.3 * count + 0.6, height=3.1, cols=count) as (fig, _):
        for axes, (name, (true, predicted, baseline)) in zip(fig.axes, parts.items(), strict=True):
            axes.plot([low, high], [low, high], "-", color="0.4", linewidth=1)
            color = plotting.PALETTE[0 if errors[name] < baseline else 5]
            axes.plot(true, predicted, "o", color=color, markersize=3, alpha=0.5)
            axes.set(xlim=(low, high), ylim=(low, high), aspect="equal", xlabel="true [eV]")
            axes.set_title(f"{name}, n = {len(true)}", fontsize=10)
            verdict = f"error {errors[name]:.3f}\nguess {baseline:.3f}"
            if errors[name] >= baseline:
                verdict += "\nno better"
            box = dict(color="white", alpha=0.75, pad=1.5)
            spot: Any = dict(ha="left", va="top", fontsize=9, bbox=box)
            axes.text(0.04, 0.97, verdict, transform=axes.transAxes, **spot)
            axes.locator_params(axis="x", nbins=4)
            if axes is not fig.axes[0]:
                axes.tick_params(labelleft=False)
        fig.axes[0].set_ylabel("predicted [eV]")
        fig.suptitle(title, fontweight="bold", fontsize=12)
    return fig
