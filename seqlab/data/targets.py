"""Codecs of targets: numbers, one class of several (named, or as probabilities), or any number of several labels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from seqlab.data.batch import IGNORE
from seqlab.data.table_codec import (
    FloatArray,
    NumberColumn,
    RowIndices,
    read_values,
    refuse_missing_numbers,
    refuse_text_cells,
    refuse_too_large,
    values_by_frequency,
    write_values,
)
from seqlab.data.tables import RawColumn, RawTable

INTERVAL_COVERAGE = 0.9
"""Share of the errors that lie within the bounds that come with predictions of numbers."""
MIN_THRESHOLD_ROWS = 20
"""Validation examples with a label, and without it, from which on its threshold is chosen."""
MAX_SUM_ERROR = 1e-3
"""How far the sum of some probabilities may be from 1, as they are rounded in files."""
UNSEEN_CLASS = "?"
"""A class that training has not seen, as a line of text."""


def residual_names(column: str) -> tuple[str, str]:
    """Name the figures of a validation that bound the errors of a target from below and above."""
    return f"residual_low.{column}", f"residual_high.{column}"


def threshold_name(label: str) -> str:
    """Name the figure of a validation from which probability on a label is predicted."""
    return f"threshold.{label}"


@dataclass(frozen=True)
class NumbersTarget:
    """Numbers to predict, standardised."""

    codec: ClassVar[str] = "numbers"
    predicts: ClassVar[str] = "numbers"
    columns: list[NumberColumn]

    @property
    def names(self) -> list[str]:
        """The names of the targets."""
        return [column.name for column in self.columns]

    @property
    def size(self) -> int:
        """K: numbers of an example."""
        return len(self.columns)

    def encode(self, table: RawTable) -> FloatArray:
        """Encode the targets of all rows: (rows, K)."""
        for column in self.columns:
            refuse_missing_numbers(table.columns[column.name], table)
        values = np.stack([table.columns[column.name].values() for column in self.columns], axis=1)
        found = self.standardize(values)
        for number, column in enumerate(self.columns):
            refuse_too_large(found[:, number], column.name, table)
        return found

    def standardize(self, values: NDArray[np.float64]) -> FloatArray:
        """(rows, K) in the units of the table -> in standard deviations from the mean."""
        return ((values - self._moments[0]) / self._moments[1]).astype(np.float32)

    def decode(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """(rows, K) in standard deviations from the mean -> in the units of the table."""
        return np.asarray(values, np.float64) * self._moments[1] + self._moments[0]

    def decide(self, scores: NDArray[Any]) -> NDArray[Any]:
        """Say what scores (N, K) predict, as `encode` would: these are the numbers themselves."""
        return scores

    def lines(self, targets: NDArray[Any]) -> list[str]:
        """Write encoded targets (N, K) in the units of the table, with spaces between."""
        return [" ".join(f"{value:.6g}" for value in row) for row in self.decode(targets).tolist()]

    def metric_lines(self, targets: NDArray[Any]) -> list[str]:
        """Write what metrics compare: all digits."""
        return [" ".join(map(repr, row)) for row in self.decode(targets).tolist()]

    def fit_decisions(self, scores: NDArray[Any], targets: NDArray[Any]) -> dict[str, float]:
        """Bound the errors of examples that training has not seen, both (N, K): see `residual_names`.

        In the units of the table, so that 9 of 10 further errors lie within (split conformal prediction, Lei et al.
        2018); nothing for fewer than 19 examples, too few for such bounds.
        """
        errors = np.sort(self.decode(targets) - self.decode(scores), axis=0)
        count = len(errors)
        outside = math.floor(
            (count + 1) * (1 - INTERVAL_COVERAGE) / 2 + 1e-9
        )  # errors on each side that bounds leave out
        if outside < 1:
            return {}
        rank = outside - 1  # of the lowest, and from the end of the highest
        return {
            name: float(errors[place, number])
            for number, column in enumerate(self.names)
            for name, place in zip(residual_names(column), (rank, count - 1 - rank), strict=True)
        }

    @property
    def _moments(self) -> NDArray[np.float64]:
        return np.array([[each.mean for each in self.columns], [each.deviation for each in self.columns]])

    def save(self, folder: Path) -> None:
        """Write what reading it back needs."""
        write_values(folder, {"columns": [asdict(each) for each in self.columns]})


@dataclass(frozen=True)
class ClassTarget:
    """One class of several."""

    codec: ClassVar[str] = "class"
    predicts: ClassVar[str] = "class"
    name: str
    values: list[str]
    """The classes that training has seen, in the order of their names."""

    @property
    def names(self) -> list[str]:
        """The name of the target."""
        return [self.name]

    @property
    def size(self) -> int:
        """K: classes."""
        return len(self.values)

    def encode(self, table: RawTable) -> RowIndices:
        """Number the classes of all rows: (rows,), IGNORE for one that training has not seen."""
        column = table.columns[self.name]
        known = {value: number for number, value in enumerate(self.values)}
        number_of_code = np.array([known.get(name, IGNORE) for name in column.names], np.int64)
        return number_of_code[column.categories()]

    def decide(self, scores: NDArray[Any]) -> NDArray[Any]:
        """Choose the likeliest class by scores (N, K): (N,)."""
        return scores.argmax(1)

    def fit_decisions(self, scores: NDArray[Any], targets: NDArray[Any]) -> dict[str, float]:
        """Return nothing: the likeliest class is predicted."""
        return {}

    def lines(self, targets: NDArray[Any]) -> list[str]:
        """Write numbers of classes (N,) by their names; IGNORE as `UNSEEN_CLASS`."""
        return [UNSEEN_CLASS if number == IGNORE else self.values[number] for number in targets.tolist()]

    def metric_lines(self, targets: NDArray[Any]) -> list[str]:
        """Write what metrics compare: a word for each class, whatever its name."""
        return [UNSEEN_CLASS if number == IGNORE else str(number) for number in targets.tolist()]

    def save(self, folder: Path) -> None:
        """Write what reading it back needs."""
        write_values(folder, {"name": self.name, "values": self.values})


@dataclass(frozen=True)
class DistributionTarget:
    """One class of several, with a column for the probability of each: one-hot where the probabilities are 0 and 1."""

    codec: ClassVar[str] = "distribution"
    predicts: ClassVar[str] = "class"
    values: list[str]
    """The columns, whose names are those of the classes."""

    @property
    def names(self) -> list[str]:
        """The columns."""
        return self.values

    @property
    def size(self) -> int:
        """K: classes."""
        return len(self.values)

    def encode(self, table: RawTable) -> FloatArray:
        """Give the probabilities of all rows: (rows, K)."""
        for name in self.values:
            refuse_missing_numbers(table.columns[name], table)
        found = np.stack([table.columns[name].values() for name in self.values], axis=1)
        wrong = (found < 0).any(1) | (abs(found.sum(1) - 1) > MAX_SUM_ERROR)
        if wrong.any():
            row = int(wrong.argmax())
            cells = ", ".join(
                f"{name} = {value:g}" for name, value in zip(self.values[:5], found[row, :5], strict=True)
            )
            raise ValueError(
                f"{table.locate(row)}: the probabilities of the classes must not be negative and must sum to 1, but "
                f"are {cells}{' ...' if self.size > 5 else ''}."
            )
        return found.astype(np.float32)

    def decide(self, scores: NDArray[Any]) -> NDArray[Any]:
        """Return scores (N, K), the highest of which is the likeliest class's."""
        return scores

    def fit_decisions(self, scores: NDArray[Any], targets: NDArray[Any]) -> dict[str, float]:
        """Return nothing: the likeliest class is predicted."""
        return {}

    def lines(self, targets: NDArray[Any]) -> list[str]:
        """Write the name of each example's likeliest class, by scores or probabilities (N, K)."""
        return [self.values[number] for number in targets.argmax(1).tolist()]

    def metric_lines(self, targets: NDArray[Any]) -> list[str]:
        """Write what metrics compare: a word for each class, whatever its name."""
        return [str(number) for number in targets.argmax(1).tolist()]

    def save(self, folder: Path) -> None:
        """Write what reading it back needs."""
        write_values(folder, {"values": self.values})


