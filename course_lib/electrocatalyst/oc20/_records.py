"""What the files of OC20 hold, as atoms and numbers."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.constraints import FixAtoms
from jaxtyping import Float


@dataclass(frozen=True)
class OC20Record:
    """One relaxation of IS2RE and IS2RS: energies in eV by OC20's reference, angstrom.

    `atoms` is the initial structure with tags (0 sub-surface, 1 surface, 2 adsorbate) and FixAtoms.
    What is relaxed is None in the test splits, whose labels are hidden (arXiv 2010.09990).
    """

    sid: int
    atoms: Atoms
    pos_relaxed: Float[np.ndarray, "atoms 3"] | None
    y_init: float | None
    y_relaxed: float | None


@dataclass(frozen=True)
class OC20Frame:
    """One frame of S2EF: energy in eV, forces in eV/angstrom; None where the labels are hidden.

    `sid` numbers the relaxation, `fid` the frame in it; a file of another origin may lack them.
    """

    sid: int | None
    fid: int | None
    atoms: Atoms
    energy: float | None
    forces: Float[np.ndarray, "atoms 3"] | None


def record_of(fields: dict[str, Any], where: str) -> OC20Record:
    """Return the relaxation in the fields of a Data object."""
    atoms = _atoms(fields, where)
    relaxed = fields.get("pos_relaxed")
    return OC20Record(
        sid=int(_one(fields, "sid", where)),
        atoms=atoms,
        pos_relaxed=None if relaxed is None else _rows(relaxed, len(atoms), "pos_relaxed", where),
        y_init=_energy(fields, "y_init", where),
        y_relaxed=_energy(fields, "y_relaxed", where),
    )


def frame_of(fields: dict[str, Any], where: str) -> OC20Frame:
    """Return the frame in the fields of a Data object; older files say y and force."""
    atoms = _atoms(fields, where)
    energy = "energy" if "energy" in fields else "y"
    forces = fields.get("forces", fields.get("force"))
    return OC20Frame(
        sid=int(_one(fields, "sid", where)),
        fid=int(_one(fields, "fid", where)),
        atoms=atoms,
        energy=_energy(fields, energy, where),
        forces=None if forces is None else _rows(forces, len(atoms), "forces", where),
    )


def _atoms(fields: dict[str, Any], where: str) -> Atoms:
    wanted = ("pos", "cell", "atomic_numbers", "tags", "fixed")
    if missing := [name for name in wanted if name not in fields]:
        raise ValueError(
            f"{where} lacks {', '.join(missing)}; it has {', '.join(sorted(fields)) or 'nothing'}. "
            "The LMDB files of OC20's IS2RE and S2EF have them all."
        )
    numbers = _numbers(fields["atomic_numbers"], where).astype(int).reshape(-1)
    count = len(numbers)
    tags, fixed = (_numbers(fields[name], where).reshape(-1) for name in ("tags", "fixed"))
    cell = _numbers(fields["cell"], where)
    if len(tags) != count or len(fixed) != count or cell.size != 9:
        raise ValueError(
            f"{where} does not fit together: {count} atomic numbers, {len(tags)} tags, "
            f"{len(fixed)} marks of fixed atoms, a cell of shape {cell.shape}."
        )
    return Atoms(
        numbers,
        positions=_rows(fields["pos"], count, "pos", where),
        cell=cell.reshape(3, 3),
        pbc=True,  # OC20 marks all three directions
        tags=tags.astype(int),
        constraint=FixAtoms(mask=fixed.astype(bool)),
    )


def _numbers(value: Any, where: str) -> np.ndarray:
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{where} holds {type(value).__name__} where numbers belong.")
    return array


def _rows(value: Any, count: int, name: str, where: str) -> Float[np.ndarray, "atoms 3"]:
    array = _numbers(value, where)
    if array.shape != (count, 3) or not np.isfinite(array).all():
        raise ValueError(
            f"{where}: {name} has shape {array.shape} and must be {count} rows of 3 finite numbers."
        )
    return array.astype(np.float64)


def _one(fields: dict[str, Any], name: str, where: str) -> Any:
    if name not in fields:
        raise ValueError(f"{where} lacks {name}; it has {', '.join(sorted(fields))}.")
    array = _numbers(fields[name], where)
    if array.size != 1:
        raise ValueError(f"{where}: {name} must be one number, not {array.size}.")
    return array.item()


def _energy(fields: dict[str, Any], name: str, where: str) -> float | None:
    return float(_one(fields, name, where)) if name in fields else None
