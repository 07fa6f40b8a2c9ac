"""The data set that comes with the course; `make_data` made it."""

import lzma
from pathlib import Path

from course_lib._paths import data_dir
from course_lib.electrocatalyst.surfaces._format import parse_frames, parse_samples
from course_lib.electrocatalyst.surfaces._sample import Frame, Sample


SAMPLES = {"emt": "emt.extxyz.xz", "chgnet": "chgnet.extxyz.xz"}
FRAMES = "emt_frames.extxyz.xz"


def read_samples(name: str = "emt", folder: str | Path | None = None) -> list[Sample]:
    """Return the shipped relaxations, labeled by `emt` or by `chgnet`; energies in eV.

    EMT: thousands, H, C, N and O on slabs of one and two metals, from single atoms; they are not
    chemistry. CHGNet: some hundred, H, N, O and OH on fcc(111), by OC20's reference. Samples with
    anomalies are among them. `folder`: where else the files are. Raises ValueError for a name.
    """
    if name not in SAMPLES:
        raise ValueError(f"There are no samples by '{name}'; choose: {', '.join(SAMPLES)}.")
    return parse_samples(_text(SAMPLES[name], folder))


def read_frames(folder: str | Path | None = None) -> list[Frame]:
    """Return steps of some EMT relaxations with energy in eV and forces in eV/angstrom."""
    return parse_frames(_text(FRAMES, folder))


def _text(file: str, folder: str | Path | None) -> str:
    place = data_dir() / "electrocatalyst" if folder is None else Path(folder)
    return lzma.decompress((place / file).read_bytes()).decode()
