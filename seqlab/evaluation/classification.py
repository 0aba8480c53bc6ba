"""Metrics of labels: accuracy, macro F1 and a confusion matrix.

A line holds one label, or one for each of its words, separated by whitespace.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .score import LineStatistics, References, Score, SparseRows, check_line_counts, num_references


def accuracy(hypotheses: Sequence[str], references: References) -> LineStatistics:
    """Compute the accuracy in percent of labels; a label is correct if it equals the label of one of the references.

    Raises:
        ValueError: a line and its references have different numbers of labels; the message names the line.
    """
    pairs = label_pairs(hypotheses, references)
    rows = np.array([[sum(label in true for label, true in line), len(line)] for line in pairs], dtype=int)
    signature = f"nrefs:{num_references(references)}|case:mixed|unit:label|norm:none"

    def score_of_sum(summed: np.ndarray) -> Score:
        correct, labels = summed.tolist()
        return Score(
            "accuracy", 100 * correct / max(1, labels), signature, True, {"correct": correct, "labels": labels}
        )

    return LineStatistics(rows, score_of_sum)


def macro_f1(hypotheses: Sequence[str], references: References) -> LineStatistics:
    """Compute macro F1 in percent: the unweighted mean of the F1 scores of all labels.

    The labels are those that occur in references or hypotheses, as in scikit-learn's `f1_score(average="macro")`.

    Raises:
        ValueError: there are several references; errors of `accuracy`.
    """
    if len(references) > 1:
        raise ValueError(f"`macro_f1` compares with one reference, but there are {len(references)}: name one.")
    pairs = [[(label, true[0]) for label, true in line] for line in label_pairs(hypotheses, references)]
    ids = {label: i for i, label in enumerate(_labels(pairs))}
    lines = np.repeat(np.arange(len(pairs)), [len(line) for line in pairs])
    predicted, true = (np.array([ids[pair[index]] for line in pairs for pair in line], np.int64) for index in (0, 1))
    is_correct, size = predicted == true, len(ids)
    rows = SparseRows(
        np.concatenate((lines[is_correct], lines, lines)),
        np.concatenate((true[is_correct], size + predicted, 2 * size + true)),
        (len(pairs), 3 * size),
    )

    def score_of_sum(summed: np.ndarray) -> Score:
        correct, predicted, true = summed.reshape(3, -1)
        occur = predicted + true > 0
        value = 100 * float(np.mean(2 * correct[occur] / (predicted + true)[occur])) if occur.any() else 0.0
        return Score("macro_f1", value, "nrefs:1|case:mixed|unit:label|norm:none", True, {"labels": int(occur.sum())})

    return LineStatistics(rows, score_of_sum)


@dataclass(frozen=True)
class Confusion:
    """Confusion matrix: number of predictions of each label for each true label."""

    labels: list[str]
    """Sorted by their frequency in the references, highest first."""
    counts: np.ndarray
    """(labels, labels): rows are references, columns hypotheses."""

    def lines(self, num_confused: int = 10) -> list[str]:
        """Render as a table of all labels, followed by the most frequent confusions."""
        width = max([5, *(len(label) for label in self.labels)])
        correct, predicted, true = np.diag(self.counts), self.counts.sum(0), self.counts.sum(1)
        rows = [f"{'label':<{width}}  precision  recall      F1   count"]
        for i, label in enumerate(self.labels):
            precision, recall, f1 = (
                100 * correct[i] / max(1, total) for total in (predicted[i], true[i], (predicted[i] + true[i]) / 2)
            )
            rows.append(f"{label:<{width}}  {precision:>9.2f}  {recall:>6.2f}  {f1:>6.2f}  {true[i]:>6}")
        confused = [(int(self.counts[i, j]), i, j) for i, j in zip(*np.nonzero(self.counts), strict=True) if i != j]
        for count, i, j in sorted(confused, key=lambda cell: (-cell[0], *cell[1:]))[:num_confused]:
            rows.append(f"{self.labels[i]} taken for {self.labels[j]}: {count}")
        return rows

    def as_dict(self) -> dict[str, object]:
        """Render for JSON: rows are references, columns hypotheses."""
        return {"labels": self.labels, "counts": self.counts.tolist()}


def confusion(hypotheses: Sequence[str], references: Sequence[str]) -> Confusion:
    """Compute the confusion matrix of predicted and true labels.

    Raises:
        ValueError: unequal line counts, or no lines; errors of `accuracy`.
    """
    check_line_counts(hypotheses, [references])
    pairs = [[(label, true[0]) for label, true in line] for line in label_pairs(hypotheses, [references])]
    labels = _labels(pairs)
    ids = {label: i for i, label in enumerate(labels)}
    counts = np.zeros((len(labels), len(labels)), dtype=int)
    for line in pairs:
        for hypothesis, reference in line:
            counts[ids[reference], ids[hypothesis]] += 1
    order = np.argsort(-counts.sum(1), kind="stable")
    return Confusion([labels[i] for i in order], counts[np.ix_(order, order)])


class UnequalLabels(ValueError):
    """A line and one of its references have different numbers of labels."""

    def __init__(self, line: int, count: int, reference: int, needed: int) -> None:
        """`line` and `reference` (index of its list) count from 0; `needed`: number of labels of the reference."""
        self.line, self.count, self.reference, self.needed = line, count, reference, needed
        super().__init__(self.message(f"Line {line + 1} of the hypotheses", f"line {line + 1} of the references"))

    def message(self, location: str, reference_location: str) -> str:
        """Return the message with the locations of the line and of the reference."""
        return (
            f"{location} has {self.count} label{'' if self.count == 1 else 's'}, but {reference_location} has "
            f"{self.needed}: both must have equally many. Each word is a label; for labels of several words use "
            "`exact_match`."
        )


def check_labels(hypotheses: Sequence[str], references: References) -> None:
    """Raise UnequalLabels if a line and one of its references have different numbers of labels."""
    for line, (hypothesis, *line_refs) in enumerate(zip(hypotheses, *references, strict=True)):
        count = len(hypothesis.split())
        for i, reference in enumerate(line_refs):
            if reference is not None and (needed := len(reference.split())) != count:
                raise UnequalLabels(line, count, i, needed)


def _labels(pairs: Sequence[Sequence[tuple[str, str]]]) -> list[str]:
    return sorted({label for line in pairs for pair in line for label in pair})


def label_pairs(hypotheses: Sequence[str], references: References) -> list[list[tuple[str, tuple[str, ...]]]]:
    """Pair each label of a line with the labels of its references; errors of `accuracy`."""
    check_labels(hypotheses, references)
    pairs = []
    for hypothesis, *line_refs in zip(hypotheses, *references, strict=True):
        true_labels = [line.split() for line in line_refs if line is not None]
        pairs.append(list(zip(hypothesis.split(), zip(*true_labels, strict=True), strict=True)))
    return pairs
