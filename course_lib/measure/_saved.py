"""What autograd keeps for backward, tensor by tensor, with the module that keeps it."""

import gc
import weakref
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from course_lib.measure._format import format_bytes
from course_lib.measure._graph import forward_nodes, hidden_tensors, op_name, tensors_inside
from course_lib.measure._ledger import Ledger
from course_lib.measure._modules import check_callable, kind_of
from course_lib.measure._storages import PARAMETERS, TEMPORARIES, Entry, Extent, plain_tensors


HIDDEN = "kept outside save_for_backward"


@dataclass(frozen=True)
class SavedTensor:
    """One storage kept for backward: who keeps it, its first saved view, and its bytes."""

    module: str  # qualified name inside the root module; "" is the root itself
    kind: str  # class name of that module
    op: str  # the operation that keeps it
    shape: tuple[int, ...]
    dtype: torch.dtype
    nbytes: int


@dataclass(frozen=True)
class SavedReport:
    """All tensors that autograd keeps for backward; each storage once."""

    tensors: tuple[SavedTensor, ...]

    @cached_property
    def total(self) -> int:
        """Bytes kept for backward."""
        return sum(tensor.nbytes for tensor in self.tensors)

    def by_module(self, depth: int | None = None) -> dict[str, int]:
        """Return bytes by module name, in order of first use; `depth` cuts names ("a.b" at 2)."""
        return _add_up((cut(t.module, depth), t.nbytes) for t in self.tensors)

    def by_kind(self) -> dict[str, int]:
        """Return bytes by the class name of the module, largest first."""
        sums = _add_up((t.kind, t.nbytes) for t in self.tensors)
        return dict(sorted(sums.items(), key=lambda item: -item[1]))

    def table(self) -> pd.DataFrame:
        """Return one row per storage: module, kind, op, shape, dtype, bytes."""
        rows = [
            (t.module, t.kind, t.op, t.shape, str(t.dtype).removeprefix("torch."), t.nbytes)
            for t in self.tensors
        ]
        return pd.DataFrame(rows, columns=["module", "kind", "op", "shape", "dtype", "bytes"])

    def __repr__(self) -> str:
        return f"SavedReport({format_bytes(self.total)} in {len(self.tensors)} tensors)"

    def _repr_html_(self) -> str:
        from course_lib.measure._show import bytes_html

        caption = f"Kept for backward: {format_bytes(self.total)} in {len(self.tensors)} tensors"
        return bytes_html(self.by_kind(), caption=caption, header="kind of module")


def cut(name: str, depth: int | None) -> str:
    """Return the first `depth` components of a module's name."""
    if depth is None:
        return name
    if depth < 1:
        raise ValueError(f"depth must be at least 1, got {depth}")
    return ".".join(name.split(".")[:depth])


def _add_up(items: Any) -> dict[str, int]:
    sums: dict[str, int] = {}
    for key, nbytes in items:
        sums[key] = sums.get(key, 0) + nbytes
    return sums