@dataclass(frozen=True)
class LabelsTarget:
    """Any number of labels of several."""

    codec: ClassVar[str] = "labels"
    predicts: ClassVar[str] = "labels"
    names: list[str]
    """The columns: one whose cells list labels, with spaces between, or one of 0 and 1 for each label."""
    values: list[str]
    """The labels that training has seen, in the order of their names."""

    @property
    def size(self) -> int:
        """K: labels."""
        return len(self.values)

    def encode(self, table: RawTable) -> FloatArray:
        """Tell which labels each row has: (rows, K) of 0 and 1."""
        if len(self.names) > 1:
            for name in self.names:
                _refuse_non_binary(table.columns[name], table)
            return np.stack([table.columns[name].values() for name in self.names], axis=1).astype(np.float32)
        column = table.columns[self.names[0]]
        known = {value: number for number, value in enumerate(self.values)}
        rows = np.zeros((len(column.names), self.size), np.float32)
        for code, cell in enumerate(column.names):
            rows[code, [known[label] for label in cell.split() if label in known]] = 1
        return rows[column.categories()]

    def decide(self, scores: NDArray[Any]) -> NDArray[Any]:
        """Choose the labels that are likelier than not by scores (N, K): (N, K) of 0 and 1."""
        return (scores > 0).astype(np.float32)

    def fit_decisions(self, scores: NDArray[Any], targets: NDArray[Any]) -> dict[str, float]:
        """Choose the probability from which on each label is predicted, by examples that training has not seen.

        It is the one with the highest F1 among these, both (N, K), and 0.5 where fewer than `MIN_THRESHOLD_ROWS` have
        the label, or have it not. See `threshold_name`.
        """
        return {
            threshold_name(label): _best_threshold(scores[:, number].astype(np.float64), targets[:, number] > 0.5)
            for number, label in enumerate(self.values)
        }

    def lines(self, targets: NDArray[Any]) -> list[str]:
        """Write the labels (N, K) of each example, with spaces between."""
        names = np.array(self.values)
        return [" ".join(names[row > 0.5]) for row in targets]

    def metric_lines(self, targets: NDArray[Any]) -> list[str]:
        """Write what metrics compare."""
        return self.lines(targets)

    def save(self, folder: Path) -> None:
        """Write what reading it back needs."""
        write_values(folder, {"names": self.names, "values": self.values})


