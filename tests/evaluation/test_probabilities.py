"""Log loss of classes and of labels, against scikit-learn."""

import json
from typing import Any

import numpy as np
import pytest

from seqlab.evaluation import compare, evaluate

NAMES = ["a cat", "b", "c"]
RNG = np.random.default_rng(5)
PROBS = RNG.dirichlet([1, 1, 1], 40)
TARGETS = RNG.integers(0, 3, 40)


@pytest.fixture(scope="module")
def sklearn() -> Any:
    return pytest.importorskip("sklearn.metrics")


def to_lines(probs: np.ndarray) -> list[str]:
    return [json.dumps(dict(zip(NAMES, row, strict=True))) for row in probs.tolist()]


def test_log_loss_matches_scikit_learn(sklearn: Any) -> None:
    right = [NAMES[number] for number in TARGETS]
    score = evaluate(to_lines(PROBS), [right], ["log_loss"])["log_loss"]
    assert score.value == pytest.approx(sklearn.log_loss(right, PROBS, labels=NAMES))
    assert not score.higher_is_better


def test_log_loss_of_a_zero_probability_is_finite(sklearn: Any) -> None:
    certain = np.eye(3)[[0, 1, 1]]
    right = ["a cat", "b", "c"]
    score = evaluate(to_lines(certain), [right], ["log_loss"])["log_loss"]
    assert score.value == pytest.approx(sklearn.log_loss(right, certain, labels=NAMES))
    assert evaluate(['{"b": 1.0}'], [["new"]], ["log_loss"])["log_loss"].value == pytest.approx(36.04, abs=0.01)


def test_log_loss_of_labels_is_the_mean_over_labels(sklearn: Any) -> None:
    probs, true = RNG.random((40, 3)), RNG.random((40, 3)) < 0.3
    hypotheses = [
        json.dumps({"prediction": "", "values": dict(zip("xyz", row, strict=True))}) for row in probs.tolist()
    ]
    right = [" ".join(np.array(list("xyz"))[row]) for row in true]
    expected = np.mean([sklearn.log_loss(true[:, k], probs[:, k]) for k in range(3)])
    assert evaluate(hypotheses, [right], ["label_log_loss"])["label_log_loss"].value == pytest.approx(expected)


def test_lines_without_a_prediction_do_not_count() -> None:
    """For example, lines before the first full window of a time series."""
    found = ['{"prediction": "", "values": null}', '{"prediction": "b", "values": {"a": 0.5, "b": 0.5}}']
    score = evaluate(found, [["a", "b"]], ["log_loss"])["log_loss"]
    assert score.value == pytest.approx(np.log(2))
    assert score.extra == {"count": 1}


def test_a_class_may_be_named_values() -> None:
    assert evaluate(['{"values": 0.5, "b": 0.5}'], [["values"]], ["log_loss"])["log_loss"].value == pytest.approx(
        np.log(2)
    )


def test_a_more_confident_system_is_significantly_better() -> None:
    right = [NAMES[number] for number in TARGETS]
    better = 0.5 * PROBS + 0.5 * np.eye(3)[TARGETS]
    assert compare(to_lines(PROBS), to_lines(better), [right], ["log_loss"])["log_loss"].p_value < 0.01


@pytest.mark.parametrize(
    ("line", "metric", "message"),
    [
        ("b", "log_loss", "Line 1 of the hypotheses must hold the probability of each class or label"),
        ('{"b": "much"}', "log_loss", "must hold the probability"),
        ('{"b": 1.5}', "log_loss", "must hold the probability"),
        ('{"b": NaN}', "log_loss", "must hold the probability"),
        ('{"b": 0.5, "c": 0.7}', "log_loss", r"sum to 1\.2, not to 1; for labels use `label_log_loss`"),
    ],
)
def test_invalid_probabilities_are_refused(line: str, metric: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        evaluate([line], [["b"]], [metric])


def test_lines_with_different_labels_are_refused() -> None:
    with pytest.raises(ValueError, match=r"Line 2 of the hypotheses must have the labels .* differ in y"):
        evaluate(['{"x": 0.5, "y": 0.1}', '{"x": 0.5}'], [["x", "x"]], ["label_log_loss"])
