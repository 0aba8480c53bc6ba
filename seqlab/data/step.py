"""Training steps: the batches of one update and their position in the data, and their division among ranks."""

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
"""Maximum shift of a border between ranks to the nearest boundary of micro-steps, as a share of a rank's part. Without
shifts, a micro-step could be split into a large and a tiny one, each with a forward and backward pass."""


@dataclass(frozen=True, order=True)
class Position:
    """Position of a step in the data; all three count from 0."""

    epoch: int
    chunk: int
    step: int


def next_position(after: Position | None) -> Position:
    """Return the position after a step; if its chunk ends there, this means the first step of the next chunk."""
    return Position(0, 0, 0) if after is None else Position(after.epoch, after.chunk, after.step + 1)


@dataclass(frozen=True)
class TrainingStep(Generic[CovariantBatchT]):
    """One rank's micro-steps of an update; token counts are over all ranks, and 0 for data without tokens."""

    position: Position
    epoch: float
    """Number of passes over the corpora after this step."""
    micro_steps: Sequence[CovariantBatchT]
    num_tgt_tokens: int = 0
    """Predicted tokens, including eos; for masked text, input tokens."""
    padded_tgt_tokens: int = 0
    """Elements of the target tensors, padding included; the share of padding is 1 - num_tgt_tokens /
    padded_tgt_tokens."""
    num_src_tokens: int = 0
    """Source tokens, including eos; 0 for data without a source side."""
    padded_src_tokens: int = 0
    """Elements of the source tensors, padding included."""
    lr_factor: float = 1.0
    """Factor by which the learning rate is multiplied in this step."""


def split_among_ranks(micro_steps: Sequence[Indices], widths: Indices, world_size: int) -> list[list[Indices]]:
    """Split the pairs of a step, in order, among ranks, with about equally many padded tokens for each.

    `widths` are the lengths of the longer sides of pairs. Every rank gets equally many micro-steps; the last ones of a
    rank may be empty. The pairs of a step do not depend on the number of ranks. A single rank gets the micro-steps
    unchanged.
    """
    costs = [np.full(len(rows), int(widths[rows].max())) for rows in micro_steps]
    ends = np.cumsum(np.concatenate(costs))
    middles = ends - np.concatenate(costs) / 2
    micro_step_ends = ends[np.cumsum([len(rows) for rows in micro_steps]) - 1]
    part = ends[-1] / world_size
    borders = part * np.arange(1, world_size)
    nearest = micro_step_ends[np.abs(micro_step_ends[None, :] - borders[:, None]).argmin(axis=1)]
    borders = np.where(np.abs(nearest - borders) <= MAX_BORDER_SHIFT * part, nearest, borders)
    rank_of = np.searchsorted(borders, middles)
    starts = np.cumsum([0, *(len(rows) for rows in micro_steps)])
    shares: list[list[Indices]] = [[] for _ in range(world_size)]
    for rows, start in zip(micro_steps, starts, strict=False):
        ranks = rank_of[start : start + len(rows)]
        for rank in np.unique(ranks).tolist():
            shares[rank].append(rows[ranks == rank])
    num_micro_steps = max(map(len, shares))
    empty = np.zeros(0, np.int64)
    return [[*share, *[empty] * (num_micro_steps - len(share))] for share in shares]


def nonempty_micro_steps(shares: Sequence[Sequence[Indices]]) -> list[Indices]:
    """Return the micro-steps of all ranks that are not empty."""
    return [rows for rows in chain(*shares) if len(rows)]


def collate_rank(shares: Sequence[Sequence[Indices]], rank: int, collate: Callable[[Indices], BatchT]) -> list[BatchT]:
    """Collate the micro-steps of a rank.

    An empty micro-step becomes a batch without targets, which is computed as well, because all ranks must take part in
    every collective operation.
    """
    first = nonempty_micro_steps(shares)[0][:1]
    return [collate(rows) if len(rows) else collate(first).without_targets() for rows in shares[rank]]
