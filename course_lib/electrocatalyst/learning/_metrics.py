"""The scores of energies and forces, as the Open Catalyst benchmark counts them.

Paper: "The Open Catalyst 2020 (OC20) Dataset and Community Challenges" (arXiv 2010.09990), the
section on evaluation metrics, and the project's published evaluator. Energies in eV, forces in
eV/angstrom. Shares lie in [0, 1]; both limits are strict: an error of exactly 0.02 eV fails.
"""

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn import functional as F


ENERGY_LIMIT = 0.02  # eV
FORCE_LIMIT = 0.03  # eV/angstrom, of each component


def energy_mae(predicted: Float[Tensor, "systems"], target: Float[Tensor, "systems"]) -> float:
    """Return the mean absolute error of energies, eV. ValueError for other lengths, none, NaN."""
    return float(_errors(predicted, target, "energies").mean())


def energy_mse(predicted: Float[Tensor, "systems"], target: Float[Tensor, "systems"]) -> float:
    """Return the mean squared error of energies, eV². Errors as for `energy_mae`."""
    return float(_errors(predicted, target, "energies").square().mean())


def energy_within_threshold(
    predicted: Float[Tensor, "systems"], target: Float[Tensor, "systems"]
) -> float:
    """Return EwT, the share of systems with an error below 0.02 eV. Errors as `energy_mae`."""
    return float((_errors(predicted, target, "energies") < ENERGY_LIMIT).double().mean())


def force_mae(
    predicted: Float[Tensor, "atoms 3"],
    target: Float[Tensor, "atoms 3"],
    free: Bool[Tensor, "atoms"] | None = None,
) -> float:
    """Return the mean absolute error of the force components of free atoms, eV/angstrom.

    `free` chooses the atoms, by default all. ValueError for other shapes, no free atom, NaN.
    """
    return float(_errors(*_chosen(predicted, target, free), "forces").mean())


def force_cosine(
    predicted: Float[Tensor, "atoms 3"],
    target: Float[Tensor, "atoms 3"],
    free: Bool[Tensor, "atoms"] | None = None,
) -> float:
    """Return the mean over free atoms of cos(predicted, target), in [-1, 1].

    An atom whose true or predicted force is 0 counts as 0. Errors as for `force_mae`.
    """
    predicted, target = _chosen(predicted, target, free)
    _errors(predicted, target, "forces")
    return float(F.cosine_similarity(predicted, target).mean())


def force_magnitude_error(
    predicted: Float[Tensor, "atoms 3"],
    target: Float[Tensor, "atoms 3"],
    free: Bool[Tensor, "atoms"] | None = None,
) -> float:
    """Return the mean over free atoms of | |F| - |F'| |, eV/angstrom. Errors as `force_mae`."""
    predicted, target = _chosen(predicted, target, free)
    _errors(predicted, target, "forces")
    return float((predicted.norm(dim=1) - target.norm(dim=1)).abs().mean())


def energy_force_within_threshold(
    predicted_energies: Float[Tensor, "systems"],
    target_energies: Float[Tensor, "systems"],
    predicted_forces: Float[Tensor, "atoms 3"],
    target_forces: Float[Tensor, "atoms 3"],
    system: Int64[Tensor, "atoms"],
    free: Bool[Tensor, "atoms"] | None = None,
) -> float:
    """Return EFwT: the share of systems whose energy and whose every force component is right.

    Right is an energy error below 0.02 eV, and below 0.03 eV/angstrom the largest error of all
    force components of the system's free atoms. `system` says to which system an atom belongs.
    ValueError as for `force_mae`, and for a system without a free atom.
    """
    energy_right = _errors(predicted_energies, target_energies, "energies") < ENERGY_LIMIT
    error = _errors(*_chosen(predicted_forces, target_forces, free), "forces")
    owner = system if free is None else system[free]
    atoms = torch.bincount(owner, minlength=len(energy_right))
    if len(atoms) > len(energy_right) or bool((atoms == 0).any()):
        raise ValueError(
            f"{len(energy_right)} energies need forces of free atoms in each of as many systems; "
            f"the free atoms per system are {atoms.tolist()}."
        )
    largest = torch.zeros_like(energy_right, dtype=error.dtype)
    largest = largest.scatter_reduce(0, owner, error.amax(dim=1), "amax")
    return float((energy_right & (largest < FORCE_LIMIT)).double().mean())


def is2re_scores(
    predicted: Float[Tensor, "systems"], target: Float[Tensor, "systems"]
) -> dict[str, float]:
    """Return the scores of the task "initial structure to relaxed energy": mae, mse, ewt."""
    return {
        "mae": energy_mae(predicted, target),
        "mse": energy_mse(predicted, target),
        "ewt": energy_within_threshold(predicted, target),
    }


def s2ef_scores(
    predicted_energies: Float[Tensor, "systems"],
    target_energies: Float[Tensor, "systems"],
    predicted_forces: Float[Tensor, "atoms 3"],
    target_forces: Float[Tensor, "atoms 3"],
    system: Int64[Tensor, "atoms"],
    free: Bool[Tensor, "atoms"] | None = None,
) -> dict[str, float]:
    """Return the scores of "structure to energy and forces", of free atoms where forces count.

    energy_mae, force_mae with force_x, force_y, force_z, cosine, magnitude, efwt.
    """
    forces = (predicted_forces, target_forces)
    axes = _errors(*_chosen(*forces, free), "forces").mean(dim=0).tolist()
    return {
        "energy_mae": energy_mae(predicted_energies, target_energies),
        "force_mae": force_mae(*forces, free=free),
        **{f"force_{name}": error for name, error in zip("xyz", axes, strict=True)},
        "cosine": force_cosine(*forces, free=free),
        "magnitude": force_magnitude_error(*forces, free=free),
        "efwt": energy_force_within_threshold(
            predicted_energies, target_energies, *forces, system, free
        ),
    }


def _chosen(
    predicted: Tensor, target: Tensor, free: Bool[Tensor, "atoms"] | None
) -> tuple[Tensor, Tensor]:
    if free is None or len(predicted) != len(target):
        return predicted, target
    if len(free) != len(target):
        raise ValueError(f"There are {len(target)} atoms, but {len(free)} marks of free ones.")
    return predicted[free], target[free]


def _errors(predicted: Tensor, target: Tensor, what: str) -> Tensor:
    """Return |predicted - target|, after the checks that all scores share."""
    if predicted.shape != target.shape:
        raise ValueError(
            f"{len(predicted)} predicted {what} cannot be compared with {len(target)}; "
            "give one per target."
        )
    if len(target) == 0:
        raise ValueError(f"There are no {what} to score; give at least one (free atoms count).")
    error = (predicted - target).abs()
    if not bool(error.isfinite().all()):
        raise ValueError(f"Predicted or target {what} hold NaN or infinity; remove them first.")
    return error
