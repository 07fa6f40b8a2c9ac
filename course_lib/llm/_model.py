"""A language model small enough to train on one core while one watches.

Llama's block in little: RMSNorm, causal attention with rotary positions, SwiGLU, no biases. Learned
positions, as in GPT-2, are the one alternative. The symbols are bytes, and 256 starts a window.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F


__all__ = ["LMConfig", "TinyLM"]

ROTARY_BASE = 10_000.0
NORM_EPS = 1e-5


@dataclass(frozen=True)
class LMConfig:
    """The shape of a `TinyLM`: blocks, width of the residual stream, heads, context in tokens.

    `positions` is "rotary" or "learned"; `bos` says whether windows start with the symbol 256.
    """

    blocks: int = 6
    width: int = 128
    heads: int = 4
    context: int = 128
    positions: str = "rotary"
    bos: bool = True
    vocab: int = 257

    def __post_init__(self) -> None:
        """Raise ValueError for a shape that no model can have."""
        for name in ("blocks", "width", "heads", "context", "vocab"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1.")
        if self.width % self.heads:
            raise ValueError(
                f"The width {self.width} does not split into {self.heads} heads of equal size; "
                "choose a width that the number of heads divides."
            )
        if self.positions not in ("rotary", "learned"):
            raise ValueError(f"positions is {self.positions!r}; choose 'rotary' or 'learned'.")
        if self.positions == "rotary" and self.head_width % 2:
            raise ValueError(
                f"Rotary positions turn pairs of numbers, but a head holds {self.head_width}; "
                "choose a width that is a multiple of twice the number of heads."
            )
        if self.width < 6:
            raise ValueError(f"The width is {self.width}; SwiGLU needs at least 6.")

    @property
    def head_width(self) -> int:
        """Numbers per head and token."""
        return self.width // self.heads

    @property
    def inner(self) -> int:
        """Width inside SwiGLU: 8/3 of the width, rounded down to a multiple of 16."""
        wanted = 8 * self.width // 3
        return wanted if wanted < 16 else wanted // 16 * 16


def rotary_table(tokens: int, head_width: int) -> tuple[Tensor, Tensor]:
    """Return cos and sin of the angles p * base^(-2i/head_width), each (tokens, head_width)."""
    rates = ROTARY_BASE ** (-torch.arange(0, head_width, 2).double() / head_width)
    angles = torch.arange(tokens).double()[:, None] * rates  # (tokens, head_width / 2)
    angles = torch.cat([angles, angles], dim=1)
    return angles.cos().float(), angles.sin().float()


def rotate(
    x: Float[Tensor, "batch heads tokens size"],
    cos: Float[Tensor, "tokens size"],
    sin: Float[Tensor, "tokens size"],
) -> Float[Tensor, "batch heads tokens size"]:
    """Turn the pair (i, i + size/2) of each head by the angle of its token."""
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-second, first], dim=-1) * sin


class Attention(nn.Module):
    """Causal attention with several heads; q, k and v come out of one matrix."""

    def __init__(self, config: LMConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.qkv = nn.Linear(config.width, 3 * config.width, bias=False)
        self.out = nn.Linear(config.width, config.width, bias=False)

    def forward(
        self,
        x: Float[Tensor, "batch tokens width"],
        rotary: tuple[Float[Tensor, "tokens size"], Float[Tensor, "tokens size"]] | None,
    ) -> Float[Tensor, "batch tokens width"]:
        """Mix each token with those before it; `rotary` is None where positions are learned."""
        batch, tokens, width = x.shape
        # (batch, tokens, 3 * width) -> 3 of (batch, heads, tokens, size)
        shape = (batch, tokens, 3, self.heads, width // self.heads)
        q, k, v = self.qkv(x).view(shape).permute(2, 0, 3, 1, 4)
        if rotary is not None:
            q, k = rotate(q, *rotary), rotate(k, *rotary)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        # (batch, heads, tokens, size) -> (batch, tokens, width)
        return self.out(mixed.transpose(1, 2).reshape(batch, tokens, width))


class SwiGLU(nn.Module):
    """The two-layer network of each token, with a gate: down(silu(gate x) * up x)."""

    def __init__(self, config: LMConfig) -> None:
        super().__init__()
        self.gate_up = nn.Linear(config.width, 2 * config.inner, bias=False)
        self.down = nn.Linear(config.inner, config.width, bias=False)

    def forward(
        self, x: Float[Tensor, "batch tokens width"]
    ) -> Float[Tensor, "batch tokens width"]:
        """Treat each token for itself."""
        gate, up = self.gate_up(x).chunk(2, dim=-1)
        return self.down(F.silu(gate) * up)


class Block(nn.Module):
    """One decoder block: attention and SwiGLU, each added to the residual stream."""

    def __init__(self, config: LMConfig) -> None:
        super().__init__()
        self.attention_norm = nn.RMSNorm(config.width, eps=NORM_EPS)
        self.attention = Attention(config)
        self.mlp_norm = nn.RMSNorm(config.width, eps=NORM_EPS)
        self.mlp = SwiGLU(config)

    def forward(
        self,
        h: Float[Tensor, "batch tokens width"],
        rotary: tuple[Float[Tensor, "tokens size"], Float[Tensor, "tokens size"]] | None,
    ) -> Float[Tensor, "batch tokens width"]:
        """Return the residual stream after both additions."""
        h = h + self.attention(self.attention_norm(h), rotary)
        return h + self.mlp(self.mlp_norm(h))


class TinyLM(nn.Module):
    """A decoder on bytes; 1,234,816 parameters as `LMConfig()` has it, head and embedding apart.

    Weights start as torch starts them. They depend on torch's random state: seed it before.
    """

    cos: Tensor
    sin: Tensor

    def __init__(self, config: LMConfig | None = None) -> None:
        super().__init__()
        self.config = config = LMConfig() if config is None else config
        self.embedding = nn.Embedding(config.vocab, config.width)
        self.positions = (
            nn.Embedding(config.context, config.width) if config.positions == "learned" else None
        )
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.blocks))
        self.norm = nn.RMSNorm(config.width, eps=NORM_EPS)
        self.head = nn.Linear(config.width, config.vocab, bias=False)
        if self.positions is None:
            cos, sin = rotary_table(config.context, config.head_width)
            self.register_buffer("cos", cos, persistent=False)
            self.register_buffer("sin", sin, persistent=False)

    def forward(self, tokens: Int64[Tensor, "batch tokens"]) -> Float[Tensor, "batch tokens vocab"]:
        """Return the logits of each next symbol.

        Memory for backward: per block about 16 numbers of each token and unit of width.
        Raises ValueError for windows longer than the context and for symbols out of range.
        """
        _, length = tokens.shape
        if not 1 <= length <= self.config.context:
            raise ValueError(
                f"A window has {length} tokens; this model takes 1 to {self.config.context}."
            )
        check_symbols(tokens, self.config.vocab)
        h = self.embedding(tokens)
        rotary = None
        if self.positions is None:
            rotary = (self.cos[:length], self.sin[:length])
        else:
            h = h + self.positions.weight[:length]
        for block in self.blocks:
            h = block(h, rotary)
        return self.head(self.norm(h))


def check_symbols(tokens: Tensor, vocab: int) -> None:
    """Raise ValueError unless all tokens lie in 0 .. vocab - 1."""
    low, high = (int(bound) for bound in tokens.aminmax())
    if low < 0 or high >= vocab:
        raise ValueError(
            f"The tokens reach from {low} to {high}, but the model knows 0 to {vocab - 1}; "
            "make them with byte_tokens(text)."
        )
