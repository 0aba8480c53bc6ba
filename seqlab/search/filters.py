"""Filters of the sampling distribution (top-k, top-p, ...): pure functions over the scores (N, W) of the next id.

Each returns the scores with -inf for the ids that it drops, and never drops all. The scores of a row are
log-probabilities up to a constant: a filter that needs probabilities first normalizes over the ids that previous
filters have kept. Among equal scores the lower ids are kept. Each row needs a score above -inf, and no score may be
NaN.

A row's result does not depend on the other rows: probabilities are summed as integers, whose sum is exact in any order.
A sum of floating-point numbers depends on how a device divides the batch among its threads.
"""

import math

import torch
from torch import Tensor

from seqlab.models.outputs import NEG_INF
from seqlab.search.config import SamplingConfig
from seqlab.search.top import top_ids

UNITS = 2.0**52
"""Integer that represents a probability of 1: fp64 represents all integers up to twice this exactly."""
PARTIAL_SORT_SIZES = (64, 1024)
"""Numbers of best ids that are sorted first. Sorting the full vocabulary takes far longer, and few rows need it."""


def apply_filters(scores: Tensor, ids: Tensor, config: SamplingConfig) -> Tensor:
    """Apply the configured filters, in the same order as Hugging Face Transformers.

    The order: repetition penalty, temperature, top-k, top-p, min-p, typical. ids: (N, T), the ids of each row so far.
    """
    if config.repetition_penalty != 1:
        scores = penalize_repeats(scores, ids, config.repetition_penalty)
    if config.temperature != 1:
        scores = apply_temperature(scores, config.temperature)
    if config.top_k > 0:
        scores = keep_top_k(scores, config.top_k)
    if config.top_p < 1:
        scores = keep_top_p(scores, config.top_p)
    if config.min_p > 0:
        scores = keep_min_p(scores, config.min_p)
    if config.typical_p < 1:
        scores = keep_typical(scores, config.typical_p)
    return scores


def penalize_repeats(scores: Tensor, ids: Tensor, penalty: float) -> Tensor:
    """Raise the probabilities of the ids that a row already contains to the power `penalty`. ids: (N, T).

    CTRL (Keskar et al. 2019, arXiv:1909.05858) divides positive logits and multiplies negative ones, so its effect
    depends on the arbitrary constant in a model's logits. Here log-probabilities, which are never positive, are
    multiplied. A probability of 1 is not changed.
    """
    log_probs = torch.log_softmax(scores, dim=1)
    return log_probs.scatter(1, ids, log_probs.gather(1, ids) * penalty)


def apply_temperature(scores: Tensor, temperature: float) -> Tensor:
    """Divide the scores by the temperature, after a shift to a maximum of 0, which is finite at any temperature."""
    return (scores - scores.amax(dim=1, keepdim=True)) / temperature


def keep_top_k(scores: Tensor, top_k: int) -> Tensor:
    """Keep exactly the `top_k` best ids, even if scores are equal (Fan et al. 2018, arXiv:1805.04833)."""
    values, ids = top_ids(scores, min(top_k, scores.shape[1]))
    return torch.full_like(scores, NEG_INF).scatter(1, ids, values)


def keep_top_p(scores: Tensor, top_p: float) -> Tensor:
    """Keep the fewest best ids whose probabilities sum to `top_p` (nucleus: Holtzman et al. 2020, arXiv:1904.09751)."""
    return _keep_mass(scores, scores, top_p)


def keep_min_p(scores: Tensor, min_p: float) -> Tensor:
    """Keep the ids with at least `min_p` times the highest probability (Nguyen et al. 2024, arXiv:2407.01082)."""
    threshold = scores.amax(dim=1, keepdim=True) + math.log(min_p)
    return scores.masked_fill(scores < threshold, NEG_INF)


def keep_typical(scores: Tensor, typical_p: float) -> Tensor:
    """Locally typical sampling: keep the fewest, most typical ids whose probabilities sum to `typical_p`.

    Ids are ordered by the distance of -log p from its expectation, the entropy, so the most probable id may be dropped
    (Meister et al. 2023, arXiv:2202.00666).
    """
    information = -torch.log_softmax(scores.double(), dim=1)
    probs = integer_probs(scores)
    # int64, because the sum may be log(W) times `UNITS`. If a probability is 0, its information may be infinite.
    terms = (probs * information).masked_fill(probs == 0, 0.0).long()
    entropy = terms.sum(dim=1, keepdim=True) / UNITS
    return _keep_mass(scores, -(information - entropy).abs(), typical_p)


def integer_probs(scores: Tensor) -> Tensor:
    """Compute the probabilities of all ids in units of 1 / `UNITS`, rounded down: (N, W) float64, 0 for -inf."""
    # Converted first: a softmax from fp32 to fp64 in one call takes ten times as long.
    return torch.softmax(scores.double(), dim=1).mul_(UNITS).floor_()


def _keep_mass(scores: Tensor, keys: Tensor, mass: float) -> Tensor:
    """Keep the fewest ids, in descending order of the keys (N, W), whose probabilities sum to `mass`."""
    probs = integer_probs(scores)
    target = probs.sum(dim=1, keepdim=True) * mass
    kept = torch.full_like(scores, NEG_INF)
    rows = torch.arange(len(scores), device=scores.device)  # rows that are not completed yet
    width = scores.shape[1]
    for count in (*(count for count in PARTIAL_SORT_SIZES if 8 * count <= width), width):
        _, ids = top_ids(keys[rows], count)
        sorted_probs = probs[rows].gather(1, ids)
        sums = sorted_probs.cumsum(dim=1)
        values = scores[rows].gather(1, ids).masked_fill(sums - sorted_probs >= target[rows], NEG_INF)
        kept[rows] = kept[rows].scatter(1, ids, values)
        rows = rows[sums[:, -1] < target[rows, 0]]
        if len(rows) == 0:
            break
    return kept
