"""Thresholds of labels, against every threshold there is."""

import numpy as np
import pytest

from seqlab.data.targets import LabelsTarget

sklearn = pytest.importorskip("sklearn.metrics")


@pytest.mark.parametrize("seed", range(5))
def test_no_threshold_has_a_higher_f1(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(-6, 6, (200, 3)) / 2.0  # with many that are equal
    right = rng.random((200, 3)) < 1 / (1 + np.exp(1 - scores))
    chosen = LabelsTarget(["a", "b", "c"], ["a", "b", "c"]).fit_decisions(scores, right.astype(np.float32))
    chances = 1 / (1 + np.exp(-scores))
    for number, label in enumerate("abc"):

        def f1(threshold: float, number: int = number) -> float:
            return sklearn.f1_score(right[:, number], chances[:, number] > threshold)

        assert f1(chosen[f"threshold.{label}"]) == max(f1(t) for t in [0, *np.unique(chances[:, number])])
