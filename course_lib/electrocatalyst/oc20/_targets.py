"""From records to what a model learns: graphs, energies and forces."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from course_lib.electrocatalyst.graphs import Graph, graph
from course_lib.electrocatalyst.oc20._records import OC20Frame, OC20Record


@dataclass(frozen=True)
class Scale:
    """Mean and standard deviation of the energies of a training set, in eV."""

    mean: float
    std: float

    def normalized(self, energies: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
        """Return energies (eV) in standard deviations from the mean."""
        return (energies - self.mean) / self.std

    def in_ev(self, values: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
        """Return normalized energies in eV."""
        return values * self.std + self.mean

    def normalized_forces(self, forces: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
        """Return forces (eV/angstrom) over the energies' deviation: still the energy's gradient."""
        return forces / self.std


# Adsorption energies of the training sets, from the configurations published with OC20's baselines.
IS2RE_SCALE = Scale(-1.525913953781128, 2.279365062713623)
S2EF_SCALE = Scale(-0.7554450631141663, 2.887317180633545)


class Graphs(Sequence[Graph]):
    """The graphs of records, each built when it is asked for: data of any size, nothing kept.

    `train_is2re` and `train_s2ef` take it for a list of graphs. OC20's baselines use 6 angstrom
    and the 50 nearest neighbors.
    """

    def __init__(
        self,
        records: Sequence[OC20Record] | Sequence[OC20Frame],
        cutoff: float = 6.0,
        max_neighbors: int | None = 50,
    ) -> None:
        """Take the records; `cutoff` in angstrom."""
        self.records, self.cutoff, self.max_neighbors = records, cutoff, max_neighbors

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int | slice) -> Graph | list[Graph]:  # pyright: ignore[reportIncompatibleMethodOverride]
        if isinstance(index, slice):
            return [graph(r.atoms, self.cutoff, self.max_neighbors) for r in self.records[index]]
        return graph(self.records[index].atoms, self.cutoff, self.max_neighbors)


def energies(
    records: Sequence[OC20Record] | Sequence[OC20Frame],
) -> Float[Tensor, "systems"]:
    """Return what is to be predicted, in eV: relaxed energies of IS2RE, energies of frames of S2EF.

    Raises ValueError where a label is hidden (test splits) or not finite.
    """
    values = [r.y_relaxed if isinstance(r, OC20Record) else r.energy for r in records]
    for index, value in enumerate(values):
        if value is None or not math.isfinite(value):
            raise ValueError(
                f"Record {index} has no energy ({value}); the test splits hide their labels: "
                "train on a train split, score on a validation split."
            )
    return torch.tensor(values)


def forces(frames: Sequence[OC20Frame]) -> list[Float[Tensor, "_ 3"]]:
    """Return the forces of each frame, eV/angstrom; ValueError where they are hidden."""
    found = []
    for index, frame in enumerate(frames):
        if frame.forces is None:
            raise ValueError(f"Frame {index} has no forces; the test splits hide their labels.")
        found.append(torch.tensor(frame.forces, dtype=torch.float32))
    return found
