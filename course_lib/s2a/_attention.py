"""The core of attention, softmax(q k^T * scale) v, that keeps its map once, in a few bits.

Course definition. Kept are q, k and v, in full or in `qkv_bits` with the minimum and maximum of
each row, and one code of the map P, which serves dL/dv = P^T g and the softmax alike. Neither the
scores nor the scaled q are kept. This is the unfused attention: with a fused one there is no map.
"""

from typing import Any

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from course_lib.s2a._groups import decode_rows, encode_rows
from course_lib.s2a._rounding import EXACT, check_bits, check_float
from course_lib.s2a._softmax import probabilities, softmax_and_kept, softmax_backward


class CodedAttentionFunction(torch.autograd.Function):
    """Exact attention; keeps q, k, v and P, each in its width."""

    @staticmethod
    def forward(
        ctx: Any, q: Tensor, k: Tensor, v: Tensor, scale: float, bits: int, qkv_bits: int
    ) -> Tensor:
        """Equations: P = softmax(q k^T * scale), out = P v."""
        p, kept = softmax_and_kept(attention_scores(q, k, scale), bits)
        ctx.how = (scale, bits, qkv_bits)
        ctx.shapes = (q.shape, k.shape, v.shape)
        inputs = (q, k, v)
        if qkv_bits != EXACT:
            inputs = [part for x in inputs for part in encode_rows(x, qkv_bits)]
        ctx.save_for_backward(*inputs, *kept)
        return p @ v

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Equations: dv = P^T g, dS = softmax'(g v^T), dq = dS k * scale, dk = dS^T q * scale."""
        scale, bits, qkv_bits = ctx.how
        saved = ctx.saved_tensors
        if qkv_bits == EXACT:
            (q, k, v), kept = saved[:3], saved[3:]
        else:
            coded, kept = saved[:6], saved[6:]
            q, k, v = (
                decode_rows(coded[2 * i : 2 * i + 2], qkv_bits, shape).to(grad.dtype)
                for i, shape in enumerate(ctx.shapes)
            )
        map_shape = (*ctx.shapes[0][:-1], ctx.shapes[1][-2])
        p = probabilities(kept, bits, map_shape).to(grad.dtype)
        for_scores = softmax_backward(grad @ v.transpose(-2, -1), p).mul_(scale)
        for_q, for_k = for_scores @ k, for_scores.transpose(-2, -1) @ q
        return for_q, for_k, p.transpose(-2, -1) @ grad, None, None, None


def attention_scores(
    q: Float[Tensor, "*heads queries width"], k: Float[Tensor, "*heads keys width"], scale: float
) -> Float[Tensor, "*heads queries keys"]:
    """Equation: S = q k^T * scale, rounded as timm does: q is scaled first."""
    return (q * scale) @ k.transpose(-2, -1)


def coded_attention(
    q: Shaped[Tensor, "*q"],
    k: Shaped[Tensor, "*k"],
    v: Shaped[Tensor, "*v"],
    bits: int = 4,
    qkv_bits: int = 32,
    scale: float | None = None,
) -> Float[Tensor, "*out"]:
    """Attention of each head, exact; its backward uses a code of the attention map.

    q is (*heads, queries, width), k (*heads, keys, width), v (*heads, keys, out), the result
    (*heads, queries, out). `scale` is 1/sqrt(width) unless given. Kept for backward: `bits` for
    each element of the map and 4 bytes for each of its rows; q, k and v in full, or `qkv_bits` for
    each element and 8 bytes for each row. Codes take whole bytes. 32 bits keep the map as PyTorch
    does.
    Raises ValueError for integers, shapes that do not fit, or another width; in anomaly mode for
    NaN and infinity.
    """
    check_bits(bits)
    check_bits(qkv_bits, "qkv_bits")
    for x in (q, k, v):
        check_float(x, "coded_attention")
    if (
        min(q.ndim, k.ndim, v.ndim) < 2
        or q.shape[:-2] != k.shape[:-2]
        or k.shape[:-1] != v.shape[:-1]
        or q.shape[-1] != k.shape[-1]
    ):
        raise ValueError(
            "coded_attention takes q (heads, queries, width), k (heads, keys, width) and v (heads, "
            f"keys, out), not {tuple(q.shape)}, {tuple(k.shape)} and {tuple(v.shape)}."
        )
    factor: float = q.shape[-1] ** -0.5 if scale is None else scale
    if torch.is_grad_enabled() and (q.requires_grad or k.requires_grad or v.requires_grad):
        return CodedAttentionFunction.apply(q, k, v, factor, bits, qkv_bits)
    return attention_scores(q, k, factor).softmax(-1) @ v


class CodedAttention(nn.Module):
    """timm's Attention with a coded core: its linears, its names, its unfused arithmetic."""

    def __init__(
        self, qkv: nn.Linear, proj: nn.Linear, heads: int, bits: int = 4, qkv_bits: int = 32
    ) -> None:
        """Keep the given linears, not copies; `qkv` maps features to 3 * heads * width."""
        super().__init__()
        check_bits(bits)
        check_bits(qkv_bits, "qkv_bits")
        if qkv.out_features % (3 * heads):
            raise ValueError(f"{qkv.out_features} outputs are not q, k and v of {heads} heads.")
        self.qkv, self.proj = qkv, proj
        self.heads, self.bits, self.qkv_bits = heads, bits, qkv_bits

    @classmethod
    def from_attention(
        cls, attention: nn.Module, bits: int = 4, qkv_bits: int = 32
    ) -> "CodedAttention":
        """Take over the linears of a timm Attention.

        Raises ValueError for another class, and for one with dropout, gates or inner norms.
        """
        from timm.models.vision_transformer import Attention  # pyright: ignore[reportPrivateImportUsage]

        if not isinstance(attention, Attention):
            raise ValueError(f"S2A codes timm's Attention, not {type(attention).__name__}.")
        inner = [getattr(attention, name, None) for name in ("q_norm", "k_norm", "norm", "gate")]
        if any(type(part) not in (nn.Identity, type(None)) for part in inner):
            raise ValueError("S2A codes the plain Attention, without a gate or norms inside.")
        if attention.attn_drop.p or attention.proj_drop.p:
            raise ValueError("Build the network without dropout in its attention: rate 0.")
        return cls(attention.qkv, attention.proj, attention.num_heads, bits, qkv_bits)

    def forward(
        self,
        x: Float[Tensor, "batch tokens features"],
        attn_mask: Tensor | None = None,
        is_causal: bool = False,
    ) -> Float[Tensor, "batch tokens out"]:
        """Attend among the tokens of each sample; see `coded_attention`.

        timm passes the other two arguments; ValueError if they ask for a mask.
        """
        if attn_mask is not None or is_causal:
            raise ValueError("S2A codes attention without a mask: all tokens see each other.")
        batch, tokens, _ = x.shape
        # (B, N, 3 H d) -> (B, N, 3, H, d) -> (3, B, H, N, d) -> 3 times (B, H, N, d)
        qkv = self.qkv(x).view(batch, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        out = coded_attention(*qkv.unbind(0), bits=self.bits, qkv_bits=self.qkv_bits)
        return self.proj(out.transpose(1, 2).flatten(2))  # (B, H, N, d) -> (B, N, H d)

    def extra_repr(self) -> str:
        """Widths of the codes."""
        return f"heads={self.heads}, bits={self.bits}, qkv_bits={self.qkv_bits}"
