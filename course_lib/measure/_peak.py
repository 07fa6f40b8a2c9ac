"""The peak of live tensor bytes, and what it is made of."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from course_lib.measure._format import format_bytes
from course_lib.measure._ledger import Ledger
from course_lib.measure._modules import check_callable
from course_lib.measure._storages import PARTS, SAVED, TEMPORARIES, Entry


@dataclass(frozen=True)
class PeakReport:
    """Peak live bytes, their parts at that moment, and the live bytes over time."""

    total: int
    parts: dict[str, int]
    timeline: list[int]

    def __repr__(self) -> str:
        parts = ", ".join(f"{name} {format_bytes(n)}" for name, n in self.parts.items())
        return f"PeakReport({format_bytes(self.total)}: {parts})"

    def _repr_html_(self) -> str:
        from course_lib.measure._show import bytes_html

        caption = f"Peak memory: {format_bytes(self.total)}"
        return bytes_html(self.parts, caption=caption, header="part, at the peak")


def peak_memory(
    fn: Callable[[], Any],
    *,
    model: nn.Module | None = None,
    optimizer: torch.optim.Optimizer | None = None,
) -> PeakReport:
    """Run `fn()`, often one training step, and report the peak of live tensor bytes.

    What was alive before and takes part counts from the start: all of each module that runs (and
    `model`), its gradients, the state of each optimizer that steps (and `optimizer`), and inputs.
    The five parts are bytes at the peak and sum to `total`:

    * parameters: with buffers;
    * gradients: those that end in a parameter's `.grad`, also while they are computed;
    * optimizer state: also while the first step makes it;
    * saved activations: what autograd's hooks hold at that moment, inputs included;
    * temporaries: all else, such as an operation's result, and inputs that nobody saves.

    Of an input's storage only the stretch in use counts. A kernel's workspace and the allocator's
    rounding do not count, but for one: on a CPU, oneDNN's backward of a convolution holds a second
    copy of the weight's gradient (a temporary). Scratch memory of a kernel with a large window,
    such as a ViT's patch embedding, stays out. Raises RuntimeError under torch.compile.
    """
    check_callable(fn, "peak_memory")
    with Ledger(model=model, optimizer=optimizer, keep_events=True) as ledger:
        fn()
        ledger.settle()
    return _replay(ledger.events or [])


def _replay(events: list[tuple[Entry, int, int]]) -> PeakReport:
    """Replay the events with what was there before counted from the start."""
    before: dict[int, tuple[Entry, int]] = {}
    for entry, nbytes, _ in events:
        if not entry.born_inside:
            known = before.get(id(entry), (entry, 0))[1]
            before[id(entry)] = (entry, max(known, nbytes))
    live = {key: nbytes for key, (_, nbytes) in before.items()}
    total = sum(live.values())
    timeline, peak_at = [total], 0
    for entry, nbytes, _ in events:
        change = _bytes_now(entry, nbytes, live) - live.get(id(entry), 0)
        live[id(entry)] = live.get(id(entry), 0) + change
        total += change
        timeline.append(total)
        if total > timeline[peak_at]:
            peak_at = len(timeline) - 1
    parts: dict[str, int] = dict.fromkeys(PARTS, 0)
    at_peak = {key: (entry, nbytes, 0) for key, (entry, nbytes) in before.items()}
    live = {key: nbytes for key, (_, nbytes) in before.items()}
    for entry, nbytes, saved in events[:peak_at]:
        live[id(entry)] = _bytes_now(entry, nbytes, live)
        at_peak[id(entry)] = (entry, live[id(entry)], saved)
    for entry, nbytes, saved in at_peak.values():
        parts[SAVED if saved and entry.role == TEMPORARIES else entry.role] += nbytes
    return PeakReport(timeline[peak_at], parts, timeline)


def _bytes_now(entry: Entry, nbytes: int, live: dict[int, int]) -> int:
    """Bytes after an event: a storage from before stays whole until it is freed."""
    return nbytes if entry.born_inside or nbytes == 0 else live[id(entry)]
