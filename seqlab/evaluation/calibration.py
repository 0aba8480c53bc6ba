"""Calibration: expected calibration error and reliability bins (Guo et al. 2017, arXiv:1706.04599).

With good calibration, 80 of 100 predictions with a probability of 0.8 are correct.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from .edits import matching_tokens

T = TypeVar("T")
NUM_BINS = 10
"""Default number of bins."""
MAX_LOG_PROB = 1e-3
"""Highest accepted log-probability in nats: rounding errors may raise it above 0."""


@dataclass(frozen=True)
class Bin:
    """Predictions in a range of probabilities."""

    count: int
    confidence: float | None
    """Mean probability; None if there are no predictions."""
    accuracy: float | None
    """Share of correct predictions, 0 to 1; None if there are no predictions."""


@dataclass(frozen=True)
class Calibration:
    """Comparison of the probabilities of predictions with their accuracy."""

    count: int
    confidence: float
    """Mean probability."""
    accuracy: float
    """Share of correct predictions, 0 to 1."""
    expected_error: float
    """Expected calibration error: |confidence - accuracy| of each bin, averaged over all predictions."""
    bins: list[Bin]
    """Bins of equal width, from probability 0 to 1."""


def calibration_of(probs: Sequence[float], is_correct: Sequence[bool], bins: int = NUM_BINS) -> Calibration:
    """Compute the calibration of predictions.

    Args:
        probs: probability of each prediction, between 0 and 1.
        is_correct: whether each prediction is correct.
        bins: number of bins of equal width.

    Raises:
        ValueError: there are no predictions, the lengths of `probs` and `is_correct` differ, `bins` is below 1, or a
            probability is not between 0 and 1.
    """
    confidences, correct = np.array(probs, float), np.array(is_correct, float)
    if len(confidences) != len(correct) or not len(confidences):
        raise ValueError(
            "`probs` and `is_correct` must have the same length, at least 1, but have "
            f"{len(confidences)} and {len(correct)}."
        )
    if bins < 1:
        raise ValueError(f"`bins` must be at least 1, but is {bins} instead.")
    if not ((confidences >= 0) & (confidences <= 1)).all():
        raise ValueError("`probs` must be probabilities, between 0 and 1.")
    bin_indices = np.minimum((confidences * bins).astype(int), bins - 1)
    counts = np.bincount(bin_indices, minlength=bins)
    prob_sums, correct_sums = (np.bincount(bin_indices, values, minlength=bins) for values in (confidences, correct))
    filled = [
        Bin(int(count), float(prob_sum / count), float(correct_sum / count)) if count else Bin(0, None, None)
        for count, prob_sum, correct_sum in zip(counts, prob_sums, correct_sums, strict=True)
    ]
    error = float(np.abs(prob_sums - correct_sums).sum() / len(confidences))
    return Calibration(len(confidences), float(confidences.mean()), float(correct.mean()), error, filled)


def calibration_of_tokens(
    hypotheses: Sequence[Sequence[T]], references: Sequence[Sequence[T]], log_probs: Sequence[Sequence[float]]
) -> Calibration:
    """Compute the calibration of tokens from their log-probabilities in nats.

    A token is correct if the alignment with the fewest edits aligns it with the same token of the reference. (Wang et
    al. 2020, arXiv:2005.00963, use the alignment of TER.)

    Raises:
        ValueError: there are no tokens, or tokens and log-probabilities differ in number; errors of `calibration_of`.
    """
    is_correct: list[bool] = []
    for reference, hypothesis, row in zip(references, hypotheses, log_probs, strict=True):
        if len(hypothesis) != len(row):
            raise ValueError(f"A hypothesis of {len(hypothesis)} tokens has {len(row)} log-probabilities.")
        is_correct += matching_tokens(reference, hypothesis)
    if not is_correct:
        raise ValueError("All hypotheses are empty: there is no token to compare.")
    return calibration_of([_prob(log_prob) for row in log_probs for log_prob in row], is_correct)


def calibration_of_lines(
    hypotheses: Sequence[Sequence[T]], references: Sequence[Sequence[T]], log_probs: Sequence[float]
) -> Calibration:
    """Compute the calibration of hypotheses from their log-probabilities in nats; only exact matches are correct.

    Raises:
        ValueError: errors of `calibration_of`.
    """
    is_correct = [list(pair[0]) == list(pair[1]) for pair in zip(hypotheses, references, strict=True)]
    return calibration_of([_prob(log_prob) for log_prob in log_probs], is_correct)


def _prob(log_prob: float) -> float:
    """Convert a log-probability, which may be slightly above 0 as a sum in fp32, to a probability."""
    if not log_prob <= MAX_LOG_PROB:  # also True for NaN
        raise ValueError(f"A log-probability must be at most 0, but is {log_prob} instead.")
    return math.exp(min(0.0, log_prob))
