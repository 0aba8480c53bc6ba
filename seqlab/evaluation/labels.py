"""Labels: how many are right, and which are taken for which.

A line holds one label or several, with whitespace between: those of its words.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .score import LineStatistics, References, Score, SparseRows, check_line_counts, num_references


def accuracy(hypotheses: Sequence[str], references: References) -> LineStatistics:
    """Accuracy in percent of labels: each counts if it is that of one of its references.

    Raises:
        ValueError: a line has not as many labels as its references; names the line.
    """
    pairs = _label_pairs(hypotheses, references)
    rows = np.array([[sum(label in of_label for label, of_label in line), len(line)] for line in pairs], dtype=int)
    signature = f"nrefs:{num_references(references)}|case:mixed|unit:label|norm:none"

    def score_of_sum(summed: np.ndarray) -> Score:
        correct, labels = summed.tolist()
        return Score(
            "accuracy", 100 * correct / max(1, labels), signature, True, {"correct": correct, "labels": labels}
        )

    return LineStatistics(rows, score_of_sum)


def macro_f1(hypotheses: Sequence[str], references: References) -> LineStatistics:
    """Macro F1 in percent: the mean over all labels, each as heavy as another, of the F1 of finding it.

    The labels are those that occur in references or hypotheses, as in scikit-learn's `f1_score(average="macro")`.

    Raises:
        ValueError: there are several references, or errors as of `accuracy`.
    """
    if len(references) > 1:
        raise ValueError(f"`macro_f1` compares with one reference, but there are {len(references)}: name one.")
    pairs = [[(label, of_label[0]) for label, of_label in line] for line in _label_pairs(hypotheses, references)]
    places = {label: i for i, label in enumerate(_labels(pairs))}
    lines = np.repeat(np.arange(len(pairs)), [len(line) for line in pairs])
    given, there = (np.array([places[pair[side]] for line in pairs for pair in line], np.int64) for side in (0, 1))
    is_right, size = given == there, len(places)
    rows = SparseRows(
        np.concatenate((lines[is_right], lines, lines)),
        np.concatenate((there[is_right], size + given, 2 * size + there)),
        (len(pairs), 3 * size),
    )

    def score_of_sum(summed: np.ndarray) -> Score:
        right, given, there = summed.reshape(3, -1)
        occur = given + there > 0
        value = 100 * float(np.mean(2 * right[occur] / (given + there)[occur])) if occur.any() else 0.0
        return Score("macro_f1", value, "nrefs:1|case:mixed|unit:label|norm:none", True, {"labels": int(occur.sum())})

    return LineStatistics(rows, score_of_sum)


@dataclass(frozen=True)
class Confusion:
    """How often each label was given where another, or the same, is right."""

    labels: list[str]
    """The most frequent one of the references first."""
    counts: np.ndarray
    """(labels, labels): rows are references, columns hypotheses"""

    def lines(self, num_confused: int = 10) -> list[str]:
        """Render as a table of all labels, and of the most frequent confusions."""
        width = max([5, *(len(label) for label in self.labels)])
        right, given, there = np.diag(self.counts), self.counts.sum(0), self.counts.sum(1)
        rows = [f"{'label':<{width}}  precision  recall      F1   count"]
        for i, label in enumerate(self.labels):
            precision, recall, f1 = (
                100 * right[i] / max(1, of) for of in (given[i], there[i], (given[i] + there[i]) / 2)
            )
            rows.append(f"{label:<{width}}  {precision:>9.2f}  {recall:>6.2f}  {f1:>6.2f}  {there[i]:>6}")
        confused = [(int(self.counts[i, j]), i, j) for i, j in zip(*np.nonzero(self.counts), strict=True) if i != j]
        for count, i, j in sorted(confused, key=lambda each: (-each[0], *each[1:]))[:num_confused]:
            rows.append(f"{self.labels[i]} taken for {self.labels[j]}: {count}")
        return rows

    def as_dict(self) -> dict[str, object]:
        """Render for JSON: rows are references, columns hypotheses."""
        return {"labels": self.labels, "counts": self.counts.tolist()}


def confusion(hypotheses: Sequence[str], references: Sequence[str]) -> Confusion:
    """Count which labels were given for which.

    Raises:
        ValueError: unequal line counts, no lines, or errors as of `accuracy`.
    """
    check_line_counts(hypotheses, [references])
    pairs = [[(label, of_label[0]) for label, of_label in line] for line in _label_pairs(hypotheses, [references])]
    labels = _labels(pairs)
    places = {label: i for i, label in enumerate(labels)}
    counts = np.zeros((len(labels), len(labels)), dtype=int)
    for line in pairs:
        for hypothesis, reference in line:
            counts[places[reference], places[hypothesis]] += 1
    order = np.argsort(-counts.sum(1), kind="stable")
    return Confusion([labels[i] for i in order], counts[np.ix_(order, order)])


class UnequalLabels(ValueError):
    """A line does not have as many labels as one of its references."""

    def __init__(self, line: int, count: int, reference: int, needed: int) -> None:
        """Counted from 0: the line, and the list of references; `needed` are the labels of that."""
        self.line, self.count, self.reference, self.needed = line, count, reference, needed
        super().__init__(self.at(f"Line {line + 1} of the hypotheses", f"line {line + 1} of the references"))

    def at(self, place: str, of_reference: str) -> str:
        """Say it with the places of the line and of the reference."""
        return (
            f"{place} has {self.count} labels, but {of_reference} has {self.needed}: each needs one to be compared "
            "with."
        )


def check_labels(hypotheses: Sequence[str], references: References) -> None:
    """Raise UnequalLabels where a line has not as many labels as one of its references."""
    for index, (hypothesis, *of_line) in enumerate(zip(hypotheses, *references, strict=True)):
        count = len(hypothesis.split())
        for number, reference in enumerate(of_line):
            if reference is not None and (needed := len(reference.split())) != count:
                raise UnequalLabels(index, count, number, needed)


def _labels(pairs: Sequence[Sequence[tuple[str, str]]]) -> list[str]:
    return sorted({label for line in pairs for pair in line for label in pair})


def _label_pairs(hypotheses: Sequence[str], references: References) -> list[list[tuple[str, tuple[str, ...]]]]:
    """Put each label beside those of its references; errors as of `accuracy`."""
    check_labels(hypotheses, references)
    pairs = []
    for hypothesis, *of_line in zip(hypotheses, *references, strict=True):
        of_labels = [line.split() for line in of_line if line is not None]
        pairs.append(list(zip(hypothesis.split(), zip(*of_labels, strict=True), strict=True)))
    return pairs
