"""Division of a chunk of pairs into steps of micro-steps, by their lengths."""

from __future__ import annotations

import heapq
import math

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]

NUDGED_SHARE = 0.1
"""Share of the pairs that are sorted as if they were one token longer. Otherwise, pairs of a rare length would be in
the same batch in every epoch. This adds about 0.6 percentage points of padding."""


def plan_chunk(
    src_lengths: Indices,
    tgt_lengths: Indices,
    rng: np.random.Generator,
    *,
    batch_tokens: int,
    micro_batch_tokens: int,
) -> list[list[Indices]]:
    """Divide pairs into steps of micro-steps, which are arrays of indices; every pair is in exactly one micro-step.

    Lengths include the special id of their side. Each side of a micro-step has at most `micro_batch_tokens` padded
    tokens, unless the micro-step is a single pair. The number of steps is chosen so that their mean size is closest to
    `batch_tokens` target tokens. Micro-steps are distributed so that all steps have nearly the same size.
    """
    order = length_order(src_lengths, tgt_lengths, rng)
    widths = np.maximum(src_lengths, tgt_lengths)
    num_steps = max(1, round(int(tgt_lengths.sum()) / batch_tokens))
    # The smallest budget with equally many micro-steps in every step, so that all ranks finish at the same time.
    count = len(cut_micro_steps(order, widths, micro_batch_tokens))
    budget = math.ceil(micro_batch_tokens * count / (num_steps * math.ceil(count / num_steps)))
    # The first micro-step has a random share of the budget, so that the boundaries differ between epochs.
    micro_steps = cut_micro_steps(order, widths, budget, int(budget * rng.uniform(0.3, 1.0)))
    tokens = [int(tgt_lengths[micro_step].sum()) for micro_step in micro_steps]
    return distribute_micro_steps(micro_steps, tokens, min(num_steps, len(micro_steps)), rng)


def length_order(
    src_lengths: Indices, tgt_lengths: Indices, rng: np.random.Generator, nudged_share: float = NUDGED_SHARE
) -> Indices:
    """Sort pairs by their longer side, then by the difference of the sides, in alternating direction; ties are random.

    The difference ascends for one length of the longer side and descends for the next, so that neighbors have similar
    lengths on both sides even where the longer side changes.
    """
    nudges = rng.random(len(src_lengths)) < nudged_share
    longer = np.maximum(src_lengths, tgt_lengths) + nudges
    direction = np.where((longer + rng.integers(2)) % 2 == 0, 1, -1)
    ties = rng.random(len(src_lengths))
    return np.lexsort((ties, direction * (src_lengths - tgt_lengths), longer))


def cut_micro_steps(order: Indices, widths: Indices, budget: int, first_budget: int | None = None) -> list[Indices]:
    """Cut a sequence of pairs into micro-steps with a padded size (rows times maximum width) within the budget."""
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


def distribute_micro_steps(
    micro_steps: list[Indices], tokens: list[int], num_steps: int, rng: np.random.Generator
) -> list[list[Indices]]:
    """Distribute micro-steps over steps, the largest first and each to the step with the fewest tokens.

    The order of steps is random. Sizes are rounded for comparison, so that micro-steps of nearly equal size are
    combined at random. Every step gets a micro-step if there are at least `num_steps`.
    """
    shuffled = rng.permutation(len(micro_steps)).tolist()
    size_unit = max(1, max(tokens, default=1) // 16)
    largest_first = sorted(shuffled, key=lambda index: -(tokens[index] // size_unit))
    steps: list[list[Indices]] = [[] for _ in range(num_steps)]
    step_tokens = [(0, step) for step in range(num_steps)]
    for index in largest_first:
        total, step = heapq.heappop(step_tokens)
        steps[step].append(micro_steps[index])
        heapq.heappush(step_tokens, (total + tokens[index], step))
    return [steps[step] for step in rng.permutation(num_steps)]
