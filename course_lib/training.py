"""One plain training loop for every lab: epochs, a progress line, seeds, a history.

Classification only: inputs of any shape, one integer label each, cross-entropy. Loops of another
kind share `Progress`.
"""

import math
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy
import torch
import torch.nn.functional as F
from jaxtyping import Int64
from torch import Tensor, nn
from torch.utils.data import DataLoader

from course_lib._frontend import is_watched


__all__ = ["History", "Progress", "evaluate", "fit", "one_step", "seed_everything"]

Data = tuple[Tensor, Tensor] | DataLoader
OPTIMIZERS = ("adam", "adamw", "sgd")
SCHEDULES = ("constant", "cosine")
FORECAST_AFTER = 5  # steps after which the first loss and the remaining time are printed
FORECAST_FROM = 10.0  # seconds; shorter trainings need no forecast
LINES = 10  # at most so many, where output goes to a file


@dataclass
class History:
    """What a training left behind: loss per step, accuracy per epoch, time in seconds."""

    loss: list[float] = field(default_factory=list)
    val_accuracy: list[float] = field(default_factory=list)
    seconds: float = 0.0


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and torch (all devices), so that the same run gives the same numbers."""
    random.seed(seed)
    numpy.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def fit(
    model: nn.Module,
    train: Data,
    *,
    val: Data | None = None,
    epochs: int,
    batch_size: int = 8,
    lr: float | int = 1e-3,
    optimizer: str = "adam",
    schedule: str = "cosine",
    label_smoothing: float | int = 0.0,
    seed: int = 0,
    progress: bool = True,
    on_step: Callable[[int, float], None] | None = None,
) -> History:
    """Train the parameters of `model` that require gradients; return the history.

    Data: a pair `(inputs (n, ...), labels (n,))`, reshuffled each epoch, or a DataLoader of such
    pairs (`batch_size` then does not apply). A last batch of one sample is left out: batch norm
    cannot train on it. Batches move to the device of the model.
    `on_step(step, loss)` runs after each step; steps count from 0. `lr` is the rate of the first
    step; "cosine" lowers it towards 0, "constant" keeps it. "sgd" has momentum 0.9.
    The mode is set by the model's own `train()` before each epoch; at the end it is `eval()`.
    The random state of the caller is left as it was.
    Memory: between forward and backward, what autograd keeps of one batch.
    Raises ValueError for data or settings that cannot work, FloatingPointError for a loss of
    NaN or infinity.
    """
    if epochs < 1:
        raise ValueError(f"epochs is {epochs}; train for at least 1.")
    weights = [p for p in model.parameters() if p.requires_grad]
    if not weights:
        raise ValueError(
            "No parameter of the model requires a gradient, so nothing can be trained. "
            "Call requires_grad_(True) on the part that should learn."
        )
    _check_data(train, "train", batch_size)
    if val is not None:
        _check_data(val, "val", batch_size)
    device = weights[0].device
    steps = _steps_per_epoch(train, batch_size)
    descent = _optimizer(optimizer, weights, lr)
    rate = _schedule(schedule, descent, epochs * steps)
    loss_of = nn.CrossEntropyLoss(label_smoothing=label_smoothing)
    history, start = History(), time.perf_counter()
    with (
        torch.random.fork_rng(devices=[device] if device.type == "cuda" else []),
        Progress(epochs, steps, shown=progress) as line,
    ):
        torch.manual_seed(seed)
        for _ in range(epochs):
            model.train()
            for inputs, labels in _batches(train, batch_size, shuffle=True):
                inputs, labels = inputs.to(device), labels.to(device)
                logits = model(inputs)
                _check_labels(labels, logits)
                loss = loss_of(logits, labels)
                value = loss.item()
                if not math.isfinite(value):
                    raise FloatingPointError(
                        _diverged(value, len(history.loss), epochs * steps, descent, inputs)
                    )
                descent.zero_grad(set_to_none=True)
                loss.backward()
                descent.step()
                rate.step()
                history.loss.append(value)
                line.step(value)
                if on_step is not None:
                    on_step(len(history.loss) - 1, value)
            notes = []
            if val is not None:
                history.val_accuracy.append(evaluate(model, val))
                notes.append(f"accuracy {100 * history.val_accuracy[-1]:.1f} %")
            line.epoch(*notes)
    model.eval()
    history.seconds = time.perf_counter() - start
    return history


def one_step(
    model: nn.Module, inputs: Tensor, labels: Int64[Tensor, "batch"], *, lr: float | int = 1e-4
) -> Callable[[], None]:
    """Return a function that takes one training step (Adam), always on this batch.

    For `measure.compare` and `measure.peak_memory`. The model is put into training mode.
    """
    model.train()
    descent = _optimizer("adam", [p for p in model.parameters() if p.requires_grad], lr)

    def step() -> None:
        F.cross_entropy(model(inputs), labels).backward()
        descent.step()
        descent.zero_grad()

    return step


def evaluate(model: nn.Module, data: Data, batch_size: int = 64) -> float:
    """Return the accuracy of `model` on `data`, in [0, 1], in eval mode; restore the mode.

    Keeps nothing for backward.
    """
    _check_data(data, "data", batch_size)
    first = next(model.parameters(), None)
    device = torch.device("cpu") if first is None else first.device
    was_training, right, seen = model.training, 0, 0
    model.eval()
    with torch.no_grad():
        for inputs, labels in _batches(data, batch_size, shuffle=False):
            logits = model(inputs.to(device))
            right += int((logits.argmax(dim=1).cpu() == labels.cpu()).sum())
            seen += len(labels)
    model.train(was_training)
    return right / seen


def _check_data(data: Data, name: str, batch_size: int) -> None:
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; take at least 1.")
    if isinstance(data, DataLoader):
        if len(data) == 0:
            raise ValueError(f"The DataLoader {name} is empty.")
        return
    inputs, labels = data
    if len(inputs) != len(labels):
        raise ValueError(f"{name} has {len(inputs)} inputs but {len(labels)} labels.")
    if len(inputs) == 0:
        raise ValueError(f"{name} is empty: give at least one input with its label.")
    if inputs.dtype == torch.uint8:
        raise ValueError(
            f"The inputs of {name} are uint8 pictures. "
            "Turn them into floats first: course_lib.assets.to_input(images)."
        )
    _as_labels(labels)


def _as_labels(labels: Tensor) -> Int64[Tensor, "batch"]:
    if labels.ndim != 1 or labels.is_floating_point() or labels.dtype == torch.bool:
        raise ValueError(
            f"Labels are class numbers: one integer per input. "
            f"Here they have the shape {tuple(labels.shape)} and the type {labels.dtype}."
        )
    return labels.long()


def _check_labels(labels: Int64[Tensor, "batch"], logits: Tensor) -> None:
    if logits.ndim != 2:
        raise ValueError(
            f"The model returns the shape {tuple(logits.shape)}; "
            "a classifier returns (batch, classes)."
        )
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= logits.shape[1]:
        raise ValueError(
            f"The labels reach from {low} to {high}, but the model has {logits.shape[1]} outputs: "
            f"labels must lie in 0 to {logits.shape[1] - 1}. "
            "Give the classifier one output per class."
        )


def _steps_per_epoch(data: Data, batch_size: int) -> int:
    if isinstance(data, DataLoader):
        return len(data)
    full, rest = divmod(len(data[0]), batch_size)
    return full + (rest > 1 or (rest == 1 and full == 0))


def _batches(data: Data, batch_size: int, *, shuffle: bool) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield `(inputs, labels)`; the inputs are copies, not views of the data set."""
    if isinstance(data, DataLoader):
        for inputs, labels in data:
            yield inputs, _as_labels(labels)
        return
    inputs, labels = data
    order = torch.randperm(len(inputs)) if shuffle else torch.arange(len(inputs))
    picks = list(order.split(batch_size))
    if shuffle:
        picks = picks[: _steps_per_epoch(data, batch_size)]
    for pick in picks:
        pick = pick.to(inputs.device)
        yield inputs[pick], _as_labels(labels[pick.to(labels.device)])


