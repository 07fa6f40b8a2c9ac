"""ASE-LMDB (`.aselmdb`), the layout of ase-db-backends that newer data sets use: no pickle in it.

Keys "1", "2", … hold one row each: a JSON object in ASE's dialect (`ase.io.jsonio`), compressed by
zlib. "nextid" is the first free number, "deleted_ids" a list of numbers that are no longer there.
"""

import json
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.constraints import FixAtoms
from ase.io.jsonio import decode as ase_decode

from course_lib.electrocatalyst.oc20._lmdb import Records, get
from course_lib.electrocatalyst.oc20._records import OC20Frame


class AseLMDB(Records):
    """The rows of ASE-LMDB files: a file or a folder of `*.aselmdb`, as a sequence of OC20Frame.

    What a row says besides atoms, energy (eV) and forces (eV/angstrom) is in `frame.atoms.info`.
    Raises ValueError, which names file and key, for what is damaged or of another layout.
    """

    suffix = ".aselmdb"

    def keys_of(self, file: Path) -> Sequence[int]:
        """Return the ids that are still there."""
        following = get(file, "nextid")
        if following is None:
            raise ValueError(
                f"{file} has no key 'nextid', so it is no ASE-LMDB file; "
                "OC20's older .lmdb files are read by IS2RE and S2EF."
            )
        deleted = get(file, "deleted_ids")
        gone = set(_json(deleted, f"{file}, key 'deleted_ids'")) if deleted else set()
        end = int(_json(following, f"{file}, key 'nextid'"))
        return [number for number in range(1, end) if number not in gone] if gone else range(1, end)

    def decode(self, data: bytes, where: str) -> OC20Frame:
        """Return the row."""
        row = _json(data, where)
        if not isinstance(row, dict) or not {"numbers", "positions"} <= set(row):
            raise ValueError(f"{where} is no row of atoms: it lacks numbers or positions.")
        info = {**row.get("key_value_pairs", {}), **row.get("data", {})}
        forces = row.get("forces")
        return OC20Frame(
            sid=info.get("sid"),
            fid=info.get("fid"),
            atoms=_atoms(row, info, where),
            energy=None if row.get("energy") is None else float(row["energy"]),
            forces=None if forces is None else np.asarray(forces, dtype=float),
        )


def _json(data: bytes, where: str) -> Any:
    try:
        return ase_decode(zlib.decompress(data).decode("utf-8"))
    except (zlib.error, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{where} is not compressed JSON ({error}); it is damaged.") from error


def _atoms(row: dict[str, Any], info: dict[str, Any], where: str) -> Atoms:
    constraints = row.get("constraints") or []
    if others := sorted({rule["name"] for rule in constraints} - {"FixAtoms"}):
        raise ValueError(f"{where} has the constraint {', '.join(others)}; OC20 has FixAtoms only.")
    return Atoms(
        np.asarray(row["numbers"], dtype=int),
        positions=np.asarray(row["positions"], dtype=float),
        cell=np.asarray(row.get("cell", np.zeros((3, 3))), dtype=float),
        pbc=row.get("pbc", False),
        tags=row.get("tags"),
        constraint=[FixAtoms(indices=rule["kwargs"]["indices"]) for rule in constraints],
        info=info,
    )
