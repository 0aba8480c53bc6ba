"""Targets of tables: coverage of prediction intervals, and label thresholds with the highest F1."""

import numpy as np
import pytest

from seqlab.data.table_codec import NumberColumn
from seqlab.data.targets import LabelsTarget, NumbersTarget


@pytest.mark.parametrize("count", [19, 20, 25, 39, 100])
def test_intervals_cover_at_least_nine_of_ten_errors(count: int) -> None:
    """On average, and for any distribution (split conformal prediction)."""
    rng = np.random.default_rng(count)
    target = NumbersTarget([NumberColumn("y", 0.0, 1.0)])
    coverages = []
    for _ in range(2000):
        errors = rng.random((count, 1))
        low, high = target.fit_decisions(np.zeros((count, 1)), errors).values()
        coverages.append(high - low)  # the covered share, since errors are uniform in [0, 1]
    assert np.mean(coverages) > 0.9 - 3 * np.std(coverages) / len(coverages) ** 0.5
    assert target.fit_decisions(np.zeros((18, 1)), rng.random((18, 1))) == {}


@pytest.mark.parametrize("seed", range(5))
def test_no_threshold_has_a_higher_f1(seed: int) -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(seed)
    scores = rng.integers(-6, 6, (200, 3)) / 2.0  # with many ties
    is_positive = rng.random((200, 3)) < 1 / (1 + np.exp(1 - scores))
    chosen = LabelsTarget(["a", "b", "c"], ["a", "b", "c"]).fit_decisions(scores, is_positive.astype(np.float32))
    probs = 1 / (1 + np.exp(-scores))
    for number, label in enumerate("abc"):

        def f1(threshold: float, number: int = number) -> float:
            return sklearn.f1_score(is_positive[:, number], probs[:, number] > threshold)

        assert f1(chosen[f"threshold.{label}"]) == max(f1(t) for t in [0, *np.unique(probs[:, number])])
