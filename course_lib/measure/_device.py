"""A device with little memory, pretended: the first allocation past the cap raises."""

import gc
import traceback
from types import TracebackType
from typing import Any

from course_lib.measure._format import MiB, format_bytes
from course_lib.measure._ledger import Ledger, in_backward
from course_lib.measure._modules import kind_of
from course_lib.measure._storages import GRADIENTS, OPTIMIZER, PARAMETERS, SAVED, TEMPORARIES


_HELP = {
    PARAMETERS: "a smaller model, or fewer bits per weight (quantization)",
    GRADIENTS: "train fewer parameters: freeze the lower layers",
    OPTIMIZER: "an optimizer with less state, such as SGD, or fewer trained parameters",
    SAVED: (
        "a smaller batch or resolution, activation checkpointing (lab 01), "
        "or layers that keep less for backward (MobileTL, lab 10)"
    ),
    TEMPORARIES: (
        "a smaller batch or resolution; for inference, run under torch.no_grad() "
        "so that each map is freed after use"
    ),
}


class OutOfBudget(RuntimeError):
    """The virtual device is full: `needed` and `budget` in bytes, `live` as (label, bytes)."""

    def __init__(
        self, message: str, *, needed: int, budget: int, live: list[tuple[str, int]]
    ) -> None:
        super().__init__(message)
        self.needed = needed
        self.budget = budget
        self.live = live


class virtual_device:  # noqa: N801 - used like a function
    """Context manager: live tensor bytes above `memory` (bytes) raise OutOfBudget.

    Counted from its first use inside: every tensor made, all of each module that runs, with its
    gradients, the state of each optimizer that steps, and the stretch of inputs in use. `used` and
    `peak` give bytes. When it raises, all that the failed code held is released; for that, the
    traceback ends at the `with` block, and the message tells where it happened instead.
    Devices may be nested; each counts for itself. Raises RuntimeError under torch.compile.
    """

    def __init__(self, memory: int | float = 256 * MiB, *, name: str = "phone") -> None:
        if isinstance(memory, bool) or not memory > 0:
            raise ValueError(
                f"memory must be a positive number of bytes, got {memory!r}; write memory=256 * MiB"
            )
        self.budget = int(memory)
        self.name = name
        self.peak = 0
        self._ledger: Ledger | None = None

    @property
    def used(self) -> int:
        """Live bytes on the device now; 0 outside the `with` block."""
        return 0 if self._ledger is None else self._ledger.live

    def __enter__(self) -> "virtual_device":
        if self._ledger is not None:
            raise RuntimeError(f"this virtual device ({self.name}) is in use; make a second one")
        self.peak = 0
        self._ledger = Ledger(on_growth=self._check)
        self._ledger.__enter__()
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        ledger, self._ledger = self._ledger, None
        assert ledger is not None
        ledger.__exit__(kind, error, trace)
        ledger.entries.clear()
        if isinstance(error, OutOfBudget):
            # A traceback keeps its frames, and they keep tensors: end it at the `with` block.
            traceback.clear_frames(trace)
            error.__traceback__ = TracebackType(
                None, trace.tb_frame, trace.tb_lasti, trace.tb_lineno
            )
            del ledger, trace
            gc.collect()

    def _check(self, ledger: Ledger) -> None:
        self.peak = max(self.peak, ledger.live)
        if ledger.live > self.budget:
            raise _out_of_budget(ledger, self.budget, self.name)


def _out_of_budget(ledger: Ledger, budget: int, name: str) -> OutOfBudget:
    where = _place(ledger)
    ledger.settle()  # gradients and optimizer state that are new get their role
    needed = ledger.live
    parts = sorted(ledger.by_part().items(), key=lambda item: -item[1])
    labels: dict[str, int] = {}
    for entry in list(ledger.entries.values()):
        label = entry.part
        if label in (SAVED, TEMPORARIES):
            owner = ledger.modules.name(entry.module) or "the root module"
            label = f"{label} of {'.'.join(owner.split('.')[:2])}"
        labels[label] = labels.get(label, 0) + entry.nbytes
    live = sorted(((k, n) for k, n in labels.items() if n), key=lambda item: -item[1])
    message = (
        f"{name}: this needs {needed / MiB:.1f} MiB, the budget is {budget / MiB:.1f} MiB. "
        f"Reached in {where}. "
        f"Live: {_list(parts)}. Largest: {_list(live[:3])}. "
        f"What helps: {_HELP[parts[0][0]]}."
    )
    return OutOfBudget(message, needed=needed, budget=budget, live=live)


def _place(ledger: Ledger) -> str:
    module = ledger.modules.current
    if module is not None:
        return (
            f"the forward pass of {ledger.modules.name(module) or 'the root'} ({kind_of(module)})"
        )
    return "the backward pass" if in_backward() else "code outside modules"


def _list(items: list[tuple[str, int]]) -> str:
    return ", ".join(f"{label} {format_bytes(n)}" for label, n in items if n)
