"""Figures of slabs in lab 70: from above, turned, and as a graph of neighbors."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Integer
from matplotlib.figure import Figure

from course_lib import plotting
from course_lib.electrocatalyst.graphs import fixed_atoms
from course_lib.lab.figures70_spheres import (
    Spheres,
    colors_of,
    paint,
    radii_of,
    turned,
)


if TYPE_CHECKING:
    from ase import Atoms


FADED = 0.72  # how much white is in a periodic image
DIMMED = 0.45  # and in an atom that is held fixed
PIXELS = 480  # of a picture's width
RATIO = 1.3  # of its width and height
AROUND = [(i, j) for i in (-2, -1, 0, 1, 2) for j in (-2, -1, 0, 1, 2)]
BESIDE = [(0, 0), (1, 0), (0, 1), (1, 1)]


def slab_views(
    atoms: "Atoms", title: str, turn: float | int = 30, tilt: float | int = -75
) -> Figure:
    """Draw a slab from above among its periodic images, and turned by two angles (degrees).

    Atoms that are held fixed are dimmed, the adsorbate (tag 2) has a thick outline, and what lies
    outside of the cell is faint.
    """
    symbols = atoms.get_chemical_symbols()
    kinds = {one: symbols.count(one) for one in dict.fromkeys(symbols)}
    added = [symbols[i] for i in np.flatnonzero(atoms.get_tags() == 2)]
    fixed = int(fixed_atoms(atoms).sum())
    words = ", ".join(f"{number} {one}" for one, number in kinds.items())
    alt = (
        f"{title}. A slab of {len(atoms)} atoms ({words}) from above, with its cell and periodic "
        f"images, and turned by {turn:g} degrees. {fixed} atoms are held fixed. "
        + (f"The adsorbate is {''.join(added)}." if added else "There is no adsorbate.")
    )
    with plotting.figure(alt=alt, width=8.4, height=3.9, cols=2) as (fig, (above, side)):
        draw_above(above, atoms)
        draw_turned(side, atoms, turn, tilt)
        above.set_title("from above", fontweight="normal", fontsize=10)
        side.set_title(f"turned by {turn:g}°", fontweight="normal", fontsize=10)
        fig.legend(handles=element_keys(above, atoms), loc="outside lower center", ncols=6)
        fig.suptitle(title, fontweight="bold", fontsize=12)
    return fig


def draw_above(axes: Any, atoms: "Atoms") -> None:
    """Draw the slab from above: the cell's outline, and faint images around it."""
    corners = _corners(atoms)
    _show(axes, _spheres(atoms, atoms.positions, AROUND), _frame(corners, 1.6))
    axes.plot(*corners.T, "--", color="black", linewidth=1.2)
    _name_atoms(axes, atoms, atoms.positions, atoms.get_tags() >= 1)


def draw_turned(axes: Any, atoms: "Atoms", turn: float | int, tilt: float | int = -75) -> None:
    """Draw four cells of the slab, turned by two angles in degrees; three of them are faint."""
    middle = np.array([*_corners(atoms)[2], atoms.positions[:, 2].mean()])
    spheres = _spheres(atoms, atoms.positions - middle, BESIDE)
    seen = turned(spheres.centers, turn, tilt)
    spheres = replace(spheres, centers=seen)
    _show(axes, spheres, _frame(seen[:, :2], spheres.radii.max() + 0.2))
    _name_atoms(axes, atoms, seen[: len(atoms)], atoms.get_tags() == 2)


def _frame(
    points: Float[np.ndarray, "points 2"], margin: float
) -> tuple[float, float, float, float]:
    """Left, right, bottom and top of a frame around points, `RATIO` times as wide as high."""
    low, high = points.min(axis=0) - margin, points.max(axis=0) + margin
    (x, y), (width, height) = (low + high) / 2, high - low
    half = max(width / RATIO, height) / 2
    return x - RATIO * half, x + RATIO * half, y - half, y + half


def _corners(atoms: "Atoms") -> Float[np.ndarray, "5 2"]:
    """The cell's outline seen from above, closed."""
    a, b = atoms.cell.array[:2, :2]
    return np.array([0 * a, a, a + b, b, 0 * a])


def _spheres(atoms: "Atoms", positions: Float[np.ndarray, "atoms 3"], steps: Any) -> Spheres:
    """The atoms at `positions`, and their images so many cells away along the first two axes."""
    numbers, fixed = atoms.numbers, fixed_atoms(atoms)
    steps = np.array(steps)
    shifts = steps @ atoms.cell.array[:2]  # (images, 3)
    own = np.repeat(~steps.any(axis=1), len(atoms))
    count = len(steps)
    wash = np.tile(np.where(fixed, DIMMED, 0.0), count)
    return Spheres(
        centers=(shifts[:, None] + positions).reshape(-1, 3),
        radii=np.tile(radii_of(numbers), count),
        colors=np.tile(colors_of(numbers), (count, 1)),
        wash=np.where(own, wash, FADED + (1 - FADED) * wash / 2),
        outlined=np.tile(atoms.get_tags() == 2, count) & own,
    )


def _show(axes: Any, spheres: Spheres, extent: tuple[float, float, float, float]) -> None:
    axes.imshow(paint(spheres, extent, PIXELS), extent=extent, interpolation="antialiased")
    axes.set(xlim=extent[:2], ylim=extent[2:], aspect="equal")
    axes.axis("off")


