"""Errors of numbers and of sets of labels, against scikit-learn."""

import numpy as np
import pytest

from seqlab.evaluation import compare, evaluate

sklearn = pytest.importorskip("sklearn.metrics")
RNG = np.random.default_rng(5)
RIGHT = RNG.normal(3, 2, (40, 2))
FOUND = RIGHT + RNG.normal(0, 1, (40, 2))


def lines(values: np.ndarray) -> list[str]:
    return [" ".join(f"{each!r}" for each in row) for row in values.tolist()]


def test_errors_are_those_of_scikit_learn() -> None:
    scores = evaluate(lines(FOUND), [lines(RIGHT)], ["mae", "rmse", "r2"])
    assert scores["mae"].value == pytest.approx(sklearn.mean_absolute_error(RIGHT, FOUND))
    assert scores["rmse"].value == pytest.approx(np.sqrt(sklearn.mean_squared_error(RIGHT, FOUND)))
    assert scores["r2"].value == pytest.approx(100 * sklearn.r2_score(RIGHT, FOUND))
    assert not scores["mae"].higher_is_better
    assert scores["r2"].higher_is_better


def test_variance_of_large_numbers_is_that_of_scikit_learn() -> None:
    large = 1e9 + RIGHT[:, :1]
    found = large + RNG.normal(0, 0.1, large.shape)
    score = evaluate(lines(found), [lines(large)], ["r2"])["r2"]
    assert score.value == pytest.approx(100 * sklearn.r2_score(large, found), abs=1e-3)


def test_labels_are_those_of_scikit_learn() -> None:
    given, there = RNG.random((30, 4)) < 0.4, RNG.random((30, 4)) < 0.4
    names = np.array(["a", "b", "c", "d"])
    written = [[" ".join(names[row]) for row in rows] for rows in (given, there)]
    scores = evaluate(written[0], [written[1]], ["micro_f1", "label_macro_f1"])
    assert scores["micro_f1"].value == pytest.approx(100 * sklearn.f1_score(there, given, average="micro"))
    assert scores["label_macro_f1"].value == pytest.approx(100 * sklearn.f1_score(there, given, average="macro"))


def test_a_better_system_is_found() -> None:
    worse = RIGHT + RNG.normal(0, 3, RIGHT.shape)
    found = compare(lines(worse), lines(FOUND), [lines(RIGHT)], ["rmse"])["rmse"]
    assert found.p_value < 0.01


@pytest.mark.parametrize(
    ("hypotheses", "message"),
    [
        (["1", "x"], "Line 2 of the hypotheses must hold numbers, but is x"),
        (["1", "1 2"], "Line 2 of the hypotheses holds 2 numbers, but the first 1"),
        (["1 1", "1 2"], "The hypotheses hold 2 numbers on each line, but the references 1"),
    ],
)
def test_invalid_numbers_are_refused(hypotheses: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        evaluate(hypotheses, [["1", "2"]], ["mae"])
