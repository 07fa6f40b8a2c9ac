"""Storages: what one is, how much of it is in use, and what part of memory it belongs to."""

import math
import weakref
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import is_traceable_wrapper_subclass


PARAMETERS = "parameters"
GRADIENTS = "gradients"
OPTIMIZER = "optimizer state"
SAVED = "saved activations"
TEMPORARIES = "temporaries"
PARTS = (PARAMETERS, GRADIENTS, OPTIMIZER, SAVED, TEMPORARIES)


class Extent:
    """The stretch of one storage that a set of tensors views, in bytes."""

    def __init__(self) -> None:
        self._spans: list[tuple[int, int]] = []
        self._views: set[tuple] = set()
        self._most = 0  # elements in all views, if they did not overlap

    def add(self, tensor: Tensor) -> int:
        """Add the stretch that `tensor` views; return the bytes of all stretches so far."""
        shape, strides, offset = tensor.shape, tensor.stride(), int(tensor.storage_offset())
        view = (offset, shape, strides, tensor.dtype)
        if view not in self._views and tensor.numel():
            self._views.add(view)
            # An expanded axis has stride 0 and touches nothing new.
            axes = [(int(n), int(s)) for n, s in zip(shape, strides, strict=True) if s]
            size = tensor.element_size()
            start = offset * size
            stop = start + (sum((n - 1) * step for n, step in axes) + 1) * size
            self._spans = _merge([*self._spans, (start, stop)])
            self._most += math.prod(n for n, _ in axes) * size
        return min(self._most, sum(stop - start for start, stop in self._spans))


class Entry:
    """What the ledger knows of one storage; holds no tensor."""

    __slots__ = (
        "born_inside",
        "dtype",
        "module",
        "nbytes",
        "ref",
        "role",
        "saved",
        "shape",
        "used",
    )

    def __init__(
        self, ref: weakref.ref | None, tensor: Tensor, born_inside: bool, module: nn.Module | None
    ) -> None:
        self.ref = ref
        self.shape = tuple(tensor.shape)
        self.dtype = tensor.dtype
        self.born_inside = born_inside
        self.module = module
        self.role = TEMPORARIES
        self.saved = 0  # how many times autograd holds it at this moment
        self.nbytes = 0
        self.used = Extent()  # of a storage from before

    @property
    def alive(self) -> bool:
        """Whether the storage still exists."""
        return self.ref is not None and self.ref() is not None

    @property
    def part(self) -> str:
        """The part of memory (one of PARTS) it belongs to now."""
        return SAVED if self.saved and self.role == TEMPORARIES else self.role


def _merge(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, stop in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(stop, merged[-1][1]))
        else:
            merged.append((start, stop))
    return merged


def plain_tensors(tensor: Tensor) -> Iterator[Tensor]:
    """Yield the tensors with a storage that make up `tensor` (sparse, wrapped, or itself)."""
    if is_traceable_wrapper_subclass(tensor):
        for name in tensor.__tensor_flatten__()[0]:
            yield from plain_tensors(getattr(tensor, name))
    elif tensor.layout == torch.strided:
        yield tensor
    elif tensor.layout == torch.sparse_coo:
        yield tensor._indices()
        yield tensor._values()
    elif tensor.layout in (torch.sparse_csr, torch.sparse_bsr):
        yield from (tensor.crow_indices(), tensor.col_indices(), tensor.values())
    elif tensor.layout in (torch.sparse_csc, torch.sparse_bsc):
        yield from (tensor.ccol_indices(), tensor.row_indices(), tensor.values())
