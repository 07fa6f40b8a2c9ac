"""One account of live tensor storages, shared by all memory meters.

A dispatch mode sees the result of each operation; a weak reference to each storage tells when it
is freed. What counts:

* A storage made inside counts whole, once, however many tensors view it.
* A storage that existed before counts only the stretch that operations inside really use: eight
  rows of a large data set count as eight rows. Parameters, buffers, gradients and optimizer state
  count whole.
* Buffers inside one kernel (an operation's own workspace) are not tensors and do not count, but
  for the one in `_workspace.py`.
"""

import weakref
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn
from torch._C._autograd import _get_sequence_nr
from torch.nn.parameter import is_lazy
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from course_lib.measure._modules import ModuleWatch, refuse_compiled
from course_lib.measure._storages import (
    GRADIENTS,
    OPTIMIZER,
    PARAMETERS,
    PARTS,
    TEMPORARIES,
    Entry,
    plain_tensors,
)
from course_lib.measure._workspace import kernel_workspace


_active: list["Ledger"] = []

_PICKS = {torch.ops.aten.index, torch.ops.aten.index_select, torch.ops.aten.gather}


class Packed:
    """What autograd holds in place of a tensor: the tensor, and a note for the open ledgers."""

    __slots__ = ("__weakref__", "entries", "tensor", "version")

    def __init__(self, tensor: Tensor) -> None:
        self.entries: list[tuple[Ledger, Entry]] = []
        # A saved result points to its node, which would hold this object: a cycle that never dies.
        self.tensor = tensor if tensor.grad_fn is None else tensor.detach()
        self.version = tensor._version
        for ledger in _active:
            ledger.saving(self)

    def __del__(self) -> None:
        for ledger, entry in self.entries:
            ledger.released(entry)


def _unpack(packed: Packed) -> Tensor:
    if packed.tensor._version != packed.version:
        raise RuntimeError(
            "a tensor that is needed for backward was changed in place after the forward pass; "
            "replace the in-place operation (such as `x += y`) by one that makes a new tensor"
        )
    return packed.tensor


