"""Whether a system is right as often as it is sure: what it says with a probability of 0.8 should be right in 80 of 100
cases (Guo et al. 2017, arXiv:1706.04599).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from .edits import matching_tokens

T = TypeVar("T")
BINS = 10
ROUNDING = 1e-3
"""Nats that a log-probability may be above 0."""


@dataclass(frozen=True)
class Bin:
    """Answers of about the same probability."""

    count: int
    confidence: float | None
    """Their mean probability; None where there are none."""
    accuracy: float | None
    """The share of them that is right."""


@dataclass(frozen=True)
class Calibration:
    """Probabilities of answers beside how many of them are right."""

    count: int
    confidence: float
    """The mean probability."""
    accuracy: float
    """The share that is right."""
    expected_error: float
    """How far the two lie apart in each bin, as the mean over all answers: the expected calibration error."""
    bins: list[Bin]
    """Of equally wide ranges of probability, from 0 to 1."""


def calibration_of(probs: Sequence[float], is_right: Sequence[bool], bins: int = BINS) -> Calibration:
    """Compare probabilities with what came true.

    Args:
        probs: of each answer, between 0 and 1.
        is_right: whether the answer is right, as many.
        bins: equally wide ranges of probability.

    Raises:
        ValueError: there is no answer, not one verdict for each, fewer than one bin, or a probability is none.
    """
    sure, right = np.array(probs, float), np.array(is_right, float)
    if len(sure) != len(right) or not len(sure):
        raise ValueError(f"Each of 1 or more answers needs a verdict, but there are {len(sure)} and {len(right)}.")
    if bins < 1:
        raise ValueError(f"`bins` must be at least 1, but is {bins} instead.")
    if not ((sure >= 0) & (sure <= 1)).all():
        raise ValueError("`probs` must be probabilities, between 0 and 1.")
    places = np.minimum((sure * bins).astype(int), bins - 1)
    counts = np.bincount(places, minlength=bins)
    sums_sure, sums_right = (np.bincount(places, values, minlength=bins) for values in (sure, right))
    found = [
        Bin(int(count), float(sum_sure / count), float(sum_right / count)) if count else Bin(0, None, None)
        for count, sum_sure, sum_right in zip(counts, sums_sure, sums_right, strict=True)
    ]
    error = float(np.abs(sums_sure - sums_right).sum() / len(sure))
    return Calibration(len(sure), float(sure.mean()), float(right.mean()), error, found)


def calibration_of_tokens(
    hypotheses: Sequence[Sequence[T]], references: Sequence[Sequence[T]], log_probs: Sequence[Sequence[float]]
) -> Calibration:
    """Compare the probabilities of tokens, given as nats, with which are right.

    A token is right where the alignment with the fewest edits puts it on the same token of the reference (Wang et al.
    2020, arXiv:2005.00963, take that of TER).

    Raises:
        ValueError: there is no token, not one log-probability for each, or what `calibration_of` raises.
    """
    is_right: list[bool] = []
    for reference, hypothesis, row in zip(references, hypotheses, log_probs, strict=True):
        if len(hypothesis) != len(row):
            raise ValueError(f"A hypothesis of {len(hypothesis)} tokens has {len(row)} log-probabilities.")
        is_right += matching_tokens(reference, hypothesis)
    if not is_right:
        raise ValueError("All hypotheses are empty: there is no token to compare.")
    return calibration_of([_prob(each) for row in log_probs for each in row], is_right)


def calibration_of_lines(
    hypotheses: Sequence[Sequence[T]], references: Sequence[Sequence[T]], log_probs: Sequence[float]
) -> Calibration:
    """Compare the probabilities of whole answers, given as nats, with which are the reference.

    Raises:
        ValueError: what `calibration_of` raises.
    """
    is_right = [list(pair[0]) == list(pair[1]) for pair in zip(hypotheses, references, strict=True)]
    return calibration_of([_prob(each) for each in log_probs], is_right)


def _prob(log_prob: float) -> float:
    """Give the probability; a sum in fp32 may be above 0 by its rounding."""
    if not log_prob <= ROUNDING:  # NaN is none either
        raise ValueError(f"A log-probability must be at most 0, but is {log_prob} instead.")
    return math.exp(min(0.0, log_prob))