def _optimizer(name: str, weights: list[nn.Parameter], lr: float | int) -> torch.optim.Optimizer:
    if name == "adam":
        return torch.optim.Adam(weights, lr=lr, fused=True)  # one pass over memory
    if name == "adamw":
        return torch.optim.AdamW(weights, lr=lr, fused=True)
    if name == "sgd":
        return torch.optim.SGD(weights, lr=lr, momentum=0.9)
    raise ValueError(f"optimizer is '{name}'; choose one of: {', '.join(OPTIMIZERS)}.")


def _schedule(
    name: str, descent: torch.optim.Optimizer, steps: int
) -> torch.optim.lr_scheduler.LambdaLR:
    if name not in SCHEDULES:
        raise ValueError(f"schedule is '{name}'; choose one of: {', '.join(SCHEDULES)}.")

    def factor(step: int) -> float:
        return 1.0 if name == "constant" else 0.5 * (1 + math.cos(math.pi * step / steps))

    return torch.optim.lr_scheduler.LambdaLR(descent, factor)


def _diverged(
    value: float, step: int, steps: int, descent: torch.optim.Optimizer, inputs: Tensor
) -> str:
    lr = descent.param_groups[0]["lr"]
    head = f"The loss is {value} at step {step} of {steps}, with lr={lr:.3g}."
    if inputs.is_floating_point() and not bool(inputs.isfinite().all()):
        return f"{head} The inputs of this batch hold NaN or infinity: clean the data first."
    return f"{head} Try a rate ten times smaller: lr={lr / 10:.3g}."


