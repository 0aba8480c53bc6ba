"""A step's pairs dealt to ranks, each about as much to compute, so that none waits. Lengths in, indices out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from typing import TypeVar

import numpy as np

from seqlab.data.batch import Batch
from seqlab.data.plan import Indices

B = TypeVar("B", bound=Batch)

TOLERANCE = 1 / 16
"""Share of a rank's part that a border may move to fall between two micro-steps. Without it, micro-steps that are not
quite equally large would be cut into a large and a tiny one, each with the cost of a forward and backward pass."""


def share(micro_steps: Sequence[Indices], widths: Indices, world_size: int) -> list[list[Indices]]:
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
    borders = np.where(np.abs(nearest - borders) <= TOLERANCE * part, nearest, borders)
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


def parts_of(shares: Sequence[Sequence[Indices]]) -> list[Indices]:
    """List the micro-steps of all ranks that have rows."""
    return [rows for rows in chain(*shares) if len(rows)]


def batches_of(shares: Sequence[Sequence[Indices]], rank: int, collate: Callable[[Indices], B]) -> list[B]:
    """Collate the micro-steps of a rank.

    One without rows predicts nothing, but is computed all the same: every rank takes part in every exchange.
    """
    first = parts_of(shares)[0][:1]
    return [collate(rows) if len(rows) else collate(first).idle() for rows in shares[rank]]
