"""Where predictions are wrong: by length, by frequency of words, by label, and the worst examples."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from seqlab.evaluation.classification import Confusion, confusion
from seqlab.evaluation.edits import ERROR_RATES
from seqlab.evaluation.error_report import worst_lines
from seqlab.evaluation.numbers import check_numbers
from seqlab.reports.predictions import Predictions, as_metric_lines

NUM_LENGTH_GROUPS = 5
FREQUENCY_BOUNDS = (0, 1, 5, 20, 100, 1_000)
"""Lower bounds of the groups of words by their number of occurrences in the training data."""
MAX_LABELS = 20
"""Number of labels that a confusion matrix shows; the others become one."""
OTHER_LABELS = "(other)"
MAX_POINTS = 1_000
"""Maximum number of points of a plot of predicted against true numbers."""


def scores_by_length(predictions: Predictions) -> dict[str, Any] | None:
    """Score groups of examples of similar length; None if outputs have no length, or all have the same.

    The length is that of the target of a text, in words or, if targets are single words, in characters, and that of the
    source of other outputs.
    """
    if predictions.kind == "text":
        texts, side = predictions.targets, "the target"
    else:
        texts, side = [str(record.get("src", "")) for record in predictions.records], "the source"
    lengths, unit = np.array([len(text.split()) for text in texts]), "words"
    if lengths.mean() < 1.5:
        lengths, unit = np.array([len(text) for text in texts]), "characters"
    edges = np.unique(np.quantile(lengths, np.linspace(0, 1, NUM_LENGTH_GROUPS + 1), method="lower"))
    if len(edges) < 2:
        return None
    edges[-1] += 1
    statistics = predictions.statistics[predictions.main_metric]
    groups = []
    for low, high in pairwise(edges.tolist()):
        rows = np.flatnonzero((lengths >= low) & (lengths < high))
        name = f"{low}" if high == low + 1 else f"{low} to {high - 1}"
        groups.append({"group": name, "count": len(rows), "value": statistics.score_of(rows).value})
    return {"metric": predictions.main_metric, "unit": f"{unit} of {side}", "groups": groups}


def scores_by_frequency(predictions: Predictions, training_texts: Iterable[str]) -> dict[str, Any] | None:
    """Score the words of the targets (of labels, of the sources) by their number of occurrences in the training texts.

    The score of words of a text is F1: their occurrences in a prediction and its target are matched in any order
    (Neubig et al. 2019, compare-mt, arXiv:1903.07926). The score of words with labels is the accuracy of their labels.

    Returns:
        The groups of words, for JSON; None if there are no training texts.
    """
    counts = Counter(word for text in training_texts for word in text.split())
    if not counts or predictions.kind not in ("text", "labels of words"):
        return None
    totals = np.zeros((len(FREQUENCY_BOUNDS), 3), dtype=int)  # matched, predicted, true
    for record in predictions.records:
        for word, numbers in _matches(predictions.kind, record):
            totals[np.searchsorted(FREQUENCY_BOUNDS, counts[word], side="right") - 1] += numbers
    groups = [
        {"group": _frequency_name(index), "count": int(true), "value": 200 * int(matched) / int(predicted + true)}
        for index, (matched, predicted, true) in enumerate(totals)
        if true
    ]
    return {"metric": "F1 of words" if predictions.kind == "text" else "accuracy", "groups": groups}


def _matches(kind: str, record: Mapping[str, Any]) -> Iterable[tuple[str, tuple[int, int, int]]]:
    """Yield words with the numbers of their matched, predicted and true occurrences in an example."""
    predicted, target = str(record["prediction"]).split(), str(record["target"]).split()
    if kind == "text":
        predicted_counts, true = Counter(predicted), Counter(target)
        yield from (
            (word, (min(predicted_counts[word], true[word]), predicted_counts[word], true[word]))
            for word in predicted_counts | true
        )
    else:
        for word, label, true_label in zip(str(record["src"]).split(), predicted, target, strict=False):
            yield word, (int(label == true_label), 1, 1)


def _frequency_name(index: int) -> str:
    low = FREQUENCY_BOUNDS[index]
    if index + 1 == len(FREQUENCY_BOUNDS):
        return f"{low:,} and more"
    high = FREQUENCY_BOUNDS[index + 1] - 1
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def confusion_of(predictions: Predictions) -> Confusion | None:
    """Return the confusion matrix of labels; None if the outputs are no labels."""
    if predictions.kind not in ("label", "labels of words"):
        return None
    predicted, targets = as_metric_lines(predictions.kind, predictions.predicted, predictions.targets)
    matrix = confusion(predicted, targets)
    if predictions.kind == "label":
        names = dict(zip(targets + predicted, predictions.targets + predictions.predicted, strict=True))
        matrix = Confusion([names[number] for number in matrix.labels], matrix.counts)
    return matrix


def confusion_dict(matrix: Confusion) -> dict[str, Any]:
    """Return the matrix of the most frequent labels for JSON; the other labels are joined into one."""
    if len(matrix.labels) <= MAX_LABELS:
        return matrix.as_dict()
    joined = np.minimum(np.arange(len(matrix.labels)), MAX_LABELS - 1)
    counts = np.zeros((MAX_LABELS, MAX_LABELS), dtype=int)
    np.add.at(counts, (joined[:, None], joined[None, :]), matrix.counts)
    return {"labels": [*matrix.labels[: MAX_LABELS - 1], OTHER_LABELS], "counts": counts.tolist()}


def scores_by_label(predictions: Predictions, matrix: Confusion | None) -> list[dict[str, Any]]:
    """Return precision, recall and F1 of each label in percent, most frequent labels first; empty without labels."""
    if matrix is not None:
        labels, counts = matrix.labels, matrix.counts
        totals = np.stack([np.diag(counts), counts.sum(0), counts.sum(1)], axis=1)
    elif predictions.kind == "set of labels":
        sets = [[set(line.split()) for line in lines] for lines in (predictions.predicted, predictions.targets)]
        occurrences = Counter(label for line in sets[1] for label in line)
        labels = sorted(set().union(*sets[0], *sets[1]), key=lambda label: (-occurrences[label], label))
        pairs = list(zip(*sets, strict=True))
        totals = np.array(
            [
                [sum(label in a and label in b for a, b in pairs), *(sum(label in s for s in side) for side in sets)]
                for label in labels
            ]
        ).reshape(-1, 3)
    else:
        return []
    return [
        {
            "label": label,
            "count": true,
            "precision": 100 * matched / max(1, predicted),
            "recall": 100 * matched / max(1, true),
            "f1": 200 * matched / max(1, predicted + true),
        }
        for label, (matched, predicted, true) in zip(labels, totals.tolist(), strict=True)
    ]


def worst_rows(predictions: Predictions, count: int) -> list[dict[str, Any]]:
    """Return the examples with the largest errors, for JSON, with the error and the aligned tokens where there are any.

    The error is the number of wrong words (characters, if targets are single words) of a text, the number of wrong
    labels, or the largest absolute error of the numbers.
    """
    if predictions.kind == "text":
        is_word = np.mean([len(text.split()) for text in predictions.targets]) < 1.5
        metric = "cer" if is_word else "wer"
        lines = worst_lines(predictions.predicted, [predictions.targets], count, metric)
        return [
            {
                **_row(predictions, line.index, line.edits.total),
                "unit": ERROR_RATES[metric].unit,
                "alignment": [list(pair) for pair in line.pairs],
                "separator": ERROR_RATES[metric].separator,
            }
            for line in lines
        ]
    errors = row_errors(predictions)
    order = [row for row in np.argsort(-errors, kind="stable")[:count].tolist() if errors[row] > 0]
    rows = [_row(predictions, row, float(errors[row])) for row in order]
    if predictions.kind == "labels of words":
        for entry in rows:
            pairs = zip(entry["target"].split(), entry["predicted"].split(), strict=False)
            entry |= {"unit": "label", "alignment": [list(pair) for pair in pairs], "separator": " "}
    return rows


def row_errors(predictions: Predictions) -> np.ndarray:
    """Return the error of each example (rows,): wrong labels or, of numbers, the largest absolute error."""
    if predictions.kind == "numbers":
        true, predicted = _numbers(predictions)
        return np.asarray(np.abs(predicted - true).max(1))
    if predictions.kind == "label":
        return np.array([float(a != b) for a, b in zip(predictions.predicted, predictions.targets, strict=True)])
    pairs = zip(predictions.predicted, predictions.targets, strict=True)
    if predictions.kind == "set of labels":
        return np.array([float(len(set(a.split()) ^ set(b.split()))) for a, b in pairs])
    return np.array([float(sum(x != y for x, y in zip(a.split(), b.split(), strict=False))) for a, b in pairs])


def number_pairs(predictions: Predictions) -> list[list[float]] | None:
    """Return (true, predicted) of the first number of each example, thinned evenly; None for other outputs."""
    if predictions.kind != "numbers":
        return None
    true, predicted = _numbers(predictions)
    stride = -(-len(true) // MAX_POINTS)
    return [list(pair) for pair in zip(true[::stride, 0].tolist(), predicted[::stride, 0].tolist(), strict=True)]


def _numbers(predictions: Predictions) -> tuple[np.ndarray, np.ndarray]:
    """Return the true and the predicted numbers: (examples, numbers) each."""
    return check_numbers(predictions.targets, "targets"), check_numbers(predictions.predicted, "predictions")


def _row(predictions: Predictions, row: int, errors: float) -> dict[str, Any]:
    record: Sequence[str] = [predictions.input_of(row), predictions.targets[row], predictions.predicted[row]]
    return {"row": row + 1, **dict(zip(("input", "target", "predicted"), record, strict=True)), "errors": errors}