Target = NumbersTarget | ClassTarget | DistributionTarget | LabelsTarget


def _best_threshold(scores: NDArray[np.float64], is_right: NDArray[np.bool_]) -> float:
    """Find the probability with the highest F1 where all examples above it, by scores (N,), get a label."""
    count = int(is_right.sum())
    if min(count, len(is_right) - count) < MIN_THRESHOLD_ROWS:
        return 0.5
    order = np.argsort(-scores, kind="stable")
    falling = scores[order]
    f1 = 2 * is_right[order].cumsum() / (np.arange(1, len(order) + 1) + count)
    f1[:-1][falling[:-1] == falling[1:]] = 0  # no threshold divides equal scores
    best = int(f1.argmax())
    middle = (falling[best] + falling[best + 1]) / 2 if best + 1 < len(falling) else falling[best] - 1
    return float(1 / (1 + np.exp(-middle)))


def _refuse_non_binary(column: RawColumn, table: RawTable) -> None:
    wrong = np.flatnonzero(~np.isin(column.values(), (0, 1)))
    if len(wrong):
        raise ValueError(
            f"{table.locate(int(wrong[0]))}: {column.name!r} must be 0 or 1, whether the row has this label."
        )


def fit_target(table: RawTable, names: Sequence[str], predicts: str, rows: RowIndices) -> Target:
    """Make the codec of the targets, by the training rows (n,).

    Raises:
        ValueError: they are not of the kind `predicts`, or are the same in all rows.
    """
    columns = [table.columns[name] for name in names]
    if predicts == "numbers":
        for column in columns:
            if not column.is_numeric:
                cell = next(iter(column.names))
                raise ValueError(
                    f"`data.predicts: numbers` needs numbers, but the column {column.name!r} holds {cell!r}: set it to "
                    "`class` or `labels`."
                )
            refuse_text_cells(column, table, "data.categorical")
            refuse_missing_numbers(column, table)
        fitted = [NumberColumn.fit(column, rows) for column in columns]
        for column, each in zip(columns, fitted, strict=True):
            if np.ptp(column.values()[rows]) == 0:
                raise ValueError(
                    f"The target {each.name!r} is {each.mean:g} in all training rows: is it the right column?"
                )
        return NumbersTarget(fitted)
    if predicts == "labels" and len(names) > 1:
        for name in names:
            if len(name.split()) > 1:
                raise ValueError(
                    f"The label {name!r} has a space in it, which divides labels in predictions: rename it."
                )
        return LabelsTarget(list(names), list(names))
    if len(names) > 1:
        return DistributionTarget(list(names))
    [column] = columns
    if predicts == "class" and "" in column.names:
        row = int(np.flatnonzero(column.categories() == column.names[""])[0])
        raise ValueError(
            f"{table.locate(row)}: the target {column.name!r} is missing: leave out the row, or set "
            "`data.predicts: labels` where a row may have no label."
        )
    seen = values_by_frequency(column, rows)
    values = sorted(
        {label for cell in seen for label in cell.split()} if predicts == "labels" else seen, key=numeric_order
    )
    if predicts == "class" and len(values) > max(2, len(rows) / 2):
        raise ValueError(
            f"The target {column.name!r} has {len(values):,} different values in {len(rows):,} training rows, too many "
            "to be classes: set `data.predicts: numbers`, or choose another column."
        )
    if len(values) < 2:
        raise ValueError(
            f"The target {column.name!r} is {''.join(values)!r} in all training rows: is it the right column?"
        )
    return LabelsTarget(list(names), values) if predicts == "labels" else ClassTarget(names[0], values)


def numeric_order(value: str) -> tuple[float, str]:
    """Order names that are numbers by their size."""
    try:
        return float(value), value
    except ValueError:
        return float("inf"), value


def load_numbers_target(folder: Path) -> NumbersTarget:
    """Read a codec of targets that are numbers."""
    return read_values(folder, NumbersTarget)


def load_class_target(folder: Path) -> ClassTarget:
    """Read a codec of targets that are one class."""
    return read_values(folder, ClassTarget)


def load_distribution_target(folder: Path) -> DistributionTarget:
    """Read a codec of targets that are probabilities of classes."""
    return read_values(folder, DistributionTarget)


def load_labels_target(folder: Path) -> LabelsTarget:
    """Read a codec of targets that are labels."""
    return read_values(folder, LabelsTarget)