def saved_activations(fn: Callable[[], Any], *, model: nn.Module | None = None) -> SavedReport:
    """Run the forward pass `fn()` and report every tensor kept for backward, in bytes.

    `fn` returns the loss, a tensor, or a structure of tensors; without gradients the report is
    empty. Parameters and buffers of every module that runs (and of `model`) do not count, nor do
    `nn.Parameter`s used without a module. A storage made in `fn` counts whole and once. Of a
    storage from before, only the stretch that is saved counts: eight rows of a data set count as
    eight rows. What an `autograd.Function` hides on `ctx`, or a closure or hook keeps, counts too;
    its op is "kept outside save_for_backward". The outputs count only if autograd saves them.

    Names are those of the largest module that is called, or of `model`. Pass `model` if `fn` calls
    parts of it, as in `model.forward_features(x)`. Raises ValueError if `fn` returns no tensor (its
    graph would be gone) and RuntimeError for code under torch.compile.
    """
    check_callable(fn, "saved_activations")
    with Ledger(model=model, keep_saves=True) as ledger:
        outputs = list(tensors_inside(fn()))
    if not outputs:
        raise ValueError(
            "saved_activations: fn returned no tensor, so its graph is already freed; "
            "return the loss or the output"
        )
    found = _Found(ledger)
    found.add_graph(outputs)
    survivors = found.survivors(outputs)
    if survivors and any(output.requires_grad for output in outputs):
        # What dies with the outputs was held by their graph. If the caller keeps the outputs, the
        # graph lives on, and what survived the forward pass counts as held by it.
        refs = [weakref.ref(output) for output in outputs]
        del outputs
        gc.collect()
        graph_lives = any(ref() is not None for ref in refs)
        for entry, nbytes in survivors:
            if graph_lives or not entry.alive:
                found.add_hidden(entry, nbytes)
    return found.report()


class _Found:
    """Collects kept storages; holds no tensor."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._rows: dict[int, SavedTensor] = {}  # by id of entry; entries live in the ledger
        self._extents: dict[int, Extent] = {}

    def add_graph(self, outputs: list[Tensor]) -> None:
        """Add what autograd keeps, then what hides on custom Functions' ctx."""
        watch = self._ledger.modules
        nodes = forward_nodes(outputs, self._ledger.first_node)
        numbers = list(nodes)
        for ref, module, next_number in self._ledger.saves or ():
            packed = ref()
            if packed is not None:
                i = bisect_left(numbers, next_number) - 1
                self._add(packed.tensor, module, op_name(nodes[numbers[i]]) if i >= 0 else "")
        for number, node in nodes.items():
            for tensor in hidden_tensors(node):
                self._add(tensor, watch.module_of_node(number), HIDDEN)

    def _add(self, tensor: Tensor, module: nn.Module | None, op: str) -> None:
        for plain in plain_tensors(tensor):
            entry = self._ledger.entry(plain)
            if entry.role == PARAMETERS or isinstance(plain, nn.Parameter):
                continue
            extent = self._extents.setdefault(id(entry), Extent()).add(plain)
            row = self._rows.get(id(entry))
            if row is None:
                row = self._row(module, op, tuple(plain.shape), plain.dtype)
            nbytes = plain.untyped_storage().nbytes() if entry.born_inside else extent
            self._rows[id(entry)] = replace(row, nbytes=nbytes)

    def add_hidden(self, entry: Entry, nbytes: int) -> None:
        """Add a storage that is kept by the graph but that no hook saw."""
        row = self._row(entry.module, HIDDEN, entry.shape, entry.dtype)
        self._rows[id(entry)] = replace(row, nbytes=nbytes)

    def survivors(self, outputs: list[Tensor]) -> list[tuple[Entry, int]]:
        """Return storages made in `fn` that are alive, not found yet and no output; with bytes."""
        known = set(self._rows)
        for output in outputs:
            known |= {id(self._ledger.entry(plain)) for plain in plain_tensors(output)}
        found = self._alive_outside(known)
        if found:  # perhaps only waiting for the garbage collector, which is slow to call
            gc.collect()
            found = self._alive_outside(known)
        return found

    def _alive_outside(self, known: set[int]) -> list[tuple[Entry, int]]:
        return [
            (entry, entry.nbytes)
            for entry in list(self._ledger.entries.values())
            if entry.born_inside and entry.role == TEMPORARIES and id(entry) not in known
        ]

    def _row(
        self, module: nn.Module | None, op: str, shape: tuple[int, ...], dtype: torch.dtype
    ) -> SavedTensor:
        name = self._ledger.modules.name(module)
        return SavedTensor(name, kind_of(module), op, shape, dtype, 0)

    def report(self) -> SavedReport:
        return SavedReport(tuple(row for row in self._rows.values() if row.nbytes))
