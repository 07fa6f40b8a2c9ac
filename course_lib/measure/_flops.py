"""FLOPs of convolutions and matrix products, 2 per multiply-add, forward and backward apart.

Built on the formulas of `torch.utils.flop_counter`, with two mends: its backward of a grouped
convolution forgets the groups, and it does not know the CPU's fused attention.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import conv_flop_count, flop_registry

from course_lib.measure._ledger import in_backward
from course_lib.measure._modules import ModuleWatch, check_callable, refuse_compiled
from course_lib.measure._saved import cut


aten = torch.ops.aten


@dataclass(frozen=True)
class FlopReport:
    """FLOPs (2 per multiply-add) by module name, forward and backward."""

    forward_by_module: dict[str, int]
    backward_by_module: dict[str, int]

    @property
    def forward(self) -> int:
        """FLOPs outside backward."""
        return sum(self.forward_by_module.values())

    @property
    def backward(self) -> int:
        """FLOPs while autograd runs backward; recomputed forward passes are among them."""
        return sum(self.backward_by_module.values())

    @property
    def total(self) -> int:
        """Forward and backward together."""
        return self.forward + self.backward

    def by_module(self, depth: int | None = None) -> dict[str, int]:
        """Return FLOPs, forward and backward together, by module name cut at `depth`."""
        sums: dict[str, int] = {}
        for part in (self.forward_by_module, self.backward_by_module):
            for name, flops in part.items():
                sums[cut(name, depth)] = sums.get(cut(name, depth), 0) + flops
        return sums

    def table(self) -> pd.DataFrame:
        """Return one row per module: forward, backward and total FLOPs."""
        names = self.by_module()
        rows = [
            (name, self.forward_by_module.get(name, 0), self.backward_by_module.get(name, 0), total)
            for name, total in names.items()
        ]
        return pd.DataFrame(rows, columns=["module", "forward", "backward", "total"])

    def __repr__(self) -> str:
        return f"FlopReport(forward {self.forward:,}, backward {self.backward:,} FLOPs)"


def flops(fn: Callable[[], Any], *, model: nn.Module | None = None) -> FlopReport:
    """Run `fn()` and count the FLOPs of its convolutions and matrix products, 2 per multiply-add.

    Element-wise work, norms and pooling do not count. A backward counts what really ran: the
    gradient of the input and of the weight, each only where needed. Fused attention multiplies
    queries and keys once more in backward. Names as in `saved_activations`. Raises RuntimeError
    for torch.compile and for fused recurrent layers, whose inside is hidden.
    """
    check_callable(fn, "flops")
    with ModuleWatch(model) as watch, _no_fast_attention(), _Counter(watch) as counter:
        fn()
    forward, backward = (
        {watch.name(module): n for module, n in part.values()}
        for part in (counter.forward, counter.backward)
    )
    return FlopReport(forward, backward)


@contextmanager
def _no_fast_attention() -> Iterator[None]:
    """Keep nn.MultiheadAttention off its fast path, one operation whose inside cannot be seen."""
    was_on = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(was_on)


class _Counter(TorchDispatchMode):
    def __init__(self, watch: ModuleWatch) -> None:
        super().__init__()
        self._watch = watch
        self.forward: dict[int, tuple[nn.Module | None, int]] = {}
        self.backward: dict[int, tuple[nn.Module | None, int]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        packet = func._overloadpacket
        if packet in _HIDDEN:
            raise RuntimeError(
                f"flops cannot see inside the fused operation {packet}; build the layer from "
                "nn.LSTMCell, nn.GRUCell or plain matrix products to count it"
            )
        backward = in_backward()
        if not backward:
            refuse_compiled()
        formula = _FORMULAS.get(packet) or flop_registry.get(packet)
        if formula is None:
            with self:
                parts = func.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
            return func(*args, **kwargs)
        out = func(*args, **kwargs)
        flops = int(formula(*args, **kwargs, out_val=out))
        module = self._watch.current
        if backward and module is None:
            node = torch._C._current_autograd_node()
            module = None if node is None else self._watch.module_of_node(node._sequence_nr())
        table = self.backward if backward else self.forward
        table[id(module)] = (module, table.get(id(module), (module, 0))[1] + flops)
        return out


_HIDDEN = {
    getattr(aten, name)
    for name in ("_cudnn_rnn", "mkldnn_rnn_layer", "miopen_rnn", "_native_multi_head_attention")
}


def _conv_backward(
    grad_out: Tensor,
    x: Tensor,
    weight: Tensor,
    _bias_sizes: Any,
    _stride: Any,
    _padding: Any,
    _dilation: Any,
    transposed: bool,
    _output_padding: Any,
    _groups: int,
    output_mask: list[bool],
    **_: Any,
) -> int:
    """Each of the two gradients takes as many multiply-adds as the forward pass."""
    one = conv_flop_count(list(x.shape), list(weight.shape), list(grad_out.shape), transposed)
    return one * (output_mask[0] + output_mask[1])


def _attention(q: Tensor, k: Tensor, v: Tensor, *_: Any, **__: Any) -> int:
    """Scores Q K^T, then the weighted sum of V."""
    return 2 * prod(q.shape[:-1]) * k.shape[-2] * (q.shape[-1] + v.shape[-1])


def _attention_backward(_grad: Tensor, q: Tensor, k: Tensor, v: Tensor, *_: Any, **__: Any) -> int:
    """Scores again, then the gradients of V, of the scores, of Q and of K."""
    return 2 * prod(q.shape[:-1]) * k.shape[-2] * (3 * q.shape[-1] + 2 * v.shape[-1])


_FORMULAS: dict[Any, Callable[..., int]] = {
    aten.convolution_backward: _conv_backward,
    aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
    aten.dot: lambda a, b, **_: 2 * a.numel(),
    aten.vdot: lambda a, b, **_: 2 * a.numel(),
    aten.mv: lambda a, b, **_: 2 * a.numel(),
    aten.addmv: lambda c, a, b, **_: 2 * a.numel(),
}
