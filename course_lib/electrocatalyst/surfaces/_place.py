"""Sites of a slab, and an adsorbate on one of them."""

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from jaxtyping import Float


ADSORBATES = ("H", "C", "N", "O", "OH")
TILT = np.deg2rad(15.0)  # of OH: upright at a symmetric site no force would ever turn it
OH_BOND = 0.97  # angstrom
LOWEST = 1.2  # angstrom above the surface atoms; hydrogen would sink into a wide hollow


def sites(slab: Atoms) -> dict[str, Float[np.ndarray, "copies 2"]]:
    """Return the kinds of sites of a slab, each with the x and y in angstrom of all its copies.

    fcc(111): ontop, bridge, fcc, hcp; fcc(100): ontop, bridge, hollow. A kind has one copy per
    surface atom; on a slab of two metals they differ. Bridges of one direction only, as in ASE.
    Raises ValueError for a structure that `slab` did not make.
    """
    about = slab.info.get("adsorbate_info")
    if about is None:
        raise ValueError("The structure does not know its sites; make it with `slab`.")
    unit = np.asarray(about["cell"])  # (2, 2), of one surface atom
    across = np.rint(np.linalg.norm(slab.cell.array[:2, :2], axis=1) / np.linalg.norm(unit, axis=1))
    copies = np.array([(i, j) for j in range(int(across[1])) for i in range(int(across[0]))])
    return {name: (np.asarray(site) + copies) @ unit for name, site in about["sites"].items()}


def place(
    slab: Atoms,
    adsorbate: str,
    site: str | tuple[float, float] | Float[np.ndarray, " 2"],
    copy: int = 0,
) -> Atoms:
    """Return a copy of the slab with H, C, N, O or OH above a site; the adsorbate has tag 2.

    `site`: a name of `sites(slab)`, and which `copy` of it; or x and y in angstrom. The height is
    the lowest at which the binding atom touches a surface atom, by covalent radii, and at least
    1.2 angstrom. OH binds through O and leans by 15 degrees.
    Raises ValueError for an adsorbate or a site that is not.
    """
    if adsorbate not in ADSORBATES:
        raise ValueError(
            f"There is no adsorbate '{adsorbate}'; choose one of: {', '.join(ADSORBATES)}."
        )
    if isinstance(site, str):
        known = sites(slab)
        if site not in known:
            raise ValueError(f"There is no site '{site}'; choose one of: {', '.join(known)}.")
        if not 0 <= copy < len(known[site]):
            raise ValueError(f"The site '{site}' has {len(known[site])} copies; copy is {copy}.")
        site = known[site][copy]
    x, y = site
    added = Atoms(adsorbate, tags=2)
    added.positions[0] = x, y, _height(slab, int(added.numbers[0]), np.array([x, y]))
    if adsorbate == "OH":
        lean = np.array([np.sin(TILT), 0.0, np.cos(TILT)])
        added.positions[1] = added.positions[0] + OH_BOND * lean
    placed = slab.copy()
    placed.extend(added)
    return placed


def _height(slab: Atoms, number: int, xy: np.ndarray) -> float:
    """Return the z in angstrom at which an atom above `xy` touches the surface."""
    surface = slab[slab.get_tags() == 1]
    steps = np.array([(i, j) for i in (-2, -1, 0, 1, 2) for j in (-2, -1, 0, 1, 2)])
    images = steps @ slab.cell.array[:2, :2]  # (25, 2)
    apart = surface.positions[:, None, :2] + images - xy  # (surface, 25, 2)
    touch = covalent_radii[surface.numbers] + covalent_radii[number]  # (surface,)
    above = np.sqrt(np.clip(touch[:, None] ** 2 - (apart**2).sum(-1), 0, None))
    return float((surface.positions[:, 2:] + np.maximum(above, LOWEST)).max())
