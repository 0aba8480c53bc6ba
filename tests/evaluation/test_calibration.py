"""Calibration error of simulated systems and of hand-counted examples."""

import math
import random

import pytest

from seqlab.evaluation import calibration_of_lines, calibration_of_tokens
from seqlab.evaluation.calibration import calibration_of
from seqlab.evaluation.edits import count_edits, matching_tokens


def test_expected_calibration_error_of_simulated_systems() -> None:
    draw = random.Random(0)
    probs = [draw.random() for _ in range(200_000)]
    calibrated = calibration_of(probs, [draw.random() < prob for prob in probs])
    assert calibrated.expected_error < 0.01
    assert calibrated.accuracy == pytest.approx(0.5, abs=0.01)
    overconfident = calibration_of(probs, [draw.random() < prob / 2 for prob in probs])
    assert overconfident.expected_error == pytest.approx(0.25, abs=0.01)
    underconfident = calibration_of([prob / 2 for prob in probs], [draw.random() < prob for prob in probs])
    assert underconfident.expected_error == pytest.approx(0.25, abs=0.01)


def test_bins_match_hand_counts() -> None:
    found = calibration_of([0.0, 0.1, 0.4, 0.6, 0.9, 1.0], [False, True, False, True, True, True], bins=2)
    low, high = found.bins
    assert (low.count, high.count, found.count) == (3, 3, 6)
    assert (low.confidence, low.accuracy) == (pytest.approx(0.5 / 3), pytest.approx(1 / 3))
    assert (high.confidence, high.accuracy) == (pytest.approx(2.5 / 3), 1.0)
    assert found.expected_error == pytest.approx((abs(0.5 - 1) + abs(2.5 - 3)) / 6)
    assert (found.confidence, found.accuracy) == (pytest.approx(0.5), pytest.approx(4 / 6))
    assert [(each.count, each.confidence) for each in calibration_of([0.2], [True], bins=3).bins[1:]] == [(0, None)] * 2


def test_invalid_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="have 0 and 0"):
        calibration_of([], [])
    with pytest.raises(ValueError, match="have 1 and 2"):
        calibration_of([0.5], [True, True])
    with pytest.raises(ValueError, match="between 0 and 1"):
        calibration_of([1.5], [True])
    with pytest.raises(ValueError, match="between 0 and 1"):
        calibration_of([math.nan], [True])
    with pytest.raises(ValueError, match="at least 1, but is 0"):
        calibration_of([0.5], [True], bins=0)


def test_invalid_probabilities_are_refused() -> None:
    with pytest.raises(ValueError, match="must be at most 0, but is 800"):
        calibration_of_lines([[1]], [[1]], [800.0])
    with pytest.raises(ValueError, match="must be at most 0, but is nan"):
        calibration_of_lines([[1]], [[1]], [math.nan])
    with pytest.raises(ValueError, match="of 2 tokens has 1 log-prob"):
        calibration_of_tokens([[1, 2], [3]], [[1], [3]], [[0.0], [0.0, -9.0]])
    with pytest.raises(ValueError, match="All hypotheses are empty"):
        calibration_of_tokens([[], []], [[1], [3]], [[], []])


def test_tokens_are_correct_if_the_minimal_alignment_matches_them() -> None:
    assert matching_tokens("abcd", "axc") == [True, False, True]
    assert matching_tokens("abc", "zabc") == [False, True, True, True]
    assert matching_tokens([], [1]) == [False]
    draw = random.Random(1)
    for _ in range(200):
        a, b = ("".join(draw.choices("abc", k=draw.randint(0, 8))) for _ in range(2))
        edits = count_edits(a, b)
        assert sum(matching_tokens(a, b)) == len(a) - edits.substitutions - edits.deletions


def test_calibration_of_tokens_and_lines() -> None:
    hypotheses, references = [[1, 2, 3], [4]], [[1, 3], [4]]
    log_probs = [[math.log(0.5)] * 3, [0.0]]
    tokens = calibration_of_tokens(hypotheses, references, log_probs)
    assert (tokens.count, tokens.accuracy, tokens.confidence) == (4, 0.75, pytest.approx(2.5 / 4))
    lines = calibration_of_lines(hypotheses, references, [math.log(0.125), 1e-7])  # rounding may lead to values above 0
    assert (lines.count, lines.accuracy) == (2, 0.5)
    assert lines.expected_error == pytest.approx(0.125 / 2)
