"""S2EF's training and validation archives: pairs of xz files; and ASE-LMDB files made from them.

`N.extxyz.xz` holds frames, `N.txt.xz` one line per frame: `random<sid>,frame<fid>,<energy>`. The
energy is that of the clean surface and the gases: less it, the total energy of the frame is the
adsorption energy that OC20's models learn (fairchem's `preprocess_ef.py`, with `--ref-energy`).
"""

import lzma
import os
import re
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

from ase import Atoms
from ase.io import iread
from ase.io.jsonio import encode

from course_lib.electrocatalyst.oc20._records import OC20Frame


_LINE = re.compile(r"random(\d+),frame(\d+),(\S+)")
_BATCH = 1000  # rows written in one transaction


def read_frames(folder: str | Path) -> Iterator[OC20Frame]:
    """Yield the frames of an unpacked S2EF archive in order, without unpacking its xz files.

    Energies are adsorption energies (eV), forces in eV/angstrom. Raises FileNotFoundError where
    there is no pair, ValueError for a pair that does not match or is damaged.
    """
    logs = sorted(Path(folder).rglob("*.txt.xz"), key=lambda log: (len(log.name), str(log)))
    if not logs:
        raise FileNotFoundError(f"{folder} holds no *.txt.xz; give an unpacked S2EF archive.")
    for log in logs:
        frames = log.with_name(log.name.replace(".txt.xz", ".extxyz.xz"))
        if not frames.exists():
            raise FileNotFoundError(f"{log} has no partner {frames.name}; unpack it again.")
        try:
            yield from _pair(log, frames)
        except (lzma.LZMAError, EOFError) as error:
            raise ValueError(f"{frames} or {log.name} is damaged ({error}).") from error


def _pair(log: Path, frames: Path) -> Iterator[OC20Frame]:
    with lzma.open(log, "rt") as lines, lzma.open(frames, "rt") as text:
        read = iread(text, index=":", format="extxyz")  # pyright: ignore[reportArgumentType]
        for number, (line, atoms) in enumerate(zip_longest(lines, read), 1):
            if line is None or atoms is None:
                raise ValueError(f"{frames} and {log.name} do not have the same number of frames.")
            yield _frame(line, atoms, f"{log}, line {number}")


def _frame(line: str, atoms: Atoms, where: str) -> OC20Frame:
    found = _LINE.match(line)
    if not found:
        raise ValueError(f"{where} is {line.strip()!r}; it should be random<sid>,frame<fid>,<eV>.")
    results = atoms.calc.results if atoms.calc else {}
    if not {"energy", "forces"} <= set(results):
        raise ValueError(f"{where}: its frame has no energy or no forces.")
    energy, forces = results["energy"], results["forces"]
    atoms.calc = None
    sid, fid, reference = found.groups()
    return OC20Frame(int(sid), int(fid), atoms, float(energy) - float(reference), forces)


def write_aselmdb(frames: Iterable[OC20Frame], file: str | Path) -> Path:
    """Write frames to a new ASE-LMDB file, which AseLMDB reads in any order; return its path.

    The file appears under its name when it is complete. Raises FileExistsError if there is one.
    """
    import lmdb

    file = Path(file).resolve()
    if file.exists():
        raise FileExistsError(f"{file} exists; choose another name, or delete it first.")
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=file.parent, prefix=f".{file.name}.") as made:
        part = Path(made) / file.name
        env = lmdb.open(str(part), subdir=False, lock=False, map_size=2**41, meminit=False)
        with env:
            count = 0
            rows: list[tuple[bytes, bytes]] = []
            for count, frame in enumerate(frames, 1):
                rows.append((str(count).encode(), _packed(_row(frame))))
                if len(rows) == _BATCH:
                    _put(env, rows)
            _put(env, [*rows, (b"nextid", _packed(count + 1))])
        os.replace(part, file)
    return file


def _put(env: Any, rows: list[tuple[bytes, bytes]]) -> None:
    with env.begin(write=True) as transaction:
        for key, value in rows:
            transaction.put(key, value)
    rows.clear()


def _packed(value: object) -> bytes:
    return zlib.compress(encode(value).encode())


def _row(frame: OC20Frame) -> dict[str, Any]:
    atoms = frame.atoms
    return {
        "numbers": atoms.numbers,
        "positions": atoms.positions,
        "cell": atoms.cell.array,
        "pbc": atoms.pbc,
        "tags": atoms.get_tags(),
        "constraints": [rule.todict() for rule in atoms.constraints],
        "energy": frame.energy,
        "forces": frame.forces,
        "data": {**atoms.info, "sid": frame.sid, "fid": frame.fid},
    }
