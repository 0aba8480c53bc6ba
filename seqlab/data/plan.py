"""The plan of a chunk: which pairs make a micro-step, which micro-steps make a step. Lengths in, indices out."""

from __future__ import annotations

import heapq
import math

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]

NUDGED_SHARE = 0.1
"""Share of the pairs that are sorted as if they were one token longer. Without it, pairs of a rare length would meet
again in every epoch; it adds about 0.6 points to the padding share."""


def plan_chunk(
    src_lengths: Indices,
    tgt_lengths: Indices,
    rng: np.random.Generator,
    *,
    batch_tokens: int,
    micro_batch_tokens: int,
) -> list[list[Indices]]:
    """Cut pairs into steps of micro-steps, each an array of indices; every pair is in exactly one.

    Lengths count the special id of their side. A micro-step's longer side has at most `micro_batch_tokens` padded
    tokens, unless it is a single pair. There are as many steps as bring their mean closest to `batch_tokens` target
    tokens, and the micro-steps are dealt so that the steps come out nearly equal.
    """
    order = length_order(src_lengths, tgt_lengths, rng)
    widths = np.maximum(src_lengths, tgt_lengths)
    num_steps = max(1, round(int(tgt_lengths.sum()) / batch_tokens))
    # As small as lets every step have the same number of micro-steps: ranks then finish together.
    count = len(cut_micro_steps(order, widths, micro_batch_tokens))
    budget = math.ceil(micro_batch_tokens * count / (num_steps * math.ceil(count / num_steps)))
    # The first micro-step is a random part of a whole one, so that the cuts after it move between epochs.
    micro_steps = cut_micro_steps(order, widths, budget, int(budget * rng.uniform(0.3, 1.0)))
    tokens = [int(tgt_lengths[micro_step].sum()) for micro_step in micro_steps]
    return deal_micro_steps(micro_steps, tokens, min(num_steps, len(micro_steps)), rng)


def length_order(
    src_lengths: Indices, tgt_lengths: Indices, rng: np.random.Generator, nudged_share: float = NUDGED_SHARE
) -> Indices:
    """Sort by the longer side, then by the difference of the sides, there and back; equal pairs in random order.

    The difference runs from negative to positive for one length of the longer side and back for the next, so that
    neighbours are alike on both sides also where the length changes.
    """
    nudges = rng.random(len(src_lengths)) < nudged_share
    longer = np.maximum(src_lengths, tgt_lengths) + nudges
    direction = np.where((longer + rng.integers(2)) % 2 == 0, 1, -1)
    ties = rng.random(len(src_lengths))
    return np.lexsort((ties, direction * (src_lengths - tgt_lengths), longer))


def cut_micro_steps(order: Indices, widths: Indices, budget: int, first_budget: int | None = None) -> list[Indices]:
    """Cut a sequence of pairs where the next one would make the rows times the widest exceed the budget."""
    micro_steps = []
    start = widest = 0
    limit = budget if first_budget is None else first_budget
    for index, width in enumerate(widths[order].tolist()):
        widest = max(widest, width)
        if index > start and (index - start + 1) * widest > limit:
            micro_steps.append(order[start:index])
            start, widest, limit = index, width, budget
    if len(order):
        micro_steps.append(order[start:])
    return micro_steps


def deal_micro_steps(
    micro_steps: list[Indices], tokens: list[int], num_steps: int, rng: np.random.Generator
) -> list[list[Indices]]:
    """Deal micro-steps to steps, the largest first and always to the step with the fewest tokens, in random order.

    Sizes are compared coarsely, so that which of the many nearly equal micro-steps meet is left to chance. No step is
    without one, given at least `num_steps`.
    """
    shuffled = rng.permutation(len(micro_steps)).tolist()
    coarse = max(1, max(tokens, default=1) // 16)
    largest_first = sorted(shuffled, key=lambda index: -(tokens[index] // coarse))
    steps: list[list[Indices]] = [[] for _ in range(num_steps)]
    fewest = [(0, step) for step in range(num_steps)]
    for index in largest_first:
        total, step = heapq.heappop(fewest)
        steps[step].append(micro_steps[index])
        heapq.heappush(fewest, (total + tokens[index], step))
    return [steps[step] for step in rng.permutation(num_steps)]
