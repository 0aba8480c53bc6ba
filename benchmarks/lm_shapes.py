"""Shapes of the benchmarked language models, and their floating-point operations."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from benchmarks.flops import TRAINING_PASSES

Family = Literal["transformer", "lstm", "gru"]
GATES: dict[Family, int] = {"lstm": 4, "gru": 3}
"""Gates and candidate of each layer, each with a product with the input and one with the hidden state."""


@dataclass(frozen=True)
class LmShape:
    """Shape of a language model with tied embeddings, and of the blocks of text of one update."""

    family: Family
    width: int
    """`d_model` of a Transformer, whose `d_ff` is four times as large; `hidden_size` of a recurrent model."""
    num_layers: int
    num_heads: int
    """0 in a recurrent model."""
    block_length: int
    """Tokens of a row, as many as a Transformer has positions; a recurrent model carries its state to the next."""
    rows: int

    @property
    def batch_tokens(self) -> int:
        """Return the number of predicted tokens per update, which is one micro-step."""
        return self.rows * self.block_length


LSTM, GRU = (LmShape(family, 512, 2, 0, block_length=128, rows=32) for family in GATES)
SHAPES: dict[str, tuple[LmShape, ...]] = {
    "small": (LmShape("transformer", 256, 4, 4, block_length=256, rows=16), LSTM, GRU),
    "nanogpt": (LmShape("transformer", 384, 6, 6, block_length=256, rows=64), LSTM, GRU),
}
"""`nanogpt` has the Transformer of nanoGPT's `train_shakespeare_char`, `small` a smaller one for CPUs."""
QUICK_SHAPES = (
    LmShape("transformer", 32, 2, 2, block_length=64, rows=4),
    *(LmShape(family, 32, 2, 0, block_length=16, rows=4) for family in GATES),
)


def forward_flops(shape: LmShape, vocab_size: int, length: int) -> int:
    """Count the operations of one row of `length` tokens without a prompt: matrix products only.

    A position attends to itself and earlier positions; masked positions are not counted (see `benchmarks.flops`).
    """
    size = shape.width
    head = vocab_size * size
    if shape.family != "transformer":
        return 2 * length * (shape.num_layers * GATES[shape.family] * 2 * size * size + head)
    matrices = shape.num_layers * (4 + 2 * 4) * size * size
    attention = shape.num_layers * 2 * size * (length * (length + 1) // 2)  # scores, weighted values
    return 2 * (length * (matrices + head) + attention)


def training_flops(shape: LmShape, vocab_size: int, lengths: Iterable[int]) -> int:
    """Count the operations of one update over rows of these lengths, forward and backward."""
    return TRAINING_PASSES * sum(forward_flops(shape, vocab_size, length) for length in lengths)
