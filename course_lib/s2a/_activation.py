"""An exact activation that keeps a code of its derivative, not its input.

Paper: Jin et al., "S2A", arXiv 2503.08154: activations in 4 bits, coded by their derivatives. The
rest is this course's definition. Forward is exact. Kept is, per element,
q = round((f'(x) - m) / step); backward is dL/dx = g * (m + q * step). Beside it stand two other
ways to spend the same bits: coding the activation itself, and a table over intervals of x.
"""

from typing import Any, Literal, get_args

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from course_lib.lean import pack_bits, pack_codes, unpack_bits, unpack_codes
from course_lib.s2a import _triton
from course_lib.s2a._derivatives import activation_of, kind_of, scaled_derivative
from course_lib.s2a._grids import Grid, check_grid, levels
from course_lib.s2a._groups import decode_groups, encode_groups
from course_lib.s2a._partition import partition
from course_lib.s2a._rounding import (
    EXACT,
    Rounding,
    check_bits,
    check_float,
    check_rounding,
    round_codes,
    working,
)


Code = Literal["derivative", "act", "fewbit"]
GELUS = ("gelu", "gelu_tanh")  # a fused kernel codes these


class CodedActivationFunction(torch.autograd.Function):
    """Exact forward, coded backward; see `coded_activation` for what it keeps."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, kind: str, bits: int, grid: Grid, code: Code, rounding: Rounding
    ) -> Tensor:
        """Save the code, return f(x)."""
        activation = activation_of(kind)
        ctx.how = (kind, bits, grid, code)
        by_derivative = code == "derivative" and rounding == "nearest"
        if kind in GELUS and by_derivative and _triton.available(x, bits):
            from course_lib.s2a._triton_gelu import gelu_forward

            y, packed = gelu_forward(x, kind == "gelu_tanh", levels(kind, bits, grid))
            ctx.save_for_backward(packed)
            return y
        y = activation.forward(x)
        if activation.is_step:
            inside = (x > 0) & (x < 6) if kind == "relu6" else x > 0
            ctx.save_for_backward(pack_bits(inside))
        elif bits == EXACT:
            ctx.save_for_backward(y if activation.from_output else x)
        elif code == "act":
            source = y if activation.from_output else x
            ctx.save_for_backward(*encode_groups(source, bits, rounding))
        elif code == "fewbit":
            borders, _ = partition(kind, bits)
            x = working(x).contiguous()
            intervals = torch.bucketize(x, borders.to(x), out_int32=True)
            ctx.save_for_backward(pack_codes(intervals.to(torch.uint8), bits))
        else:
            x = working(x)  # f' in float32, also for bfloat16
            source = activation.forward(x) if activation.from_output else x
            levels_ = levels(kind, bits, grid)
            # Equation: q = round((f'(x) - m) / step)
            scaled = scaled_derivative(source, kind, levels_.per_one).add_(levels_.zero)
            ctx.save_for_backward(pack_codes(round_codes(scaled, bits, rounding), bits))
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Equation: dL/dx = g * (m + q * step)."""
        kind, bits, grid, code = ctx.how
        saved, shape = ctx.saved_tensors, grad.shape
        activation = activation_of(kind)
        if activation.is_step:
            for_x = grad * unpack_bits(saved[0], shape).view(torch.uint8)
        elif bits == EXACT:
            for_x = activation.backward(grad, saved[0])
        elif code == "act":
            source = decode_groups(saved, bits, shape)
            for_x = activation.backward(grad.to(source.dtype), source)
        elif code == "fewbit":
            _, constants = partition(kind, bits)
            codes = unpack_codes(saved[0], bits, shape).int()
            for_x = grad * constants.to(grad).index_select(0, codes.view(-1)).view(shape)
        elif _triton.available(grad, bits):
            from course_lib.s2a._triton_gelu import derivative_backward

            for_x = derivative_backward(grad, saved[0], levels(kind, bits, grid))
        else:
            levels_ = levels(kind, bits, grid)
            codes = unpack_codes(saved[0], bits, shape).to(working(grad).dtype)
            for_x = codes.sub_(levels_.zero).div_(levels_.per_one).mul_(grad)
        return for_x.to(grad.dtype), None, None, None, None, None


def check_code(kind: str, bits: int, grid: str, code: str, rounding: str) -> None:
    """Raise ValueError for an unknown activation, width, grid, code or rounding."""
    activation_of(kind)
    check_bits(bits)
    check_grid(grid)
    check_rounding(rounding)
    if code not in get_args(Code):
        raise ValueError(f'Unknown code {code!r}; choose "derivative", "act" or "fewbit".')
    if code == "fewbit" and rounding == "stochastic":
        raise ValueError('code="fewbit" puts x into intervals and rounds nothing: use "nearest".')


def coded_activation(
    x: Shaped[Tensor, "*shape"],
    kind: str,
    bits: int = 4,
    grid: Grid = "zero",
    code: Code = "derivative",
    rounding: Rounding = "nearest",
) -> Float[Tensor, "*shape"]:
    """Apply the activation `kind` exactly; its backward uses a code of `bits` bits.

    `kind` is "gelu", "gelu_tanh", "silu", "hardswish", "sigmoid", "tanh", "relu" or "relu6".
    Kept for backward, for n elements: ceil(n * bits / 8) bytes; `code="act"` adds 8 bytes for
    each 256 elements. relu and relu6 always keep ceil(n / 8) bytes, without any error. 32 bits
    keep the input, or the output of sigmoid and tanh, as PyTorch does.
    `grid` is for `code="derivative"`: see `_grids`. Without gradients nothing is kept.
    Raises ValueError for integers and unknown arguments; in anomaly mode for NaN and infinity.
    """
    check_code(kind, bits, grid, code, rounding)
    check_float(x, "coded_activation")
    if torch.is_grad_enabled() and x.requires_grad:
        return CodedActivationFunction.apply(x, kind, bits, grid, code, rounding)
    return activation_of(kind).forward(x)


class CodedActivation(nn.Module):
    """`coded_activation` as a module."""

    def __init__(
        self,
        kind: str,
        bits: int = 4,
        grid: Grid = "zero",
        code: Code = "derivative",
        rounding: Rounding = "nearest",
    ) -> None:
        """Store the arguments; ValueError for unknown ones."""
        super().__init__()
        check_code(kind, bits, grid, code, rounding)
        self.kind, self.bits = kind, bits
        self.grid: Grid = grid
        self.code: Code = code
        self.rounding: Rounding = rounding

    @classmethod
    def from_module(
        cls,
        module: nn.Module,
        bits: int = 4,
        grid: Grid = "zero",
        code: Code = "derivative",
        rounding: Rounding = "nearest",
    ) -> "CodedActivation":
        """Take the kind from an activation module; ValueError if S2A does not know it."""
        return cls(kind_of(module), bits, grid, code, rounding)

    def forward(self, x: Shaped[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """See `coded_activation`."""
        return coded_activation(x, self.kind, self.bits, self.grid, self.code, self.rounding)

    def extra_repr(self) -> str:
        """Activation and code."""
        return f"{self.kind}, bits={self.bits}, grid={self.grid}, code={self.code}"
