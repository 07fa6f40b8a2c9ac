"""Activation coding: full fine-tuning whose kept tensors are codes of the activations themselves.

In the manner of Mesa (arXiv 2111.11124) and GACT (2206.11357): forward is exact, and every tensor
that autograd would keep is coded between the minimum and maximum of each group of 256 elements.
Kept as they are: parameters and buffers, integers and bools, and statistics of one number a row.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef

from course_lib.s2a._groups import decode_groups, encode_groups
from course_lib.s2a._rounding import EXACT, check_bits


class ActivationCoded(nn.Module):
    """Runs `network` with what autograd keeps in `bits` bits; every parameter is trained.

    Attention runs unfused: a fused kernel's sums do not fit to coded q, k and v.
    Kept for backward: bits / 8 + 8 / 256 bytes an element. With 32 bits: what autograd keeps.
    """

    def __init__(self, network: nn.Module, bits: int = 4) -> None:
        """Store the network; ValueError for a width other than 1, 2, 4, 8 or 32."""
        super().__init__()
        check_bits(bits)
        self.network, self.bits = network, bits
        attentions: list[Any] = [m for m in network.modules() if hasattr(m, "fused_attn")]
        for attention in attentions:
            attention.fused_attn = False

    def forward(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch ..."]:
        """Run the network; its autograd graph gets codes."""
        if self.bits == EXACT:
            return self.network(x)
        with _coding(self.network, self.bits):
            return self.network(x)


@contextmanager
def _coding(network: nn.Module, bits: int) -> Iterator[None]:
    """Code what autograd saves in one forward pass; what two operations save is coded once."""
    constant = {t.untyped_storage().data_ptr() for t in (*network.parameters(), *network.buffers())}
    seen: dict[tuple, tuple] = {}

    def pack(x: Tensor) -> Any:
        storage = x.untyped_storage()
        statistic = x.ndim == 0 or x.shape[-1] == 1
        if storage.data_ptr() in constant or statistic or not x.is_floating_point():
            return x
        # The weak reference keeps the number of a freed storage from being given again.
        ref = StorageWeakRef(storage)
        layout = x.numel() if x.is_contiguous() else (x.shape, x.stride())
        key = (ref.cdata, x.storage_offset(), layout, x._version)
        if key not in seen:
            seen[key] = (ref, encode_groups(x.detach(), bits, "nearest"))
        return seen[key][1], x.shape, x.dtype

    def unpack(kept: Any) -> Tensor:
        if isinstance(kept, Tensor):
            return kept
        coded, shape, dtype = kept
        return decode_groups(coded, bits, shape).to(dtype)

    with torch.autograd.graph.saved_tensors_hooks(pack, unpack):
        yield
