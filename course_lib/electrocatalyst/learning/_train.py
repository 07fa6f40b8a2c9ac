"""The two trainings: initial structure to relaxed energy, and structure to energy and forces.

The loss is the mean absolute error on normalized labels, as the Open Catalyst baselines use it
(arXiv 2010.09990); energies give mean and standard deviation, and forces are divided by that same
deviation, or they would no longer be the gradient of the energy. AdamW, one cycle of the rate.
Graphs are built once and only joined, batch by batch. Inside a process group of torch.distributed
each process takes its share of every batch; see `distributed`.
"""

import math
import time
from collections.abc import Callable, Sequence
from statistics import fmean

import torch
from jaxtyping import Float
from torch import Tensor, nn

from course_lib.electrocatalyst.graphs import Graph, join
from course_lib.electrocatalyst.learning._share import Share
from course_lib.electrocatalyst.models import EnergyModel, energy_and_forces
from course_lib.training import History, Progress


# The part that the graphs numbered `mine` have in the mean loss of the batch `pick`.
Loss = Callable[[nn.Module, list[int], list[int]], Tensor]
OnEpoch = Callable[[int, float], object]


def train_is2re(
    model: EnergyModel,
    graphs: Sequence[Graph],
    energies: Float[Tensor, "systems"],
    *,
    epochs: int = 60,
    batch: int = 32,
    lr: float = 2e-3,
    seed: int = 0,
    on_epoch: OnEpoch | None = None,
    progress: bool = True,
) -> History:
    """Train a model to predict adsorption energies (eV) from initial structures.

    Sets the model's scale, so that it answers in eV afterwards. `seed` orders the batches; the
    weights come with the model. `on_epoch(epoch, loss)` follows each epoch, counted from 1; it may
    score the model, which is put back into training mode. The history holds the loss of each step,
    in standard deviations of the labels. Memory: one batch's activations.
    Raises ValueError for NaN labels, labels without spread, or settings that cannot work;
    FloatingPointError for a loss of NaN.
    """
    device = next(model.parameters()).device
    std = _prepare(model, graphs, energies)
    target = energies.to(device)

    def loss_of(net: nn.Module, mine: list[int], pick: list[int]) -> Tensor:
        found = net(join([graphs[i] for i in mine]).to(device))
        return (found - target[mine]).abs().sum() / (std * len(pick))

    return _descend(model, model, loss_of, len(graphs), epochs, batch, lr, seed, on_epoch, progress)


def train_s2ef(
    model: EnergyModel,
    graphs: Sequence[Graph],
    energies: Float[Tensor, "systems"],
    forces: Sequence[Float[Tensor, "_ 3"]],
    *,
    force_coefficient: float = 30.0,
    epochs: int = 20,
    batch: int = 16,
    lr: float = 1e-3,
    seed: int = 0,
    on_epoch: OnEpoch | None = None,
    progress: bool = True,
) -> History:
    """Train a model to predict energies (eV) and, as their gradient, forces (eV/angstrom).

    `forces` has one tensor per graph. The loss is the energy's error plus `force_coefficient` times
    the mean error of the force components of the free atoms, both over the energies' deviation.
    Everything else, and the errors, as for `train_is2re`.
    """
    device = next(model.parameters()).device
    _check_forces(graphs, forces)
    std = _prepare(model, graphs, energies)
    target = energies.to(device)
    free = [int((~graph.fixed).sum()) for graph in graphs]

    def loss_of(net: nn.Module, mine: list[int], pick: list[int]) -> Tensor:
        joined = join([graphs[i] for i in mine]).to(device)
        found, pull = net(joined)
        wrong = (pull - torch.cat([forces[i] for i in mine]).to(device))[~joined.fixed].abs()
        components = 3 * sum(free[i] for i in pick)
        energy = (found - target[mine]).abs().sum() / len(pick)
        return (energy + force_coefficient * wrong.sum() / max(components, 1)) / std

    net = _WithForces(model)
    return _descend(model, net, loss_of, len(graphs), epochs, batch, lr, seed, on_epoch, progress)


def predict(
    model: EnergyModel, graphs: Sequence[Graph], *, batch: int = 64
) -> Float[Tensor, "systems"]:
    """Return the energy of each graph, eV once the model is trained; on the CPU, in eval mode.

    Keeps nothing for backward and restores the model's mode. ValueError for no graph.
    """
    _check_any(graphs)
    device, was_training = next(model.parameters()).device, model.training
    model.eval()
    with torch.no_grad():
        found = [
            model(join(list(graphs[i : i + batch])).to(device)).cpu()
            for i in range(0, len(graphs), batch)
        ]
    model.train(was_training)
    return torch.cat(found)