class Ledger(TorchDispatchMode):
    """Keeps the account while it is entered.

    `live` is the sum now. `events` (if kept) lists (entry, bytes, saved count) after each change;
    `saves` (if kept) lists (weak reference to Packed, module, number of autograd's node + 1).
    `on_growth(ledger)` is called after each growth, and may raise.
    """

    def __init__(
        self,
        *,
        model: nn.Module | None = None,
        optimizer: torch.optim.Optimizer | None = None,
        keep_events: bool = False,
        keep_saves: bool = False,
        on_growth: Callable[["Ledger"], None] | None = None,
    ) -> None:
        super().__init__()
        self.modules = ModuleWatch(model, self._root_runs)
        self.entries: dict[int, Entry] = {}
        self.live = 0
        self.events: list[tuple[Entry, int, int]] | None = [] if keep_events else None
        self.saves: list[tuple[weakref.ref, nn.Module | None, int]] | None = (
            [] if keep_saves else None
        )
        self._on_growth = on_growth
        self._optimizers = [] if optimizer is None else [optimizer]
        self._grad_hooks: dict[int, Any] = {}
        self._known_roots: set[int] = set()

    # ---- entering and leaving -------------------------------------------------------------

    def __enter__(self) -> "Ledger":
        self._stack = ExitStack()
        self.first_node = _get_sequence_nr()
        with ExitStack() as stack:
            stack.callback(self._close)
            _active.append(self)
            stack.enter_context(self.modules)
            for optimizer in self._optimizers:
                self._add_optimizer(optimizer)
            for register in (register_optimizer_step_pre_hook, register_optimizer_step_post_hook):
                stack.callback(register(self._optimizer_steps).remove)
            stack.enter_context(torch.autograd.graph.saved_tensors_hooks(Packed, _unpack))
            super().__enter__()
            stack.push(super().__exit__)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc: Any) -> None:
        self._stack.__exit__(*exc)

    def _close(self) -> None:
        _active.remove(self)
        for handle in self._grad_hooks.values():
            handle.remove()
        self._grad_hooks.clear()

    # ---- what happens inside ---------------------------------------------------------------

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if not in_backward():
            refuse_compiled()
        out = func(*args, **kwargs)
        before = self.live
        reads = not _is_view(func)
        inside = func is torch.ops.aten.lift_fresh.default
        for i, tensor in enumerate(_tensors((args, kwargs))):
            # Picking rows by index reads only the rows that the result holds.
            picked = i == 0 and func._overloadpacket in _PICKS
            self._see(tensor, born_inside=inside, uses=reads and not picked)
        for tensor in _tensors(out):
            self._see(tensor, born_inside=True, uses=False)
        self._grown(self.live - before)
        if self.events is not None and (workspace := kernel_workspace(func, args, out)):
            passing = Entry(None, out[1], True, self.modules.current)
            self.events += [(passing, workspace, 0), (passing, 0, 0)]
        return out

    def _see(self, tensor: Tensor, *, born_inside: bool, uses: bool) -> None:
        for plain in plain_tensors(tensor):
            entry = self.entry(plain, born_inside=born_inside)
            if isinstance(plain, nn.Parameter) and entry.role == TEMPORARIES:
                self._add_parameter(plain)
            elif entry.born_inside or entry.role != TEMPORARIES:
                self._set(entry, plain.untyped_storage().nbytes())
            elif uses:
                self._set(entry, entry.used.add(plain))

    def entry(self, tensor: Tensor, *, born_inside: bool = False) -> Entry:
        """Return the entry of the tensor's storage, made now if it is new."""
        storage = tensor.untyped_storage()
        key = storage._cdata
        entry = self.entries.get(key)
        if entry is None or entry.ref is None or entry.ref() is not storage:
            ref = weakref.ref(storage, lambda dead, key=key: self._freed(key, dead))
            entry = Entry(ref, tensor, born_inside, self.modules.current)
            self.entries[key] = entry
        return entry

    def _grown(self, step: int) -> None:
        if self._on_growth is not None and step > 0:
            self._on_growth(self)

    def _freed(self, key: int, dead: weakref.ref) -> None:
        entry = self.entries.get(key)
        if entry is not None and entry.ref is dead:
            del self.entries[key]
            self._set(entry, 0)

    def _set(self, entry: Entry, nbytes: int) -> None:
        if nbytes != entry.nbytes:
            self.live += nbytes - entry.nbytes
            entry.nbytes = nbytes
            self._log(entry)

    def _log(self, entry: Entry) -> None:
        if self.events is not None:
            self.events.append((entry, entry.nbytes, entry.saved))

    # ---- what autograd keeps ----------------------------------------------------------------

    def saving(self, packed: Packed) -> None:
        """Note that autograd keeps a tensor for backward."""
        for plain in plain_tensors(packed.tensor):
            self._see(plain, born_inside=False, uses=True)
            entry = self.entry(plain)
            entry.saved += 1
            packed.entries.append((self, entry))
            self._log(entry)
        if self.saves is not None:
            self.saves.append((weakref.ref(packed), self.modules.current, _get_sequence_nr()))

    def released(self, entry: Entry) -> None:
        """Note that autograd let go of a tensor of this entry."""
        entry.saved -= 1
        self._log(entry)

    # ---- roles ------------------------------------------------------------------------------

    def _root_runs(self, module: nn.Module) -> None:
        if id(module) not in self._known_roots:
            self._known_roots.add(id(module))
            self._add_model(module)

    def _optimizer_steps(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        if all(optimizer is not known for known in self._optimizers):
            self._optimizers.append(optimizer)
        self._add_optimizer(optimizer)

    def settle(self) -> None:
        """Look once more for buffers, gradients and optimizer state that are new; never raises."""
        on_growth, self._on_growth = self._on_growth, None
        for root in self.modules.roots:
            self._add_model(root)
        for optimizer in self._optimizers:
            self._add_optimizer(optimizer)
        self._on_growth = on_growth

    def _add_model(self, module: nn.Module) -> None:
        """Count the parameters, their gradients, and the buffers of `module`."""
        for parameter in module.parameters():
            if not is_lazy(parameter):
                self._add_parameter(parameter)
        for buffer in module.buffers():
            if not is_lazy(buffer):
                self._mark(buffer, PARAMETERS)

    def _add_parameter(self, parameter: Tensor) -> None:
        """Count a parameter and its gradient, now and when it gets one."""
        self._mark(parameter, PARAMETERS)
        self._mark_gradient(parameter)
        if parameter.requires_grad and parameter.is_leaf and id(parameter) not in self._grad_hooks:
            hook = parameter.register_post_accumulate_grad_hook(self._mark_gradient)
            self._grad_hooks[id(parameter)] = hook

    def _mark_gradient(self, parameter: Tensor) -> None:
        if parameter.grad is not None:
            self._mark(parameter.grad, GRADIENTS)

    def _add_optimizer(self, optimizer: torch.optim.Optimizer) -> None:
        """Count an optimizer's parameters, gradients and state."""
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                self._add_parameter(parameter)
        for tensor in _tensors(list(optimizer.state.values())):
            self._mark(tensor, OPTIMIZER)

    def _mark(self, tensor: Tensor, role: str) -> None:
        before = self.live
        for plain in plain_tensors(tensor):
            entry = self.entry(plain)
            if entry.role == TEMPORARIES:
                entry.role = role
            self._set(entry, plain.untyped_storage().nbytes())
        self._grown(self.live - before)

    def by_part(self) -> dict[str, int]:
        """Return the live bytes of each part."""
        parts: dict[str, int] = dict.fromkeys(PARTS, 0)
        for entry in list(self.entries.values()):
            parts[entry.part] += entry.nbytes
        return parts


def _tensors(tree: Any) -> Iterable[Tensor]:
    return (leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor))


def in_backward() -> bool:
    """Say whether autograd's engine runs the current operation."""
    return torch._C._current_graph_task_id() != -1


def _is_view(func: Any) -> bool:
    """Say whether `func` only makes a view (its result shares the storage, nothing is read)."""
    alias = func._schema.returns[0].alias_info if func._schema.returns else None
    return alias is not None and not alias.is_write
