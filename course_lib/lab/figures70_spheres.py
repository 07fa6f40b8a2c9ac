"""Atoms as shaded spheres, drawn into a picture: who is in front hides who is behind.

Coordinates are angstrom: x to the right, y up, z toward the reader.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float


BRIGHTEST = 0.80  # colors above this luminance are darkened, for white paper
LIGHT = np.array([-0.45, 0.55, 0.70])  # where the light comes from
SHEEN = np.array([-0.25, 0.30, 0.92])  # between the light and the reader
SMALLEST = 0.45  # angstrom; hydrogen would be lost otherwise
FLAT = 0.5  # spheres with more white than this are drawn as flat disks
FINER = 2  # points per pixel and axis, averaged in the end


@dataclass(frozen=True)
class Spheres:
    """Spheres to draw; `wash` mixes a color with white, 0 to 1; above 0.5 they are flat disks."""

    centers: Float[np.ndarray, "spheres 3"]
    radii: Float[np.ndarray, " spheres"]
    colors: Float[np.ndarray, "spheres 3"]
    wash: Float[np.ndarray, " spheres"]
    outlined: Bool[np.ndarray, " spheres"]


def colors_of(numbers: Any) -> Float[np.ndarray, "atoms 3"]:
    """Return the usual color of each element, darkened where it is too pale for white paper."""
    from ase.data.colors import jmol_colors

    colors = jmol_colors[np.asarray(numbers)]
    bright = colors @ np.array([0.299, 0.587, 0.114])
    return colors * np.minimum(1, BRIGHTEST / bright)[:, None]


def radii_of(numbers: Any) -> Float[np.ndarray, " atoms"]:
    """Return the covalent radius of each element in angstrom, at least 0.45."""
    from ase.data import covalent_radii

    return np.maximum(covalent_radii[np.asarray(numbers)], SMALLEST)


def turned(
    positions: Float[np.ndarray, "*points 3"], turn: float | int, tilt: float | int
) -> Float[np.ndarray, "*points 3"]:
    """Turn points about the third axis, then tilt them about the first; angles in degrees."""
    a, b = np.deg2rad([turn, tilt])
    about_z = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    return positions @ (about_x @ about_z).T


def paint(
    spheres: Spheres, extent: tuple[float, float, float, float], width: int
) -> Float[np.ndarray, "height width 4"]:
    """Return an RGBA picture, `width` pixels wide, of `extent` (left, right, bottom, top)."""
    left, right, bottom, top = extent
    step = (right - left) / (width * FINER)
    columns, rows = width * FINER, FINER * round(width * (top - bottom) / (right - left))
    picture, depth = np.ones((rows, columns, 3)), np.full((rows, columns), -np.inf)
    nearest = np.argsort(-(spheres.centers[:, 2] + spheres.radii))  # so little is painted over
    for place in nearest:
        x, y, z = spheres.centers[place]
        r = float(spheres.radii[place])
        c0, c1 = np.clip([(x - r - left) / step, (x + r - left) / step + 1], 0, columns).astype(int)
        r0, r1 = np.clip([(top - y - r) / step, (top - y + r) / step + 1], 0, rows).astype(int)
        nx = (left + (np.arange(c0, c1) + 0.5) * step - x) / r
        ny = ((top - (np.arange(r0, r1) + 0.5) * step - y) / r)[:, None]
        nz = np.sqrt(np.clip(1 - nx**2 - ny**2, 0, None))  # (rows, columns) of the window
        front = (nz > 0) & (z + r * nz > depth[r0:r1, c0:c1])
        where = np.nonzero(front)
        normal = np.stack([nx[where[1]], ny[where[0], 0], nz[where]], axis=-1)
        wash = float(spheres.wash[place])
        shade = _shade(normal, spheres.colors[place], flat=wash > FLAT)
        rim = _rim(normal, 2.0 if spheres.outlined[place] else 1.0)
        depth[r0:r1, c0:c1][where] = z + r * nz[where]
        picture[r0:r1, c0:c1][where] = (shade + (1 - shade) * wash) * (1 - (1 - wash) * rim)
    # (rows, columns, ...) -> (height, FINER, width, FINER, ...) -> (height, width, ...)
    blocks = (rows // FINER, FINER, columns // FINER, FINER)
    alpha = np.isfinite(depth).reshape(*blocks, 1).mean(axis=(1, 3))
    color = picture.reshape(*blocks, 3).mean(axis=(1, 3))  # over white where there is nothing
    return np.concatenate([(color - 1 + alpha) / np.maximum(alpha, 1e-9), alpha], axis=-1).clip(
        0, 1
    )


def _shade(
    normal: Float[np.ndarray, "points 3"], color: Float[np.ndarray, " 3"], flat: bool
) -> Float[np.ndarray, "points 3"]:
    """Light falls from the upper left, and a small spot shines; a flat disk has one color."""
    if flat:
        return np.tile(color, (len(normal), 1))
    diffuse = np.clip(normal @ (LIGHT / np.linalg.norm(LIGHT)), 0, 1)
    spot = np.clip(normal @ (SHEEN / np.linalg.norm(SHEEN)), 0, 1) ** 60
    return (color * (0.42 + 0.66 * diffuse)[:, None] + 0.35 * spot[:, None]).clip(0, 1)


def _rim(normal: Float[np.ndarray, "points 3"], width: float) -> Float[np.ndarray, "points 1"]:
    """How dark it is where the sphere turns away from the reader, 0 to 0.85."""
    return 0.85 * np.clip(1 - normal[:, 2:] / (0.28 * width), 0, 1) ** (1 / width)
