"""The numbers of one transformer block that its memory depends on."""

from dataclasses import dataclass


_FLOAT = 4  # bytes


@dataclass(frozen=True)
class BlockShape:
    """B samples of N tokens of width D, H heads, and an MLP of hidden width `mlp_ratio` D.

    Raises ValueError for a size below 1, or heads that do not divide the width.
    """

    batch: int
    tokens: int
    width: int
    heads: int
    mlp_ratio: int = 4

    def __post_init__(self) -> None:
        """Refuse sizes that no block has."""
        wrong = [f"{name}={value}" for name, value in vars(self).items() if value < 1]
        if wrong:
            raise ValueError(f"A block's sizes are at least 1, not {', '.join(wrong)}.")
        if self.width % self.heads:
            raise ValueError(f"{self.heads} heads do not divide the width {self.width}.")

    @property
    def stream(self) -> int:
        """B N D, elements of the block's input and output."""
        return self.batch * self.tokens * self.width

    @property
    def rows(self) -> int:
        """B N, tokens of all samples."""
        return self.batch * self.tokens

    @property
    def head_rows(self) -> int:
        """B H N, rows of all attention maps."""
        return self.rows * self.heads

    @property
    def hidden(self) -> int:
        """Elements of the MLP's hidden layer."""
        return self.stream * self.mlp_ratio


def units(nbytes: int, shape: BlockShape) -> float:
    """Bytes as multiples of the block's input in fp32, 4 B N D bytes."""
    return nbytes / (_FLOAT * shape.stream)
