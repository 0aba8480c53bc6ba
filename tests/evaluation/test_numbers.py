"""Metrics of numbers and of sets of labels, against scikit-learn."""

from typing import Any

import numpy as np
import pytest

from seqlab.evaluation import compare, evaluate

RNG = np.random.default_rng(5)
TARGETS = RNG.normal(3, 2, (40, 2))
PREDICTIONS = TARGETS + RNG.normal(0, 1, (40, 2))


@pytest.fixture(scope="module")
def sklearn() -> Any:
    return pytest.importorskip("sklearn.metrics")


def to_lines(values: np.ndarray) -> list[str]:
    return [" ".join(f"{each!r}" for each in row) for row in values.tolist()]


def test_regression_metrics_match_scikit_learn(sklearn: Any) -> None:
    scores = evaluate(to_lines(PREDICTIONS), [to_lines(TARGETS)], ["mae", "rmse", "r2"])
    assert scores["mae"].value == pytest.approx(sklearn.mean_absolute_error(TARGETS, PREDICTIONS))
    assert scores["rmse"].value == pytest.approx(np.sqrt(sklearn.mean_squared_error(TARGETS, PREDICTIONS)))
    assert scores["r2"].value == pytest.approx(100 * sklearn.r2_score(TARGETS, PREDICTIONS))
    assert not scores["mae"].higher_is_better
    assert scores["r2"].higher_is_better


def test_r2_of_large_numbers_matches_scikit_learn(sklearn: Any) -> None:
    large = 1e9 + TARGETS[:, :1]
    found = large + RNG.normal(0, 0.1, large.shape)
    score = evaluate(to_lines(found), [to_lines(large)], ["r2"])["r2"]
    assert score.value == pytest.approx(100 * sklearn.r2_score(large, found), abs=1e-3)


def test_f1_of_labels_matches_scikit_learn(sklearn: Any) -> None:
    predicted, true = RNG.random((30, 4)) < 0.4, RNG.random((30, 4)) < 0.4
    names = np.array(["a", "b", "c", "d"])
    label_lines = [[" ".join(names[row]) for row in rows] for rows in (predicted, true)]
    scores = evaluate(label_lines[0], [label_lines[1]], ["micro_f1", "label_macro_f1"])
    assert scores["micro_f1"].value == pytest.approx(100 * sklearn.f1_score(true, predicted, average="micro"))
    assert scores["label_macro_f1"].value == pytest.approx(100 * sklearn.f1_score(true, predicted, average="macro"))


def test_a_better_system_is_significantly_better() -> None:
    worse = TARGETS + RNG.normal(0, 3, TARGETS.shape)
    found = compare(to_lines(worse), to_lines(PREDICTIONS), [to_lines(TARGETS)], ["rmse"])["rmse"]
    assert found.p_value < 0.01


@pytest.mark.parametrize(
    ("hypotheses", "message"),
    [
        (["1", "x"], "Line 2 of the hypotheses must consist of numbers, but is x"),
        (["", "1"], "Line 1 of the hypotheses is empty, but must have a number"),
        (["1", "1 2"], "Line 2 of the hypotheses has 2 numbers, but the first line has 1"),
        (["1 1", "1 2"], "The hypotheses have 2 numbers on each line, but the references have 1"),
    ],
)
def test_invalid_numbers_are_refused(hypotheses: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        evaluate(hypotheses, [["1", "2"]], ["mae"])


@pytest.mark.parametrize("cell", ["1_000", "nan", "inf", "1,5", "$5"])
def test_cells_that_are_no_finite_number_are_refused(cell: str) -> None:
    with pytest.raises(ValueError, match="Line 2 of the references must consist of numbers, but is "):
        evaluate(["1", "2"], [["1", cell]], ["rmse"])


def test_small_errors_are_shown() -> None:
    score = evaluate(["0.00001", "0.00002"], [["0.00001234", "0.00002234"]], ["mae"])["mae"]
    assert " = 2.34e-06 (" in score.as_line()
