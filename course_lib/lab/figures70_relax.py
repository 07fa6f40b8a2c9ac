"""Figures of relaxations in lab 70: one, step by step, and many that a network drove."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Real
from matplotlib.figure import Figure

from course_lib import plotting
from course_lib.electrocatalyst.graphs import fixed_atoms
from course_lib.lab.figures70_spheres import Spheres, colors_of, paint, radii_of


if TYPE_CHECKING:
    import pandas

    from course_lib.electrocatalyst.surfaces import Relaxation


FMAX = 0.05  # eV/angstrom, where a relaxation stops
BESIDE = 4.2  # angstrom to each side of the adsorbate that the side view shows
DEEP = 2.2  # and to the front and the back
DIMMED = 0.45  # how much white is in an atom that is held fixed
PIXELS = 400  # of a picture's width


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
    words = dict(xytext=(2, -11), textcoords="offset points", fontsize=9)
    lower.annotate(f"below {FMAX:g}: relaxed", (0, FMAX), **words)
    lower.set(xlabel="step", ylabel="largest force\n[eV/Å]", yscale="log")
    top = 2 * max(float(largest.max()), FMAX)
    bottom = 0.4 * min(float(largest.min()), FMAX)
    lower.set_ylim(bottom, top)
    ticks = [tick for tick in (0.001, 0.01, 0.1, 1, 10, 100) if bottom <= tick <= top]
    lower.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    lower.set_yticks([], minor=True)
    for axes in (upper, lower):
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set_xlim(-0.04 * len(energies), max(1.04 * len(energies) - 1, 1))


def _side(axes: Any, relaxation: "Relaxation") -> None:
    """The atoms after relaxation and, dashed, before; the line is the adsorbate's path."""
    from matplotlib.patches import Circle

    atoms = relaxation.initial
    first, last = relaxation.positions[0], relaxation.positions[-1]
    added, surface = atoms.get_tags() == 2, atoms.get_tags() == 1
    middle = first[added if added.any() else surface].mean(axis=0) * (1, 1, 0)
    along = _direction((last - first)[added])
    # x along the surface, y its height, z toward the reader
    view = np.stack([along, [0, 0, 1], [along[1], -along[0], 0]])
    ground = middle + (0, 0, first[surface, 2].mean())
    images = np.array([(i, j) for i in range(-2, 3) for j in range(-2, 3)]) @ atoms.cell.array[:2]
    before, after = (
        ((p + images[:, None]) @ view.T - view @ ground).reshape(-1, 3) for p in (first, last)
    )
    own = np.repeat(~images.any(axis=1), len(atoms))
    added = np.tile(added, len(images))
    place = np.tile(np.arange(len(atoms)), len(images))
    near = (np.abs(after[:, 2]) < DEEP) & (np.abs(after[:, 0]) < BESIDE + 2) & (own | ~added)
    wash = DIMMED * fixed_atoms(atoms)[place[near]]
    numbers = atoms.numbers[place[near]]
    spheres = Spheres(after[near], 0.85 * radii_of(numbers), colors_of(numbers), wash, added[near])
    high = float(max(before[near, 1].max(), after[near, 1].max())) + 1.2
    extent = -BESIDE, BESIDE, high - 1.6 * BESIDE, high
    axes.imshow(paint(spheres, extent, PIXELS), extent=extent, aspect="equal")
    gone = near & (np.linalg.norm(after - before, axis=1) > 0.03)
    for x, radius in zip(before[gone], 0.85 * radii_of(atoms.numbers[place[gone]]), strict=True):
        ghost = dict(fill=False, linestyle="--", linewidth=1.1, edgecolor="black")
        axes.add_patch(Circle(tuple(x[:2]), radius, **ghost))
    for one in np.flatnonzero(atoms.get_tags() == 2):
        path = relaxation.positions[:, one] @ view.T - view @ ground
        axes.plot(path[:, 0], path[:, 1], "-", color="white", linewidth=2.5)
        axes.plot(path[:, 0], path[:, 1], "-o", color="black", markersize=2.5, linewidth=1)
    axes.set(xlabel="along the surface [Å]", ylabel="height over the top layer [Å]")
    axes.set_title("dashed: before; spheres: after", fontweight="normal", fontsize=10)
    axes.grid(visible=False)


def _direction(moves: Float[np.ndarray, "atoms 3"]) -> Float[np.ndarray, " 3"]:
    """The direction in the surface in which most happens; x when nothing does."""
    flat = moves.sum(axis=0) * (1, 1, 0)
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
        left, right = 0.7 * before.min(), 1.4 * before.max()
        low, high = 0.7 * min(after.min(), FMAX), 2 * max(before.max(), after.max())
        forces.fill_between([low, high], [low, high], high, color="0.92")
        forces.plot([low, high], [low, high], "-", color="0.4", linewidth=1)
        worse = after >= before
        dots = dict(linestyle="none", markersize=5, alpha=0.8, markeredgewidth=0.8)
        style = dict(marker="o", color=plotting.PALETTE[0], markeredgecolor="white")
        forces.plot(before[~worse], after[~worse], label="falls", **dots | style)
        if worse.any():
            style = dict(marker="X", color=plotting.PALETTE[5], markeredgecolor="black")
            forces.plot(before[worse], after[worse], label="rises", **dots | style)
        line = dict(color="black", linestyle="--", linewidth=1.2)
        forces.axhline(FMAX, label=f"relaxed: {FMAX:g} eV/Å", **line)
        forces.set(xscale="log", yscale="log", xlim=(left, right), ylim=(low, high))
        forces.set(xlabel="before [eV/Å]", ylabel="after [eV/Å]")
        forces.set_title(f"largest force: falls in {falls} of {len(table)}", fontsize=10)
        forces.legend(loc="upper left")
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
