"""Train the models that come with the course, and write them with the facts that made them.

    nice python -m course_lib.electrocatalyst.learning.train_checkpoint

Three SchNets that differ in their seed learn adsorption energies from initial structures; one
learns energies and forces from steps of relaxations and from rattled structures. All see the whole
training part of `shipped_splits` and nothing of its test parts. On several GPUs: see `distributed`.
"""

import argparse
import hashlib
import importlib.metadata
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from course_lib._paths import data_dir
from course_lib.electrocatalyst.graphs import graphs
from course_lib.electrocatalyst.learning._experiment import (
    build,
    energies_of,
    graphs_of,
    shipped_frames,
    shipped_splits,
)
from course_lib.electrocatalyst.learning._rattle import rattled
from course_lib.electrocatalyst.learning._share import Share, device_of
from course_lib.electrocatalyst.learning._train import train_is2re, train_s2ef
from course_lib.electrocatalyst.models import save_model
from course_lib.electrocatalyst.surfaces import Frame, Sample


__all__ = ["main", "write_is2re", "write_s2ef"]

SEEDS = (0, 1, 2)
IS2RE_EPOCHS = 60
S2EF_EPOCHS, S2EF_BATCH, S2EF_LR = 12, 8, 2e-3
SAMPLES, FRAMES = "emt.extxyz.xz", "emt_frames.extxyz.xz"  # the data, in data/electrocatalyst


def write_is2re(
    file: Path,
    seed: int = 0,
    *,
    epochs: int = IS2RE_EPOCHS,
    train: int | None = None,
    progress: bool = True,
) -> None:
    """Train a SchNet on the first `train` samples (by default all), and write it atomically.

    In a process group all processes train, and rank 0 writes.
    """
    chosen = shipped_splits().train[:train]
    share = Share.current()
    model = build("schnet", seed).to(device_of(share.rank))
    train_is2re(
        model, graphs_of(chosen), energies_of(chosen), epochs=epochs, seed=seed, progress=progress
    )
    if share.rank == 0:
        about = {"task": "is2re", "systems": len({sample.system for sample in chosen})}
        save_model(file, model.cpu(), about | _facts(chosen, seed, epochs, share, SAMPLES))


def write_s2ef(
    file: Path,
    seed: int = 0,
    *,
    epochs: int = S2EF_EPOCHS,
    train: int | None = None,
    progress: bool = True,
) -> None:
    """Train a SchNet on the frames of training samples and on `rattled` ones; write it atomically.

    `train` limits the samples that are rattled, and the frames. In a process group all processes
    train, and rank 0 writes.
    """
    splits = shipped_splits()
    chosen = shipped_frames(splits)[:train] + rattled(splits.train[:train])
    share = Share.current()
    model = build("schnet", seed).to(device_of(share.rank))
    train_s2ef(
        model,
        graphs(frame.atoms for frame in chosen),
        torch.tensor([frame.energy for frame in chosen], dtype=torch.float32),
        [torch.tensor(frame.forces, dtype=torch.float32) for frame in chosen],
        epochs=epochs,
        batch=S2EF_BATCH,
        lr=S2EF_LR,
        seed=seed,
        progress=progress,
    )
    if share.rank == 0:
        about = {"task": "s2ef", "trajectories": len({frame.sample for frame in chosen})}
        save_model(file, model.cpu(), about | _facts(chosen, seed, epochs, share, FRAMES))


def _facts(
    chosen: Sequence[Sample] | Sequence[Frame], seed: int, epochs: int, share: Share, data: str
) -> dict[str, Any]:
    content = (data_dir() / "electrocatalyst" / data).read_bytes()
    return {
        "script": "python -m course_lib.electrocatalyst.learning.train_checkpoint",
        "seed": seed,
        "epochs": epochs,
        "n": len(chosen),
        "elements": sorted({s for one in chosen for s in one.atoms.get_chemical_symbols()}),
        "processes": share.world,
        "energy": "E_adslab - E_slab, eV",
        "data": data,
        "data_sha256": hashlib.sha256(content).hexdigest(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "ase": importlib.metadata.version("ase"),
    }


def main(arguments: list[str] | None = None) -> None:
    """Train what is asked for; print each file and its size."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--target", type=Path, default=data_dir() / "checkpoints")
    parser.add_argument("--only", choices=("is2re", "s2ef"), help="instead of both")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS, help="of the IS2RE models")
    parser.add_argument("--epochs", type=int, help="of every training")
    parser.add_argument("--train", type=int, help="samples or frames, by default all")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    files = []
    if given.only != "s2ef":
        for seed in given.seeds:
            files.append(given.target / f"electrocatalyst_schnet_seed{seed}.safetensors")
            write_is2re(files[-1], seed, epochs=given.epochs or IS2RE_EPOCHS, train=given.train)
    if given.only != "is2re":
        files.append(given.target / "electrocatalyst_s2ef.safetensors")
        write_s2ef(files[-1], epochs=given.epochs or S2EF_EPOCHS, train=given.train)
    if Share.current().rank == 0:
        for file in files:
            print(f"{file.name}: {file.stat().st_size} bytes")


if __name__ == "__main__":
    main()
