"""Slabs of one or two fcc metals, cut by ASE, with the tags and constraints of OC20.

OC20 (arXiv 2010.09990, section 2): tag 0 below the surface, 1 surface, 2 adsorbate; periodic along
all three axes, with vacuum along the third.
"""

import numpy as np
from ase import Atoms
from ase.build import fcc100, fcc111
from ase.constraints import FixAtoms

from course_lib.electrocatalyst.surfaces._lattice import lattice_constant


METALS = ("Ag", "Al", "Au", "Cu", "Ni", "Pd", "Pt")  # what EMT knows; CHGNet has Ir and Rh too
FACETS = {"111": fcc111, "100": fcc100}
ORDERS = ("random", "rows", "layers")
FIXED_LAYERS = 2  # from below


def slab(
    metals: str | tuple[str, str],
    facet: str = "111",
    size: tuple[int, int, int] = (2, 2, 3),
    vacuum: float = 8.0,
    seed: int | None = None,
    order: str | None = None,
    share: float = 0.5,
    potential: str = "emt",
) -> Atoms:
    """Return a clean fcc slab: tag 1 in the top layer, 0 below, the two lowest layers fixed.

    `metals`: one, or two. Of two, `share` of the atoms are of the second metal: at places drawn by
    `seed` with the order "random" (the default), in every other row along the second axis with
    "rows", in every other layer with "layers"; these two orders fix the share themselves.
    `size`: cells along x and y, and layers. `vacuum`: angstrom on each side. The lattice constant
    is that of `potential`, of two metals the mean weighted by their shares (Vegard's rule).
    Raises ValueError for a facet, a metal, an order, a size or a share that cannot be.
    """
    names = (metals,) if isinstance(metals, str) else tuple(metals)
    _refuse(names, facet, size, vacuum, order, share)
    constants = [lattice_constant(name, potential) for name in names]
    atoms = FACETS[facet](names[0], size, a=constants[0], vacuum=0)
    if len(names) == 2:
        second = _second(atoms, size, order or "random", share, seed)
        part = second.mean()
        constant = (1 - part) * constants[0] + part * constants[1]
        atoms = FACETS[facet](names[0], size, a=constant, vacuum=0)
        atoms.symbols[second] = names[1]
    atoms.center(vacuum=vacuum, axis=2)
    atoms.set_pbc(True)
    layer = atoms.get_tags()  # ASE counts from the top, which is 1
    atoms.set_tags(np.where(layer == 1, 1, 0))
    atoms.set_constraint(FixAtoms(mask=layer > size[2] - FIXED_LAYERS))
    return atoms


def _second(
    atoms: Atoms, size: tuple[int, int, int], order: str, share: float, seed: int | None
) -> np.ndarray:
    """Return which atoms are of the second metal: bool, (atoms,)."""
    number = np.arange(len(atoms))
    if order == "rows":
        return (number // size[0]) % size[1] % 2 == 1
    if order == "layers":
        return atoms.get_tags() % 2 == 0
    count = round(share * len(atoms))
    if not 0 < count < len(atoms):
        raise ValueError(
            f"A share of {share} of {len(atoms)} atoms is {count}: a slab of one metal."
        )
    chosen = np.random.default_rng(seed).permutation(len(atoms))[:count]
    return np.isin(number, chosen)


def _refuse(
    names: tuple[str, ...],
    facet: str,
    size: tuple[int, int, int],
    vacuum: float,
    order: str | None,
    share: float,
) -> None:
    if len(names) not in (1, 2) or len(set(names)) != len(names):
        raise ValueError(f"A slab has one metal or two different ones, not {names}.")
    if facet not in FACETS:
        raise ValueError(f"There is no facet '{facet}'; choose one of: {', '.join(FACETS)}.")
    if order is not None and order not in ORDERS:
        raise ValueError(f"There is no order '{order}'; choose one of: {', '.join(ORDERS)}.")
    if len(size) != 3 or min(size) < 1 or size[2] <= FIXED_LAYERS:
        raise ValueError(
            f"The size {size} leaves nothing free: {FIXED_LAYERS} layers are fixed. Take (2, 2, 3)."
        )
    if not vacuum > 0:
        raise ValueError(f"The vacuum is {vacuum} angstrom; take a positive one, such as 8.")
    if not 0 < share < 1:
        raise ValueError(f"The share of the second metal is {share}; take one between 0 and 1.")
