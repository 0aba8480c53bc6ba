"""What a sampler yields: the batches of one update, and where they stand in the data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Generic, TypeVar

import numpy as np

from seqlab.data.batch import Batch
from seqlab.data.plan import Indices

BatchT = TypeVar("BatchT", bound=Batch)
CovariantBatchT = TypeVar("CovariantBatchT", bound=Batch, covariant=True)

MAX_BORDER_SHIFT = 1 / 16
"""Share of a rank's part that a border may move to fall between two micro-steps. Without it, micro-steps that are not
quite equally large would be cut into a large and a tiny one, each with the cost of a forward and backward pass."""


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
class TrainingStep(Generic[CovariantBatchT]):
    """One rank's micro-steps of an update; tokens are counted over all ranks, and 0 where the data has none."""

    position: Position
    epoch: float
    """Times through the corpora when this step is done."""
    micro_steps: Sequence[CovariantBatchT]
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


def split_among_ranks(micro_steps: Sequence[Indices], widths: Indices, world_size: int) -> list[list[Indices]]:
    """Cut the pairs of a step, in order, into a part of about as many padded tokens for each rank.

    `widths` are the lengths of the pairs' longer sides. Every rank gets equally many micro-steps, the last of them
    empty where it has fewer. Which pairs a step holds does not depend on the number of ranks, and one rank gets the
    micro-steps as they are.
    """
    costs = [np.full(len(rows), int(widths[rows].max())) for rows in micro_steps]
    ends = np.cumsum(np.concatenate(costs))
    middles = ends - np.concatenate(costs) / 2
    seams = ends[np.cumsum([len(rows) for rows in micro_steps]) - 1]
    part = ends[-1] / world_size
    borders = part * np.arange(1, world_size)
    nearest = seams[np.abs(seams[None, :] - borders[:, None]).argmin(axis=1)]
    borders = np.where(np.abs(nearest - borders) <= MAX_BORDER_SHIFT * part, nearest, borders)
    rank_of = np.searchsorted(borders, middles)
    starts = np.cumsum([0, *(len(rows) for rows in micro_steps)])
    shares: list[list[Indices]] = [[] for _ in range(world_size)]
    for rows, start in zip(micro_steps, starts, strict=False):
        ranks = rank_of[start : start + len(rows)]
        for rank in np.unique(ranks).tolist():
            shares[rank].append(rows[ranks == rank])
    most = max(map(len, shares))
    empty = np.zeros(0, np.int64)
    return [[*own, *[empty] * (most - len(own))] for own in shares]


def nonempty_micro_steps(shares: Sequence[Sequence[Indices]]) -> list[Indices]:
    """List the micro-steps of all ranks that have rows."""
    return [rows for rows in chain(*shares) if len(rows)]


def collate_rank(shares: Sequence[Sequence[Indices]], rank: int, collate: Callable[[Indices], BatchT]) -> list[BatchT]:
    """Collate the micro-steps of a rank.

    One without rows predicts nothing, but is computed all the same: every rank takes part in every exchange.
    """
    first = nonempty_micro_steps(shares)[0][:1]
    return [collate(rows) if len(rows) else collate(first).idle() for rows in shares[rank]]