def _name_atoms(axes: Any, atoms: "Atoms", seen: Float[np.ndarray, "atoms 3"], chosen: Any) -> None:
    """Write the symbols of atoms that nothing hides."""
    from matplotlib.patheffects import withStroke

    symbols, radii = atoms.get_chemical_symbols(), radii_of(atoms.numbers)
    for place in np.flatnonzero(chosen):
        x, y, z = seen[place]
        nearer = (seen[:, 2] > z) & (np.hypot(*(seen[:, :2] - (x, y)).T) < 0.8 * radii)
        if not nearer.any():
            halo = [withStroke(linewidth=2.2, foreground="white", alpha=0.75)]
            style = dict(ha="center", va="center", fontsize=9, path_effects=halo)
            axes.text(x, y, symbols[place], fontweight="bold", clip_on=True, **style)


def element_keys(axes: Any, atoms: "Atoms") -> list[Any]:
    """Return entries of a legend: a dot per element, what is fixed, the adsorbate, the cell."""
    keys = []
    numbers = list(dict.fromkeys(atoms.numbers.tolist()))
    symbols = list(dict.fromkeys(atoms.get_chemical_symbols()))
    dot = dict(marker="o", linestyle="none", markersize=10)
    for color, name in zip(colors_of(numbers), symbols, strict=True):
        keys += axes.plot([], [], color=color, markeredgecolor="0.25", label=name, **dot)
    fixed = fixed_atoms(atoms)
    if fixed.any():
        dim = colors_of(atoms.numbers[fixed][:1])[0] * (1 - DIMMED) + DIMMED
        keys += axes.plot([], [], color=dim, markeredgecolor="0.6", label="held fixed", **dot)
    if (atoms.get_tags() == 2).any():
        ring = dict(markerfacecolor="white", markeredgecolor="black", markeredgewidth=2.5)
        keys += axes.plot([], [], label="adsorbate", **dot | ring)
    keys += axes.plot([], [], "--", color="black", linewidth=1.2, label="cell")
    return keys


def graph_view(
    atoms: "Atoms",
    edges: Integer[np.ndarray, "2 edges"],
    shifts: Integer[np.ndarray, "edges 3"],
    center: int,
    cutoff: float | int,
    title: str,
) -> Figure:
    """Draw the edges that end in one atom, from above, and how many there are at each distance.

    `edges` holds neighbors and centers, `shifts` the cells of the neighbors; `cutoff` in angstrom.
    """
    mine = edges[1] == center
    ends = atoms.positions[edges[0][mine]] + shifts[mine] @ atoms.cell.array
    here = atoms.positions[center]
    inside = ~shifts[mine].any(axis=1)
    apart = np.linalg.norm(ends - here, axis=1)
    symbol = atoms.get_chemical_symbols()[center]
    alt = (
        f"{title}. Atom {center}, {symbol}, has {len(ends)} neighbors within {cutoff:g} angstrom: "
        f"{int(inside.sum())} in its own cell and {int((~inside).sum())} in periodic images. The "
        f"nearest is {apart.min():.2f}, the farthest {apart.max():.2f} angstrom away."
    )
    with plotting.figure(alt=alt, width=8.8, height=4.4, cols=2) as (fig, (above, shells)):
        reach = cutoff + 1.0
        extent = here[0] - reach, here[0] + reach, here[1] - reach, here[1] + reach
        spheres = _spheres(atoms, atoms.positions, AROUND)
        _show(above, replace(spheres, radii=0.45 * spheres.radii), extent)
        above.plot(*_corners(atoms).T, "--", color="black", linewidth=1.2)
        for chosen, color, dashes in ((~inside, "0.35", ":"), (inside, plotting.PALETTE[5], "-")):
            for x, y, _ in ends[chosen]:
                line = dict(color=color, linestyle=dashes, linewidth=1.3)
                above.plot([here[0], x], [here[1], y], **line)
        angle = np.linspace(0, 2 * np.pi, 200)
        ring = here[:2, None] + cutoff * np.array([np.cos(angle), np.sin(angle)])
        above.plot(*ring, "-", color="black", linewidth=1.4)
        words = f"atom {center} ({symbol}), cutoff {cutoff:g} Å"
        above.set_title(words, fontweight="normal", fontsize=10)
        bins = np.arange(0, cutoff + 0.2, 0.2).tolist()
        style: Any = dict(stacked=True, edgecolor="white", linewidth=0.5)
        style |= dict(color=[plotting.PALETTE[5], "0.6"])
        style |= dict(label=["in the same cell", "in periodic images"])
        _, _, bars = shells.hist([apart[inside], apart[~inside]], bins=bins, **style)
        for patch in bars[1]:
            patch.set_hatch("//")
        shells.set(xlabel="distance [Å]", ylabel="neighbors", xlim=(0, cutoff + 0.2))
        shells.yaxis.get_major_locator().set_params(integer=True)
        shells.set_title(f"{len(ends)} neighbors, in shells", fontweight="normal", fontsize=10)
        shells.legend(loc="upper left")
        fig.suptitle(title, fontweight="bold", fontsize=12)
    return fig
