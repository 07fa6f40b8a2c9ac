"""Small structures with EMT labels, and a training that several processes share."""

import os

import numpy as np
import torch
from ase import Atoms
from safetensors.torch import save_file
from torch import Tensor

from course_lib.electrocatalyst.graphs import Graph, graphs
from course_lib.electrocatalyst.learning import build, train_is2re, train_s2ef
from course_lib.electrocatalyst.learning.distributed import main, process_group
from course_lib.electrocatalyst.surfaces import place, potential, sites, slab


METALS = ("Ag", "Cu", "Pt")
TINY = {"hidden": 16, "filters": 16, "interactions": 2, "gaussians": 12}
COUNT, BATCH = 17, 8  # the last batch has one structure: one of two processes gets nothing
TRAIN = 33  # of the shipped samples: again one more than a batch


def made_structures(count: int) -> list[Atoms]:
    """Slabs of two metals with an adsorbate near a site, all different."""
    rng = np.random.default_rng(0)
    found = []
    for number in range(count):
        pair = rng.choice(METALS, 2, replace=False)
        clean = slab((str(pair[0]), str(pair[1])), "100" if number % 2 else "111", seed=number)
        site = str(rng.choice(list(sites(clean))))
        atoms = place(clean, "HCO"[number % 3], site)
        atoms.positions[8:] += rng.normal(scale=0.05, size=(len(atoms) - 8, 3))
        atoms.positions[12:, 2] += 0.3  # away from the steep wall of the potential
        found.append(atoms)
    return found


def labels(
    structures: list[Atoms], dtype: torch.dtype = torch.float32
) -> tuple[list[Graph], Tensor, list[Tensor]]:
    """Graphs, energies (eV) with the adsorbate minus without, forces (eV/angstrom), by EMT."""
    calculator = potential("emt")
    energies = [
        calculator.get_property("energy", atoms)
        - calculator.get_property("energy", atoms[atoms.get_tags() != 2])
        for atoms in structures
    ]
    forces = [calculator.get_property("forces", atoms.copy()) for atoms in structures]
    return (
        graphs(structures, dtype=dtype),
        torch.tensor(energies, dtype=dtype),
        [torch.tensor(pull, dtype=dtype) for pull in forces],
    )


def weights_and_gradients() -> dict[str, Tensor]:
    """Train both tasks for two epochs in float64; return what they end with."""
    built, energies, forces = labels(made_structures(COUNT), torch.float64)
    found = {}
    for task in ("is2re", "s2ef"):
        model = build("schnet", 0, **TINY).double()
        options = {"epochs": 2, "batch": BATCH, "progress": False}
        if task == "is2re":
            history = train_is2re(model, built, energies, **options)
        else:
            history = train_s2ef(model, built, energies, forces, **options)
        found[f"{task} loss"] = torch.tensor(history.loss, dtype=torch.float64)
        for name, weight in model.named_parameters():
            found[f"{task} {name}"] = weight.detach().clone()
            if weight.grad is not None:
                found[f"{task} {name} gradient"] = weight.grad.clone()
    return found


def share_of_training(rank: int, world: int, port: int, folder: str) -> None:
    """One of several processes: trains on made structures, then as the command line does."""
    torch.set_num_threads(1)
    with process_group(rank, world, f"file://{folder}/meet") as share:
        assert (share.rank, share.world) == (rank, world)
        save_file(weights_and_gradients(), f"{folder}/weights.{rank}")
    os.environ |= {  # as torch.distributed.run sets them
        "RANK": str(rank),
        "WORLD_SIZE": str(world),
        "MASTER_ADDR": "localhost",
        "MASTER_PORT": str(port),
    }
    main(
        [
            *["--only", "is2re", "--seeds", "0", "--epochs", "2", "--target"],
            folder,
            "--train",
            str(TRAIN),
        ]
    )
