"""Error analysis against scikit-learn, counts by hand, and the metric itself."""

from typing import Any

import numpy as np
import pytest

from seqlab.evaluation.metrics import line_statistics
from seqlab.reports.error_analysis import (
    MAX_LABELS,
    confusion_dict,
    confusion_of,
    number_pairs,
    scores_by_frequency,
    scores_by_label,
    scores_by_length,
    worst_rows,
)
from seqlab.reports.predictions import Predictions, as_metric_lines


def predictions_of(kind: str, rows: list[tuple[str, str, str]], metric: str) -> Predictions:
    """Return predictions from (source, prediction, target) of each row."""
    records: list[dict[str, Any]] = [{"src": s, "prediction": p, "target": t} for s, p, t in rows]
    predicted, targets = as_metric_lines(kind, [p for _, p, _ in rows], [t for _, _, t in rows])
    return Predictions(kind, records, {metric: line_statistics(metric, predicted, [targets])}, {})


def test_scores_by_length_partition_the_examples() -> None:
    rng = np.random.default_rng(1)
    targets = [" ".join(rng.choice(["a", "b"], size=length)) for length in rng.integers(2, 30, size=200)]
    predictions = predictions_of("text", [("", t.replace("a", "b", 1), t) for t in targets], "wer")
    found = scores_by_length(predictions)
    assert found is not None
    assert sum(group["count"] for group in found["groups"]) == 200
    low, _, high = found["groups"][1]["group"].partition(" to ")
    chosen = [row for row, text in enumerate(targets) if int(low) <= len(text.split()) <= int(high or low)]
    expected = line_statistics(
        "wer", [predictions.predicted[row] for row in chosen], [[targets[row] for row in chosen]]
    ).score()
    assert found["groups"][1]["value"] == pytest.approx(expected.value)
    assert scores_by_length(predictions_of("text", [("", "a b", "a c")] * 3, "wer")) is None


def test_words_are_grouped_by_their_frequency_in_training() -> None:
    rows = [("", "the cat sat", "the dog sat"), ("", "the the", "the bird")]
    found = scores_by_frequency(predictions_of("text", rows, "wer"), ["the the the the the the", "cat sat"])
    # never seen: dog and bird, none of two found; once: cat predicted wrongly, sat right; six times: the
    assert found == {
        "metric": "F1 of words",
        "groups": [
            {"group": "0", "count": 2, "value": 0.0},
            {"group": "1 to 4", "count": 1, "value": pytest.approx(100 * 2 / 3)},
            {"group": "5 to 19", "count": 2, "value": pytest.approx(100 * 4 / 5)},
        ],
    }
    tagged = [("the cat", "D V", "D N")]
    labels = scores_by_frequency(predictions_of("labels of words", tagged, "accuracy"), ["the"])
    assert labels is not None
    assert [(group["group"], group["value"]) for group in labels["groups"]] == [("0", 0.0), ("1 to 4", 100.0)]
    assert scores_by_frequency(predictions_of("text", rows, "wer"), []) is None


def test_labels_with_spaces_are_single_labels_as_in_scikit_learn() -> None:
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    rng = np.random.default_rng(2)
    names = ["New York", "Rome", "", "a b"]
    rows = [("x", names[i], names[j]) for i, j in rng.integers(0, 4, size=(100, 2))]
    predictions = predictions_of("label", rows, "accuracy")
    matrix = confusion_of(predictions)
    assert matrix is not None
    expected = confusion_matrix([t for _, _, t in rows], [p for _, p, _ in rows], labels=matrix.labels)
    assert matrix.counts.tolist() == expected.tolist()
    scores = precision_recall_fscore_support(
        [t for _, _, t in rows], [p for _, p, _ in rows], labels=matrix.labels, zero_division=0
    )
    for row, each in enumerate(scores_by_label(predictions, matrix)):
        assert [each["precision"], each["recall"], each["f1"]] == pytest.approx(
            [100 * scores[k][row] for k in range(3)]
        )
        assert each["count"] == scores[3][row]


def test_rare_labels_are_joined_in_the_matrix() -> None:
    rows = [("x", f"l{i % 30}", f"l{i % 31}") for i in range(500)]
    matrix = confusion_of(predictions_of("label", rows, "accuracy"))
    assert matrix is not None
    joined = confusion_dict(matrix)
    assert len(joined["labels"]) == len(joined["counts"]) == MAX_LABELS
    assert np.sum(joined["counts"]) == 500


def test_sets_of_labels_are_scored_by_label() -> None:
    predictions = predictions_of("set of labels", [("", "a b", "a"), ("", "", "a c")], "micro_f1")
    assert [
        (each["label"], each["count"], each["precision"], each["recall"])
        for each in scores_by_label(predictions, confusion_of(predictions))
    ] == [("a", 2, 100.0, 50.0), ("c", 1, 0.0, 0.0), ("b", 0, 0.0, 0.0)]
    assert [row["errors"] for row in worst_rows(predictions, 9)] == [2, 1]


def test_worst_rows_have_the_largest_errors_first() -> None:
    numbers = predictions_of("numbers", [("", "1 5", "1 2"), ("", "4 4", "4 4"), ("", "-9 0", "0 0")], "mae")
    assert [(row["row"], row["errors"]) for row in worst_rows(numbers, 5)] == [(3, 9.0), (1, 3.0)]
    assert number_pairs(numbers) == [[1, 1], [4, 4], [0, -9]]
    texts = predictions_of("text", [("s", "a x c", "a b c"), ("t", "a", "a"), ("u", "", "a b")], "wer")
    first, second = worst_rows(texts, 5)
    assert (first["row"], first["errors"], first["input"]) == (3, 2, "u")
    assert second["alignment"] == [["a", "a"], ["b", "x"], ["c", "c"]]
