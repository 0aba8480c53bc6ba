"""Metrics of numbers (MAE, RMSE, R2) and of sets of labels (micro and macro F1).

A line holds any number of values, separated by whitespace.
"""

import math
from collections.abc import Sequence

import numpy as np

from .score import LineStatistics, References, Score

NUMBER_METRICS = ("mae", "rmse", "r2")
"""Metrics that compare numbers."""


def mae(hypotheses: Sequence[str], references: References) -> LineStatistics:
    """Compute the mean absolute error, in the units of the numbers.

    Raises:
        ValueError: a line has no numbers, or another number of them than its reference; there are several references.
    """
    errors, _ = _errors(hypotheses, references, "mae")
    return _mean("mae", np.abs(errors))


def rmse(hypotheses: Sequence[str], references: References) -> LineStatistics:
    """Compute the root of the mean squared error, in the units of the numbers; errors of `mae`."""
    errors, _ = _errors(hypotheses, references, "rmse")
    rows = np.stack([np.square(errors).sum(1), np.full(len(errors), errors.shape[1])], axis=1)

    def score_of_sum(summed: np.ndarray) -> Score:
        squares, count = summed.tolist()
        return Score(
            "rmse", float(np.sqrt(squares / max(1, count))), "nrefs:1|unit:number", False, {"numbers": count}, 4
        )

    return LineStatistics(rows, score_of_sum)


def r2(hypotheses: Sequence[str], references: References) -> LineStatistics:
    """Compute R2, the explained share of the variance, in percent, averaged over the numbers of a line.

    Predicting the mean gives 0, as in scikit-learn's `r2_score`. Errors of `mae`.
    """
    errors, true = _errors(hypotheses, references, "r2")
    true = true - (true.mean(0) if len(true) else 0)  # otherwise squares of large numbers would cancel the variance
    rows = np.concatenate([np.square(errors), true, np.square(true), np.ones((len(true), 1))], axis=1)
    width = true.shape[1]

    def score_of_sum(summed: np.ndarray) -> Score:
        squares, sums, squared, count = *np.split(summed[:-1], 3), summed[-1]
        variance = squared - np.square(sums) / max(1.0, float(count))
        with np.errstate(divide="ignore", invalid="ignore"):
            explained = np.where(variance > 0, 1 - squares / variance, np.where(squares > 0, 0.0, 1.0))
        return Score("r2", 100 * float(explained.mean()), "nrefs:1|unit:number", True, {"numbers": int(count) * width})

    return LineStatistics(rows, score_of_sum)


def _mean(name: str, values: np.ndarray) -> LineStatistics:
    rows = np.stack([values.sum(1), np.full(len(values), values.shape[1])], axis=1)

    def score_of_sum(summed: np.ndarray) -> Score:
        total, count = summed.tolist()
        return Score(name, total / max(1, count), "nrefs:1|unit:number", False, {"numbers": count}, 4)

    return LineStatistics(rows, score_of_sum)


def _errors(hypotheses: Sequence[str], references: References, metric: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the errors and the true numbers: (lines, numbers per line) each."""
    if len(references) > 1:
        raise ValueError(f"`{metric}` compares with one reference, but there are {len(references)}: name one.")
    true = check_numbers([str(line) for line in references[0]], "references")
    predicted = check_numbers(hypotheses, "hypotheses")
    if predicted.shape != true.shape:
        raise ValueError(
            f"The hypotheses have {predicted.shape[1]} numbers on each line, but the references have {true.shape[1]}."
        )
    return predicted - true, true


def parse_number(cell: str) -> float:
    """Parse a finite number as programs write it; raises ValueError for anything else, such as `1_000` or `nan`."""
    value = float(cell)
    if "_" in cell or not math.isfinite(value):
        raise ValueError(f"{cell!r} is not a finite number")
    return value


class InvalidNumbers(ValueError):
    """A line does not have as many finite numbers as the first one."""

    def __init__(self, line: int, name: str, fault: str) -> None:
        """`line`: from 0; `name`: `hypotheses` or `references`; `fault`: what is wrong, and what to do."""
        self.line, self.fault = line, fault
        super().__init__(f"Line {line + 1} of the {name} {fault}")


def check_numbers(lines: Sequence[str], name: str) -> np.ndarray:
    """Parse the numbers of lines: (lines, numbers per line).

    Raises:
        InvalidNumbers: a line has no numbers, something else, or another count of them than the first line.
    """
    rows: list[list[float]] = []
    for number, line in enumerate(lines):
        try:
            rows.append([parse_number(cell) for cell in line.split()])
        except ValueError:
            fault = f"must consist of numbers, but is {line:.40}: correct it, or remove the line from all files."
            raise InvalidNumbers(number, name, fault) from None
        if not rows[-1]:
            raise InvalidNumbers(number, name, "is empty, but must have a number: remove the line from all files.")
        if len(rows[-1]) != len(rows[0]):
            raise InvalidNumbers(number, name, f"has {len(rows[-1])} numbers, but the first line has {len(rows[0])}.")
    return np.array(rows)


def label_macro_f1(hypotheses: Sequence[str], references: References) -> LineStatistics:
    """Compute macro F1 in percent of sets of labels: the mean F1 of all labels that occur.

    The format of lines and the errors are those of `micro_f1`. For lines with one label, or one label for each word,
    use `macro_f1`.
    """
    predicted, true = _label_sets(hypotheses, references, "label_macro_f1")
    labels = sorted(set().union(*predicted, *true))
    rows = np.zeros((len(predicted), 2, len(labels)), int)
    for row, (line_predicted, line_true) in zip(rows, zip(predicted, true, strict=True), strict=True):
        row[0] = [label in line_predicted and label in line_true for label in labels]
        row[1] = [(label in line_predicted) + (label in line_true) for label in labels]

    def score_of_sum(summed: np.ndarray) -> Score:
        correct, total = summed.reshape(2, -1)
        f1 = 200 * correct[total > 0] / total[total > 0]
        value, extra = float(f1.mean()) if len(f1) else 100.0, {"labels": len(f1)}
        return Score("label_macro_f1", value, "nrefs:1|case:mixed|unit:label", True, extra)

    return LineStatistics(rows.reshape(len(predicted), 2 * len(labels)), score_of_sum)


def micro_f1(hypotheses: Sequence[str], references: References) -> LineStatistics:
    """Compute micro F1 in percent of sets of labels: a line holds any number of labels, in any order (multi-label).

    Raises:
        ValueError: there are several references.
    """
    predicted, true = _label_sets(hypotheses, references, "micro_f1")
    rows = [
        [len(predicted_labels & true_labels), len(predicted_labels), len(true_labels)]
        for predicted_labels, true_labels in zip(predicted, true, strict=True)
    ]

    def score_of_sum(summed: np.ndarray) -> Score:
        correct, predicted, true = summed.tolist()
        value = 200 * correct / (predicted + true) if predicted + true else 100.0
        return Score("micro_f1", value, "nrefs:1|case:mixed|unit:label", True, {"right": correct, "labels": true})

    return LineStatistics(np.array(rows, dtype=int).reshape(-1, 3), score_of_sum)


def _label_sets(
    hypotheses: Sequence[str], references: References, metric: str
) -> tuple[list[set[str]], list[set[str]]]:
    """Return the predicted and the true labels of each line."""
    if len(references) > 1:
        raise ValueError(f"`{metric}` compares with one reference, but there are {len(references)}: name one.")
    return [set(line.split()) for line in hypotheses], [set(str(line).split()) for line in references[0]]
