"""Which module is running? Global hooks keep a stack; names are resolved afterwards.

A *root* is a module that is called while no other module runs. Names are those of
`root.named_modules()`. The root with most submodules (or the caller's `model`) gives plain names;
the modules of further roots, such as a loss module, carry the class name of their root in front.
"""

import sys
import warnings
from bisect import bisect_right
from collections.abc import Callable
from types import FrameType
from typing import Any

from torch import nn
from torch._C._autograd import _get_sequence_nr
from torch.nn.modules.module import (
    register_module_forward_hook,
    register_module_forward_pre_hook,
)


OUTSIDE = "(outside modules)"

_COMPILED = (
    "this meter cannot see inside torch.compile; "
    "measure the uncompiled model (for a compiled module: its `_orig_mod`)"
)


class ModuleWatch:
    """Context manager that knows, at each operation, which module is running.

    `on_root(module)` is called each time a root is entered.
    """

    def __init__(
        self,
        model: nn.Module | None = None,
        on_root: Callable[[nn.Module], None] | None = None,
    ) -> None:
        self._model = model
        self._on_root = on_root
        self._stack: list[nn.Module] = []
        self.roots: list[nn.Module] = [] if model is None else [model]
        self._names: dict[int, str] | None = None
        # A forward node of autograd carries a rising number. The module that ran when node n was
        # made is `_marks[i]`, where `_starts[i]` is the last start at or below n.
        self._starts: list[int] = [0]
        self._marks: list[nn.Module | None] = [None]

    def __enter__(self) -> "ModuleWatch":
        self._quiet = warnings.catch_warnings()
        self._quiet.__enter__()
        # The refusal in `_enter` says it better.
        warnings.filterwarnings("ignore", message="Using `torch.compile")
        self._handles = (
            register_module_forward_pre_hook(self._enter),
            register_module_forward_hook(self._leave, always_call=True),
        )
        if self._model is not None and self._on_root is not None:
            self._on_root(self._model)
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()
        self._quiet.__exit__(None, None, None)
        self._stack.clear()

    def _enter(self, module: nn.Module, _inputs: Any) -> None:
        if type(module).__name__ == "OptimizedModule":
            raise RuntimeError(_COMPILED)
        if not self._stack:
            if all(module is not root for root in self.roots):
                self.roots.append(module)
                self._names = None
            if self._on_root is not None:
                self._on_root(module)
        self._stack.append(module)
        self._mark()

    def _leave(self, module: nn.Module, _inputs: Any, _output: Any) -> None:
        if any(module is running for running in self._stack):
            while self._stack.pop() is not module:
                pass
        self._mark()

    def _mark(self) -> None:
        start = _get_sequence_nr()
        if start == self._starts[-1]:
            self._marks[-1] = self.current
        elif start > self._starts[-1]:
            self._starts.append(start)
            self._marks.append(self.current)

    @property
    def current(self) -> nn.Module | None:
        """The innermost module that is running, or None."""
        return self._stack[-1] if self._stack else None

    def module_of_node(self, sequence_number: int) -> nn.Module | None:
        """Return the module that ran when autograd's node of this number was made."""
        return self._marks[bisect_right(self._starts, sequence_number) - 1]

    def name(self, module: nn.Module | None) -> str:
        """Return the qualified name of `module`: "" for the root, OUTSIDE for None."""
        if module is None:
            return OUTSIDE
        if self._names is None:
            self._names = self._resolve()
        return self._names.get(id(module), type(module).__name__)

    def _resolve(self) -> dict[int, str]:
        main = self._model
        if main is None:
            main = max(self.roots, key=lambda root: sum(1 for _ in root.modules()))
        names = {id(module): name for name, module in main.named_modules()}
        for root in self.roots:
            prefix = type(root).__name__
            for name, module in root.named_modules():
                names.setdefault(id(module), f"{prefix}.{name}" if name else prefix)
        return names


def kind_of(module: nn.Module | None) -> str:
    """Return the class name of `module`, such as "Conv2d"; OUTSIDE for None."""
    return OUTSIDE if module is None else type(module).__name__


def refuse_compiled() -> None:
    """Raise RuntimeError when the running operation was called by a compiled function.

    Under a dispatch mode torch.compile silently runs the uncompiled code, so the numbers would
    describe another program than the caller's.
    """
    if "torch._dynamo.eval_frame" not in sys.modules:
        return
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_qualname.startswith("_TorchDynamoContext.__call__"):
            raise RuntimeError(_COMPILED)
        frame = frame.f_back


def check_callable(fn: object, who: str) -> None:
    """Raise TypeError unless `fn` can be called without arguments by the meter `who`."""
    if not callable(fn):
        raise TypeError(
            f"{who} needs a function without arguments, got {type(fn).__name__}; "
            f"write measure.{who}(lambda: model(x))"
        )