class Progress:
    """A bar where a person watches; plain lines where output goes to a file, ten at most."""

    def __init__(self, epochs: int, steps: int, *, shown: bool) -> None:
        """Expect `steps` in each of `epochs`; say nothing unless `shown`."""
        self.epochs, self.steps = epochs, steps
        self.done, self.recent, self.sum = 0, 0.0, 0.0
        self.start = time.perf_counter()
        live = is_watched()
        self.plain = shown and not live
        self.bar = None
        if shown and live:
            from tqdm.auto import tqdm

            self.bar = tqdm(total=epochs * steps, unit="step", leave=True)

    def __enter__(self) -> "Progress":
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the bar."""
        if self.bar is not None:
            self.bar.close()

    def step(self, loss: float) -> None:
        """Count one step."""
        self.done += 1
        self.sum += loss
        self.recent = loss if self.done == 1 else 0.9 * self.recent + 0.1 * loss
        if self.bar is not None:
            self.bar.update()
            self.bar.set_postfix_str(f"loss {self.recent:.3f}", refresh=False)
        elif self.plain and self.done == FORECAST_AFTER:
            left = (time.perf_counter() - self.start) / self.done * (self._total() - self.done)
            if left > FORECAST_FROM:
                print(f"step {self.done} of {self._total()}: loss {loss:.3f}, {left:.0f} s to go")

    def epoch(self, *notes: str) -> None:
        """End an epoch: say its mean loss and `notes`, such as "accuracy 91.2 %"."""
        number = self.done // self.steps
        said = ", ".join([f"loss {self.sum / self.steps:.3f}", *notes])
        self.sum = 0.0
        if self.bar is not None:
            self.bar.set_description_str(f"epoch {number}/{self.epochs}, {said}")
        elif self.plain and self._speaks(number):
            seconds = time.perf_counter() - self.start
            print(f"epoch {number}/{self.epochs}: {said}, {seconds:.1f} s", flush=True)

    def _speaks(self, number: int) -> bool:
        return number * LINES // self.epochs > (number - 1) * LINES // self.epochs

    def _total(self) -> int:
        return self.epochs * self.steps
