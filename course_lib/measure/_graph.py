"""Walk the autograd graph: its nodes, and the tensors that hide on them."""

import functools
import re
import types
from collections.abc import Iterable, Iterator
from typing import Any

from torch import Tensor, nn
from torch.autograd.graph import Node


_RANDOM_STATES = ("fwd_cpu_state", "fwd_device_states")
_NO_NUMBER = 2**63  # leaves carry the largest number there is


def forward_nodes(outputs: Iterable[Tensor], first: int) -> dict[int, Node]:
    """Return the graph's nodes by sequence number, from number `first` on, in forward order."""
    found: dict[int, Node] = {}
    waiting = [output.grad_fn for output in outputs]
    while waiting:
        node = waiting.pop()
        if node is None:
            continue
        number = node._sequence_nr()
        if first <= number < _NO_NUMBER and number not in found:
            found[number] = node
            waiting += [parent for parent, _ in node.next_functions]
    return dict(sorted(found.items()))


def op_name(node: Node) -> str:
    """Return the operation's name: "ConvolutionBackward0" gives "Convolution"."""
    return re.sub(r"Backward\d*$", "", node.name())


def hidden_tensors(node: Node) -> Iterator[Tensor]:
    """Yield tensors on the attributes of a custom Function's `ctx`, in containers and closures.

    The states of random generators that a checkpoint keeps (about 5 KB each) are no activations.
    """
    attributes = getattr(node, "__dict__", {})
    kept = {name: value for name, value in attributes.items() if name not in _RANDOM_STATES}
    return tensors_inside(kept, open_objects=False)


def tensors_inside(tree: Any, *, open_objects: bool = True) -> Iterator[Tensor]:
    """Yield each tensor in nested containers and closures once; modules are not entered.

    `open_objects` says whether attributes of other objects, such as dataclasses, are followed.
    """
    seen: set[int] = set()
    waiting = [tree]
    while waiting:
        item = waiting.pop()
        if id(item) in seen or isinstance(item, nn.Module | type | types.ModuleType):
            continue
        seen.add(id(item))
        if isinstance(item, Tensor):
            yield item
        elif isinstance(item, dict):
            waiting += reversed(item.values())
        elif isinstance(item, list | tuple):
            waiting += reversed(item)
        elif isinstance(item, set | frozenset):
            waiting += item
        elif isinstance(item, types.FunctionType):
            waiting += _cells(item)
        elif isinstance(item, functools.partial):
            waiting += [item.func, item.args, item.keywords]
        elif isinstance(item, types.MethodType):
            waiting.append(item.__func__)
        elif open_objects and hasattr(item, "__dict__"):
            waiting.append(vars(item))


def _cells(function: types.FunctionType) -> list[Any]:
    cells = []
    for cell in function.__closure__ or ():
        try:
            cells.append(cell.cell_contents)
        except ValueError:  # a name of the enclosing function that has no value yet
            continue
    return cells
