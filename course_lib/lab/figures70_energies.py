"""Figures of energies in lab 70: a potential against DFT, and the volcano."""

from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Real
from matplotlib.figure import Figure

from course_lib import plotting
from course_lib.electrocatalyst import energetics


if TYPE_CHECKING:
    import pandas


FACTOR = 10.0  # the top band: currents within this factor of the peak


def against_pbe(table: "pandas.DataFrame", title: str) -> Figure:
    """Draw a potential's adsorption energies against DFT's (PBE), one panel per adsorbate.

    Columns: metal, adsorbate, chgnet, pbe, shifted (eV); `shifted` is chgnet without its offset.
    """
    panels = list(table.groupby("adsorbate", sort=False))
    facts = {name: _agreement(rows) for name, rows in panels}
    words = "; ".join(
        f"{name}: r {r:.2f}, error {mae:.2f} eV after an offset of {offset:+.2f} eV"
        for name, (r, mae, offset) in facts.items()
    )
    alt = f"{title}. {table['metal'].nunique()} metals. {words}."
    count = len(panels)
    with plotting.figure(alt=alt, width=2.9 * count + 0.3, height=3.9, cols=count) as (fig, _):
        for axes, (name, rows) in zip(fig.axes, panels, strict=True):
            r, mae, offset = facts[name]
            both = np.concatenate([rows["pbe"], rows["shifted"]])
            margin = 0.12 * float(np.ptp(both))
            ends = [both.min() - margin, both.max() + margin]
            axes.plot(ends, ends, "-", color="0.4", linewidth=1)
            axes.plot(rows["pbe"], rows["shifted"], "o", color=plotting.PALETTE[0])
            _name_points(axes, rows["pbe"], rows["shifted"], rows["metal"])
            axes.set(xlim=ends, ylim=ends, aspect="equal", xlabel="PBE [eV]")
            words = f"*{name}: r = {r:.2f}, error {mae:.2f} eV\noffset {offset:+.2f} eV taken off"
            axes.set_title(words, fontsize=10, fontweight="normal")
        fig.axes[0].set_ylabel("CHGNet, moved [eV]")
        fig.suptitle(title, fontweight="bold", fontsize=12)
    return fig


def _agreement(rows: Any) -> tuple[float, float, float]:
    """Correlation, mean absolute error after the offset, and the offset (eV)."""
    r = float(np.corrcoef(rows["pbe"], rows["chgnet"])[0, 1])
    mae = float((rows["shifted"] - rows["pbe"]).abs().mean())
    return r, mae, float((rows["chgnet"] - rows["shifted"]).mean())


def _name_points(axes: Any, x: Any, y: Any, names: Any) -> None:
    """Write a name at each point, to the side where no other point is near."""
    points = np.column_stack([x, y]).astype(float)
    scale = np.maximum(np.ptp(points, axis=0), 1e-9)
    for place, name in enumerate(names):
        away = (points - points[place]) / scale
        near = np.hypot(*away.T) < 0.14
        side = -1 if (away[near, 0].sum() - away[near, 1].sum()) > 1e-9 else 1
        spot = dict(xytext=(6 * side, -5 * side), textcoords="offset points", fontsize=9)
        spot |= dict(ha="left" if side > 0 else "right", va="center")
        axes.annotate(str(name), points[place], **spot)


def volcano(
    table: "pandas.DataFrame",
    sigma: float | int,
    title: str,
    curve: tuple[Real[np.ndarray, " n"], Real[np.ndarray, " n"]] | None = None,
) -> Figure:
    """Draw metals on the volcano of hydrogen evolution, with error bars of `sigma` (eV).

    Columns: metal, delta_g (eV), log_i0 (log10 of the exchange current, relative to the peak).
    `curve` is the volcano itself as (x, y), by default that of `energetics`.
    """
    delta, height = table["delta_g"].to_numpy(), table["log_i0"].to_numpy()
    order = np.argsort(-height)
    names = list(table["metal"])
    width = energetics.band(FACTOR)
    inside = int((np.abs(delta) <= width).sum())
    within = int((np.abs(delta) - sigma <= width).sum())
    alt = (
        f"{title}. From the top down: "
        + ", ".join(f"{names[i]} at {delta[i]:+.2f} eV" for i in order)
        + f". The top band is {width:.2f} eV to each side; {inside} of {len(names)} metals lie in "
        f"it, and {within} may, with errors of {sigma:g} eV."
    )
    with plotting.figure(alt=alt, width=8, height=4.2) as (fig, axes):
        draw_volcano(axes, names, delta, height, sigma, curve)
        axes.set_title(title)
        fig.legend(loc="outside lower center", ncols=3)
    return fig


def draw_volcano(
    axes: Any,
    names: list[str],
    delta: Real[np.ndarray, " metals"],
    height: Real[np.ndarray, " metals"],
    sigma: float | int,
    curve: tuple[Real[np.ndarray, " n"], Real[np.ndarray, " n"]] | None = None,
) -> None:
    """Draw the two legs, the top band, and the metals with their error bars."""
    reach = max(0.6, 1.15 * (float(np.abs(delta).max(initial=0)) + sigma))
    if curve is None:
        x = np.linspace(-reach, reach, 201)
        curve = x, energetics.log10_exchange_current(x)
    width = energetics.band(FACTOR)
    axes.axvspan(-width, width, color="0.88", label=f"top: within a factor of {FACTOR:g}")
    axes.plot(*curve, "-", color="0.35", label="volcano")
    if len(delta):
        bars = dict(color=plotting.PALETTE[0], marker="o", linestyle="none", capsize=3)
        label = f"metals, ± {sigma:g} eV" if sigma else "metals"
        axes.errorbar(delta, height, xerr=sigma or None, label=label, **bars)
        _name_legs(axes, names, delta, height)
    axes.set(xlim=(-reach, reach), xlabel="$\\Delta G$ of *H [eV]")
    axes.set_ylabel("log$_{10}$ of the current,\nrelative to the peak")


def _name_legs(
    axes: Any,
    names: list[str],
    delta: Real[np.ndarray, " metals"],
    height: Real[np.ndarray, " metals"],
) -> None:
    """Write the names outside of the legs; points that lie on one another share one text."""
    order = np.argsort(delta)
    breaks = np.flatnonzero(np.diff(delta[order]) > 0.03 * max(np.ptp(delta), 0.1)) + 1
    for group in np.split(order, breaks):
        side = 1 if delta[group].mean() > 0 else -1
        spot: Any = dict(xytext=(5 * side, 7), textcoords="offset points", fontsize=9)
        spot |= dict(ha="left" if side > 0 else "right", va="center")
        at = delta[group].mean(), height[group].max()
        axes.annotate(", ".join(names[place] for place in group), at, **spot)