def predict_with_forces(
    model: EnergyModel, graphs: Sequence[Graph], *, batch: int = 64
) -> tuple[Float[Tensor, "systems"], Float[Tensor, "atoms 3"]]:
    """Return energies (eV) and the forces of all atoms, one graph after the other (eV/angstrom)."""
    _check_any(graphs)
    device, was_training = next(model.parameters()).device, model.training
    model.eval()
    found = [
        energy_and_forces(model, join(list(graphs[i : i + batch])).to(device))
        for i in range(0, len(graphs), batch)
    ]
    model.train(was_training)
    energies, forces = zip(*found, strict=True)
    return torch.cat(energies).detach().cpu(), torch.cat(forces).detach().cpu()


class _WithForces(nn.Module):
    """Energy and forces from one forward: what DistributedDataParallel can wrap."""

    def __init__(self, model: EnergyModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, graph: Graph) -> tuple[Float[Tensor, "systems"], Float[Tensor, "atoms 3"]]:
        return energy_and_forces(self.model, graph)


def _descend(
    model: EnergyModel,
    net: nn.Module,
    loss_of: Loss,
    count: int,
    epochs: int,
    batch: int,
    lr: float,
    seed: int,
    on_epoch: OnEpoch | None,
    progress: bool,
) -> History:
    """Run the epochs; `net` is what is called and `model`, the same or inside it, what learns."""
    if epochs < 1 or batch < 1:
        raise ValueError(f"epochs is {epochs} and batch is {batch}; both must be at least 1.")
    share = Share.current()
    net = share.wrap(net)
    steps = math.ceil(count / batch)
    descent = torch.optim.AdamW(model.parameters(), lr=lr, fused=True)
    rate = torch.optim.lr_scheduler.OneCycleLR(descent, lr, total_steps=epochs * steps)
    order = torch.Generator().manual_seed(seed)
    history, start = History(), time.perf_counter()
    with Progress(epochs, steps, shown=progress and share.rank == 0) as line:
        for epoch in range(1, epochs + 1):
            model.train()
            for pick in torch.randperm(count, generator=order).split(batch):
                loss = share.loss(loss_of, net, pick.tolist())
                history.loss.append(share.total(loss))
                if not math.isfinite(history.loss[-1]):
                    raise FloatingPointError(
                        f"The loss is {history.loss[-1]} at step {len(history.loss)} of "
                        f"{epochs * steps}; try a lower rate than lr={lr:g}."
                    )
                descent.zero_grad(set_to_none=True)
                (share.world * loss).backward()
                descent.step()
                rate.step()
                line.step(history.loss[-1])
            line.epoch()
            if on_epoch is not None:
                on_epoch(epoch, fmean(history.loss[-steps:]))
    model.eval()
    history.seconds = time.perf_counter() - start
    return history


def _prepare(
    model: EnergyModel, graphs: Sequence[Graph], energies: Float[Tensor, "systems"]
) -> float:
    """Check the labels, set the model's scale by them, return their standard deviation."""
    _check_any(graphs)
    if len(energies) != len(graphs):
        raise ValueError(f"There are {len(graphs)} graphs but {len(energies)} energies.")
    wrong = (~energies.isfinite()).nonzero().flatten().tolist()
    if wrong:
        raise ValueError(
            f"{len(wrong)} of {len(energies)} energies are NaN or infinite, the first is number "
            f"{wrong[0]}; leave these systems out."
        )
    mean, std = float(energies.mean()), float(energies.std(correction=0))
    if std == 0:
        raise ValueError("All energies are equal; there is nothing to learn from them.")
    model.set_scale(mean, std)
    return std


def _check_any(graphs: Sequence[Graph]) -> None:
    if len(graphs) == 0:
        raise ValueError("There are no graphs; give at least one.")


def _check_forces(graphs: Sequence[Graph], forces: Sequence[Float[Tensor, "_ 3"]]) -> None:
    if len(forces) != len(graphs):
        raise ValueError(f"There are {len(graphs)} graphs but forces for {len(forces)}.")
    for number, (graph, pull) in enumerate(zip(graphs, forces, strict=True)):
        if len(pull) != len(graph.numbers):
            raise ValueError(
                f"Graph {number} has {len(graph.numbers)} atoms but {len(pull)} forces."
            )
        if not bool(pull.isfinite().all()):
            raise ValueError(f"The forces of graph {number} hold NaN or infinity; leave it out.")
