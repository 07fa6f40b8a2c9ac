"""Figures of relaxations in lab 70: one, step by step, and many that a network drove."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Real
from matplotlib.figure import Figure

from course_lib import plotting
from course_lib.lab.figures70_spheres import colors_of, fixed_atoms, radii_of


if TYPE_CHECKING:
    import pandas

    from course_lib.electrocatalyst.surfaces import Relaxation


FMAX = 0.05  # eV/angstrom, where a relaxation stops
BESIDE = 4.2  # angstrom to each side of the adsorbate that the side view shows
BELOW = 5.2  # and below it


def relaxation(relaxation: "Relaxation", title: str) -> Figure:
    """Draw how a structure relaxes: left where the atoms go, right energy and largest force.

    The side view looks along the surface; its horizontal axis is the adsorbate's own direction.
    """
    energies = np.asarray(relaxation.energies) - relaxation.energies[0]
    largest = largest_forces(relaxation)
    first, last = relaxation.positions[0], relaxation.positions[-1]
    added = relaxation.initial.get_tags() == 2
    moved = np.linalg.norm(last - first, axis=1)
    alt = (
        f"{title}. In {len(energies) - 1} steps the energy falls by {-energies[-1]:.3f} eV and the "
        f"largest force from {largest[0]:.2f} to {largest[-1]:.3f} eV per angstrom. "
        + (f"The adsorbate moves by {moved[added].max():.2f} angstrom." if added.any() else "")
    )
    with plotting.figure(alt=alt, width=8.8, height=4.2, rows=2, cols=2) as (fig, axes):
        grid = axes[0, 0].get_gridspec()
        for one in axes[:, 0]:
            one.remove()
        _side(fig.add_subplot(grid[:, 0]), relaxation)
        energy_and_force(axes[0, 1], axes[1, 1], energies, largest)
        fig.suptitle(title, fontweight="bold", fontsize=12)
    return fig


def largest_forces(relaxation: "Relaxation") -> Float[np.ndarray, " steps"]:
    """Return the largest force on a free atom at each step, in eV per angstrom."""
    free = ~fixed_atoms(relaxation.initial)
    return np.linalg.norm(relaxation.forces[:, free], axis=2).max(axis=1)


def energy_and_force(
    upper: Any,
    lower: Any,
    energies: Real[np.ndarray, " steps"],
    largest: Real[np.ndarray, " steps"],
) -> None:
    """Draw the energy from the first step on (eV), and the largest force (eV per angstrom)."""
    upper.plot(energies, "-o", markersize=4)
    upper.set(ylabel="energy [eV]")
    upper.tick_params(labelbottom=False)
    lower.plot(largest, "-s", color=plotting.PALETTE[5], markersize=4)
    lower.axhline(FMAX, color="black", linestyle="--", linewidth=1.2)
    lower.annotate(
        f"{FMAX:g}: enough", (0, FMAX), xytext=(2, 3), textcoords="offset points", fontsize=9
    )
    lower.set(xlabel="step", ylabel="largest force\n[eV/Å]", yscale="log")
    top = 2 * max(float(largest.max()), FMAX)
    bottom = 0.5 * min(float(largest.min()), FMAX)
    lower.set_ylim(bottom, top)
    ticks = [tick for tick in (0.001, 0.01, 0.1, 1, 10, 100) if bottom <= tick <= top]
    lower.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    lower.set_yticks([], minor=True)
    for axes in (upper, lower):
        axes.xaxis.get_major_locator().set_params(integer=True)


def _side(axes: Any, relaxation: "Relaxation") -> None:
    """The atoms before (dashed) and after (filled), seen from the side, and the path between."""
    from matplotlib.patches import Circle

    atoms = relaxation.initial
    first, last = relaxation.positions[0], relaxation.positions[-1]
    chosen = atoms.get_tags() == (2 if (atoms.get_tags() == 2).any() else 1)
    center = first[chosen][0]
    along = _direction((last - first)[chosen])
    into = np.array([-along[1], along[0], 0.0])
    ground = first[atoms.get_tags() == 1, 2].mean()
    steps = np.array([(i, j) for i in (-2, -1, 0, 1, 2) for j in (-2, -1, 0, 1, 2)])
    fixed, radii = fixed_atoms(atoms), 0.85 * radii_of(atoms.numbers)
    colors = colors_of(atoms.numbers)
    drawn = []
    for place in range(len(atoms)):
        for shift in steps @ atoms.cell.array[:2]:
            if chosen[place] and shift.any():
                continue
            before, after = (p[place] + shift - center for p in (first, last))
            if abs(after @ into) < 2.2 and abs(after @ along) < BESIDE + 1.5:
                drawn.append((float(after @ into), place, before, after))
    for depth, place, before, after in sorted(drawn, key=lambda one: -one[0]):
        x, y = (np.array([p @ along, p[2] + center[2] - ground]) for p in (before, after))
        wash = min(0.75, 0.35 * fixed[place] + 0.12 * max(depth + 2.2, 0))
        face = tuple(colors[place] * (1 - wash) + wash)
        rim = dict(edgecolor="black" if chosen[place] else "0.35")
        width = 2.0 if chosen[place] else 0.9
        axes.add_patch(Circle(tuple(y), radii[place], facecolor=face, linewidth=width, **rim))
        if np.linalg.norm(x - y) > 0.02:
            ghost = dict(fill=False, linestyle="--", linewidth=1, edgecolor="0.25")
            axes.add_patch(Circle(tuple(x), radii[place], **ghost))
    for place in np.flatnonzero(chosen):
        path = relaxation.positions[:, place] - center
        x, y = path @ along, path[:, 2] + center[2] - ground
        axes.plot(x, y, "-o", color="black", markersize=2.5, linewidth=1, zorder=5)
        axes.plot(x[-1], y[-1], "D", color="white", markeredgecolor="black", zorder=6)
    high = max(first[chosen, 2].max(), last[chosen, 2].max()) - ground + 1.2
    axes.set(xlim=(-BESIDE, BESIDE), ylim=(high - BELOW - 1.2, high), aspect="equal")
    axes.set(xlabel="along the surface [Å]", ylabel="height over the top layer [Å]")
    axes.set_title("dashed: before; filled: after", fontweight="normal", fontsize=10)
    axes.grid(visible=False)


def _direction(moves: Float[np.ndarray, "atoms 3"]) -> Float[np.ndarray, " 3"]:
    """The direction in the surface in which most happens; x when nothing does."""
    flat = moves.mean(axis=0) * (1, 1, 0)
    length = np.linalg.norm(flat)
    return flat / length if length > 0.05 else np.array([1.0, 0.0, 0.0])


def driven(
    table: "pandas.DataFrame",
    curves: Mapping[str, tuple[Real[np.ndarray, " n"], Real[np.ndarray, " n"]]],
    title: str,
) -> Figure:
    """Draw relaxations that a network drove: the reference's largest force before and after.

    `table` has columns before and after (eV per angstrom). `curves` holds "ADwT" (thresholds in
    angstrom) and "AFbT" (in eV per angstrom), with the share of systems within each.
    """
    before, after = table["before"].to_numpy(), table["after"].to_numpy()
    falls = int((after < before).sum())
    means = {name: float(np.mean(shares)) for name, (_, shares) in curves.items()}
    words = ", ".join(f"{name} {100 * mean:.0f} %" for name, mean in means.items())
    alt = (
        f"{title}. The largest force falls in {falls} of {len(table)} relaxations; its median goes "
        f"from {np.median(before):.2f} to {np.median(after):.3f} eV per angstrom. "
        f"Averaged over thresholds: {words}."
    )
    with plotting.figure(alt=alt, width=8.8, height=3.9, cols=2) as (fig, (forces, shares)):
        low, high = (
            0.7 * min(before.min(), after.min()),
            1.4 * max(before.max(), after.max()),
        )
        forces.fill_between([low, high], [low, high], high, color="0.92")
        forces.plot([low, high], [low, high], "-", color="0.4", linewidth=1)
        worse = after >= before
        dots = dict(linestyle="none", markersize=5, alpha=0.8, markeredgewidth=0.8)
        style = dict(marker="o", color=plotting.PALETTE[0], markeredgecolor="white")
        forces.plot(before[~worse], after[~worse], label="falls", **dots | style)
        if worse.any():
            style = dict(marker="X", color=plotting.PALETTE[5], markeredgecolor="black")
            forces.plot(before[worse], after[worse], label="rises", **dots | style)
        forces.axhline(FMAX, color="black", linestyle="--", linewidth=1.2)
        forces.set(xscale="log", yscale="log", xlim=(low, high), ylim=(low, high))
        forces.set(xlabel="before [eV/Å]", ylabel="after [eV/Å]")
        forces.set_title(f"largest force: falls in {falls} of {len(table)}", fontsize=10)
        forces.legend(loc="lower right")
        for axis in (forces.xaxis, forces.yaxis):
            axis.set_major_formatter("{x:g}")
            axis.set_minor_formatter("")
        units = {"ADwT": "moved from the reference, Å", "AFbT": "largest force, eV/Å"}
        for index, (name, (thresholds, share)) in enumerate(curves.items()):
            label = f"{name} ({units.get(name, 'threshold')}): {100 * means[name]:.0f} %"
            dashes = plotting.LINESTYLES[index]
            shares.plot(thresholds, 100 * np.asarray(share), linestyle=dashes, label=label)
        shares.set(xlabel="threshold [Å or eV/Å]", ylabel="systems within it [%]", ylim=(-3, 103))
        shares.set_title("shares, and their means over thresholds", fontsize=10)
        shares.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18))
        fig.suptitle(title, fontweight="bold", fontsize=12)
    return fig
