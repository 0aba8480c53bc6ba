"""What a sampler yields: the batches of one update, and where they stand in the data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from seqlab.data.batch import Batch

B = TypeVar("B", bound=Batch, covariant=True)


@dataclass(frozen=True, order=True)
class Position:
    """Which step: all three count from 0."""

    epoch: int
    chunk: int
    step: int


def next_position(after: Position | None) -> Position:
    """Return where to look for the step that follows one, which may be the first of the next chunk or epoch."""
    return Position(0, 0, 0) if after is None else Position(after.epoch, after.chunk, after.step + 1)


@dataclass(frozen=True)
class TrainingStep(Generic[B]):
    """One rank's micro-steps of an update; tokens are counted over all ranks, and 0 where the data has none."""

    position: Position
    epoch: float
    """Times through the corpora when this step is done."""
    micro_steps: Sequence[B]
    num_tgt_tokens: int = 0
    """Predicted tokens, ends of sentence counted; of masked text, those that are read."""
    padded_tgt_tokens: int = 0
    """Places of the target tensors; the padding share is 1 - num_tgt_tokens / padded_tgt_tokens."""
    num_src_tokens: int = 0
    """Source tokens, ends of sentence counted; 0 where the data has no source side."""
    padded_src_tokens: int = 0
    """Places of the source tensors."""
    lr_factor: float = 1.0
    """What the learning rate of this step is multiplied by."""
