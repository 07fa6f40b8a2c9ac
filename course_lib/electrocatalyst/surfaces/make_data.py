"""Make the data set of the electrocatalyst lab.

    nice python -m course_lib.electrocatalyst.surfaces.make_data --folder runs --workers 2

Thousands of EMT relaxations, steps of some of them, and a hundred-odd CHGNet relaxations. Finished
runs stay in `--folder`, so a second call runs only what is missing, also with more `--samples`.
Written are three files of extended XYZ and `made.toml`: seeds, settings, versions.
"""

import argparse
import importlib.metadata
import itertools
import lzma
import platform
import tomllib
from pathlib import Path
from typing import Any

from course_lib._files import write_bytes
from course_lib._paths import cache_dir, data_dir
from course_lib.electrocatalyst.surfaces._experiments import (
    SEED,
    SPREAD,
    chgnet_samples,
    emt_samples,
)
from course_lib.electrocatalyst.surfaces._shipped import FRAMES, SAMPLES
from course_lib.electrocatalyst.surfaces._slab import METALS
from course_lib.sweep import Sweep, grid, sweep


__all__ = ["chgnet_plan", "emt_plan", "record"]

FACETS = ("111", "100")
SHARES = (0.25, 0.5, 0.75)  # of the second metal
ON_ONE_METAL, ON_TWO_METALS = 16, 8  # samples per slab
SAMPLES_AT_LEAST = 3200
CHGNET_METALS = ("Cu", "Ag", "Au", "Pd", "Pt", "Rh", "Ir", "Ni", "Al")
CHGNET_ADSORBATES = ("H", "O", "N", "OH")
PACKAGES = {"emt": ("ase", "numpy"), "chgnet": ("ase", "numpy", "chgnet", "torch")}


def emt_plan(samples: int = SAMPLES_AT_LEAST) -> list[dict[str, Any]]:
    """Return the settings of the EMT runs, one per clean slab, for at least `samples` samples.

    First all slabs of one metal; then the pairs of metals in rounds, each with another
    arrangement. A longer plan begins with the shorter one. Every other slab keeps frames.
    """
    slabs: list[dict[str, Any]] = [
        {"metals": [metal], "facet": facet, "repeat": 0, "share": 0.5, "samples": ON_ONE_METAL}
        for metal, facet in itertools.product(METALS, FACETS)
    ]
    pairs = list(itertools.product(itertools.combinations(METALS, 2), FACETS))
    left = samples - ON_ONE_METAL * len(slabs)
    for repeat in range(-(-max(left, 0) // (ON_TWO_METALS * len(pairs)))):
        share = SHARES[repeat % len(SHARES)]
        slabs += [
            {"metals": list(pair), "facet": facet, "repeat": repeat, "share": share}
            | {"samples": ON_TWO_METALS}
            for pair, facet in pairs
        ]
    return [
        one | {"kept": number // 2 % one["samples"] if number % 2 else -1}
        for number, one in enumerate(slabs)
    ]


def chgnet_plan() -> list[dict[str, Any]]:
    """Return the settings of the CHGNet runs, one per metal and adsorbate."""
    return grid(metal=CHGNET_METALS, adsorbate=CHGNET_ADSORBATES)


def record(
    name: str, settings: list[dict[str, Any]], target: Path, *, folder: Path, workers: int = 1
) -> None:
    """Run what is missing in `folder`; write the samples by `name`, and for `emt` the frames.

    `target` gets the files, and `made.toml` what made them. Raises RuntimeError when a run failed.
    """
    experiment = {"emt": emt_samples, "chgnet": chgnet_samples}[name]
    found = _complete(sweep(experiment, settings, folder=folder, workers=workers))
    write_bytes(target / SAMPLES[name], _packed(found.table["sample"]))
    about: dict[str, Any] = {"slabs": len(settings), "samples": len(found.table)}
    if name == "emt":
        frames = [text for texts in found.table["frames"] for text in texts]
        write_bytes(target / FRAMES, _packed(frames))
        about |= {"frames": len(frames), "seed": SEED, "spread_angstrom": SPREAD}
    else:
        about["slabs"] = len({setting["metal"] for setting in settings})
    about |= {"python": platform.python_version()}
    about |= {package: importlib.metadata.version(package) for package in PACKAGES[name]}
    _note(target / "made.toml", name, about)


def _complete(found: Sweep) -> Sweep:
    if len(found.failed):
        raise RuntimeError(
            f"{len(found.failed)} runs failed; the first says: {found.failed['error'].iloc[0]} "
            "Run the same command again to repeat them."
        )
    return found


def _packed(texts: Any) -> bytes:
    return lzma.compress("".join(texts).encode(), preset=9 | lzma.PRESET_EXTREME)


def _note(file: Path, name: str, about: dict[str, Any]) -> None:
    """Write the section `name` of the notes, and leave the other sections as they are."""
    notes = tomllib.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    notes |= {"script": "python -m course_lib.electrocatalyst.surfaces.make_data", name: about}
    lines = [f'script = "{notes.pop("script")}"']
    for section, values in sorted(notes.items()):
        lines += ["", f"[{section}]"]
        lines += [
            f'{key} = "{value}"' if isinstance(value, str) else f"{key} = {value}"
            for key, value in values.items()
        ]
    write_bytes(file, ("\n".join(lines) + "\n").encode())


def main(arguments: list[str] | None = None) -> None:
    """Make what is asked for, and print the sizes of the files."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--folder", type=Path, default=cache_dir() / "electrocatalyst")
    parser.add_argument("--target", type=Path, default=data_dir() / "electrocatalyst")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--samples", type=int, default=SAMPLES_AT_LEAST, help="by EMT, at least")
    parser.add_argument("--only", choices=("emt", "chgnet"), help="instead of both")
    given = parser.parse_args(arguments)
    plans = {"emt": emt_plan(given.samples), "chgnet": chgnet_plan()}
    for name, settings in plans.items():
        if given.only in (None, name):
            record(name, settings, given.target, folder=given.folder, workers=given.workers)
    for file in sorted(given.target.glob("*.xz")):
        print(f"{file.name}: {file.stat().st_size} bytes")


if __name__ == "__main__":
    main()
