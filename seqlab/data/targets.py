"""Codecs of targets: numbers, one class (by name, or as probabilities), or multiple labels."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from seqlab.base.number_text import exact_text
from seqlab.data.batch import IGNORE
from seqlab.data.cells import RawColumn
from seqlab.data.classes import refuse_missing_cells, refuse_two_spellings
from seqlab.data.table_codec import (
    FloatArray,
    NumberColumn,
    RowIndices,
    read_values,
    refuse_missing_numbers,
    refuse_too_large,
    write_values,
)
from seqlab.data.tables import RawTable

INTERVAL_COVERAGE = 0.9
"""Coverage of the prediction intervals of numbers."""
MIN_THRESHOLD_ROWS = 20
"""Minimum number of validation examples with a label, and without it, for choosing its threshold."""
MAX_SUM_ERROR = 1e-3
"""Maximum difference between a sum of probabilities and 1, to allow for rounding in files."""
UNSEEN_CLASS = "?"
"""Text for a class that is not in the training data."""


def residual_names(column: str) -> tuple[str, str]:
    """Return the names of the validation metrics that are the lower and upper bounds of the errors of a target."""
    return f"residual_low.{column}", f"residual_high.{column}"


def threshold_name(label: str) -> str:
    """Return the name of the validation metric that holds the probability threshold of a label."""
    return f"threshold.{label}"


@dataclass(frozen=True)
class NumbersTarget:
    """Codec of numbers to predict, standardized."""

    codec: ClassVar[str] = "numbers"
    predicts: ClassVar[str] = "numbers"
    columns: list[NumberColumn]

    @property
    def names(self) -> list[str]:
        """Names of the targets."""
        return [column.name for column in self.columns]

    @property
    def size(self) -> int:
        """O: number of targets."""
        return len(self.columns)

    def encode(self, table: RawTable) -> FloatArray:
        """Encode the targets of all rows: (rows, O)."""
        values = self.standardize(self.numbers(table))
        for number, column in enumerate(self.columns):
            refuse_too_large(values[:, number], column.name, table)
        return values

    def numbers(self, table: RawTable) -> NDArray[np.float64]:
        """Return the targets of all rows in units of the table: (rows, O); the cache has them besides `encode`."""
        return np.stack([column.values(table) for column in self.columns], axis=1)

    def standardize(self, values: NDArray[np.float64]) -> FloatArray:
        """Convert (rows, O) from units of the table to standard deviations from the mean."""
        return ((values - self._moments[0]) / self._moments[1]).astype(np.float32)

    def decode(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Convert (rows, O) from standard deviations from the mean to units of the table."""
        return np.asarray(values, np.float64) * self._moments[1] + self._moments[0]

    def decide(self, outputs: NDArray[Any]) -> NDArray[Any]:
        """Convert model outputs (N, O) to numbers in units of the table."""
        return self.decode(outputs)

    def lines(self, numbers: NDArray[Any]) -> list[str]:
        """Format numbers (N, O) in units of the table, with all digits, joined by spaces."""
        return [" ".join(map(exact_text, row)) for row in numbers.tolist()]

    def metric_lines(self, numbers: NDArray[Any]) -> list[str]:
        """Format numbers for metrics."""
        return self.lines(numbers)

    def fit_decisions(self, outputs: NDArray[Any], numbers: NDArray[Any]) -> dict[str, float]:
        """Compute bounds of the errors from validation outputs and numbers, both (N, O); see `residual_names`.

        The bounds are in units of the table, with a coverage of 90% (split conformal prediction, Lei et al. 2018). The
        result is empty for fewer than 19 examples, which are too few for such bounds.
        """
        errors = np.sort(numbers - self.decode(outputs), axis=0)
        count = len(errors)
        outside = math.floor((count + 1) * (1 - INTERVAL_COVERAGE) / 2 + 1e-9)  # errors outside the bounds on each side
        if outside < 1:
            return {}
        rank = outside - 1  # index of the lower bound in the sorted errors, and of the upper bound from their end
        return {
            name: float(errors[row, number])
            for number, column in enumerate(self.names)
            for name, row in zip(residual_names(column), (rank, count - 1 - rank), strict=True)
        }

    @property
    def _moments(self) -> NDArray[np.float64]:
        return np.array([[column.mean for column in self.columns], [column.deviation for column in self.columns]])

    def save(self, folder: Path) -> None:
        """Save the codec to a folder."""
        write_values(folder, {"columns": [asdict(column) for column in self.columns]})


@dataclass(frozen=True)
class ClassTarget:
    """Codec of one class of several."""

    codec: ClassVar[str] = "class"
    predicts: ClassVar[str] = "class"
    name: str
    values: list[str]
    """Classes of the training data, sorted by name."""

    @property
    def names(self) -> list[str]:
        """Name of the target."""
        return [self.name]

    @property
    def size(self) -> int:
        """O: number of classes."""
        return len(self.values)

    def encode(self, table: RawTable) -> RowIndices:
        """Encode the classes of all rows as numbers: (rows,), IGNORE for a class that is not in the training data."""
        column = table.columns[self.name]
        refuse_missing_cells(column, table, self.values, "the target", "correct the cell, or remove the row")
        refuse_two_spellings(column, column.names, table, self.values)
        known = {value: number for number, value in enumerate(self.values)}
        number_of_code = np.array([known.get(name, IGNORE) for name in column.names], np.int64)
        return number_of_code[column.categories()]

    def numbers(self, table: RawTable) -> NDArray[np.float64]:
        """Return no numbers (rows, 0): the encoded targets have all information."""
        return np.zeros((len(table), 0))

    def decide(self, outputs: NDArray[Any]) -> NDArray[Any]:
        """Return the most probable class (N,) from model outputs (N, O)."""
        return outputs.argmax(1)

    def fit_decisions(self, outputs: NDArray[Any], targets: NDArray[Any]) -> dict[str, float]:
        """Return no parameters: the most probable class is predicted."""
        return {}

    def lines(self, targets: NDArray[Any]) -> list[str]:
        """Return the names of class numbers (N,); `UNSEEN_CLASS` for IGNORE."""
        return [UNSEEN_CLASS if number == IGNORE else self.values[number] for number in targets.tolist()]

    def metric_lines(self, targets: NDArray[Any]) -> list[str]:
        """Format classes for metrics: one word for each class, even if its name has several."""
        return [UNSEEN_CLASS if number == IGNORE else str(number) for number in targets.tolist()]

    def save(self, folder: Path) -> None:
        """Save the codec to a folder."""
        write_values(folder, {"name": self.name, "values": self.values})


@dataclass(frozen=True)
class DistributionTarget:
    """Codec of one class of several, with a column for the probability of each (possibly one-hot)."""

    codec: ClassVar[str] = "distribution"
    predicts: ClassVar[str] = "class"
    values: list[str]
    """Names of the columns, which are the classes."""

    @property
    def names(self) -> list[str]:
        """Names of the columns."""
        return self.values

    @property
    def size(self) -> int:
        """O: number of classes."""
        return len(self.values)

    def encode(self, table: RawTable) -> FloatArray:
        """Return the probabilities of all rows: (rows, O)."""
        for name in self.values:
            refuse_missing_numbers(table.columns[name], table.columns[name].binary_values(), table)
        probabilities = np.stack([table.columns[name].binary_values() for name in self.values], axis=1)
        wrong = (probabilities < 0).any(1) | (abs(probabilities.sum(1) - 1) > MAX_SUM_ERROR)
        if wrong.any():
            row = int(wrong.argmax())
            cells = ", ".join(
                f"{name} = {value:g}" for name, value in zip(self.values[:5], probabilities[row, :5], strict=True)
            )
            raise ValueError(
                f"{table.locate(row)}: the probabilities of the classes must not be negative and must sum to 1, but "
                f"are {cells}{' ...' if self.size > 5 else ''}."
            )
        return probabilities.astype(np.float32)

    def numbers(self, table: RawTable) -> NDArray[np.float64]:
        """Return no numbers (rows, 0): the encoded targets have all information."""
        return np.zeros((len(table), 0))

    def decide(self, outputs: NDArray[Any]) -> NDArray[Any]:
        """Return model outputs (N, O) unchanged: the maximum is at the most probable class."""
        return outputs

    def fit_decisions(self, outputs: NDArray[Any], targets: NDArray[Any]) -> dict[str, float]:
        """Return no parameters: the most probable class is predicted."""
        return {}

    def lines(self, targets: NDArray[Any]) -> list[str]:
        """Return the name of the most probable class of each example, from outputs or probabilities (N, O)."""
        return [self.values[number] for number in targets.argmax(1).tolist()]

    def metric_lines(self, targets: NDArray[Any]) -> list[str]:
        """Format classes for metrics: one word for each class, even if its name has several."""
        return [str(number) for number in targets.argmax(1).tolist()]

    def save(self, folder: Path) -> None:
        """Save the codec to a folder."""
        write_values(folder, {"values": self.values})


@dataclass(frozen=True)
class LabelsTarget:
    """Codec of multiple labels."""

    codec: ClassVar[str] = "labels"
    predicts: ClassVar[str] = "labels"
    names: list[str]
    """Names of the columns: one with labels joined by spaces, or a column of 0 and 1 for each label."""
    values: list[str]
    """Labels of the training data, sorted by name."""

    @property
    def size(self) -> int:
        """O: number of labels."""
        return len(self.values)

    def encode(self, table: RawTable) -> FloatArray:
        """Encode the labels of all rows: (rows, O) of 0 and 1."""
        if len(self.names) > 1:
            for name in self.names:
                _refuse_non_binary(table.columns[name], table)
            return np.stack([table.columns[name].binary_values() for name in self.names], axis=1).astype(np.float32)
        column = table.columns[self.names[0]]
        refuse_missing_cells(column, table, ["", *self.values], "the target", "correct the cell, or remove the row")
        known = {value: number for number, value in enumerate(self.values)}
        rows = np.zeros((len(column.names), self.size), np.float32)
        for code, cell in enumerate(column.names):
            rows[code, [known[label] for label in cell.split() if label in known]] = 1
        return rows[column.categories()]

    def numbers(self, table: RawTable) -> NDArray[np.float64]:
        """Return no numbers (rows, 0): the encoded targets have all information."""
        return np.zeros((len(table), 0))

    def decide(self, outputs: NDArray[Any]) -> NDArray[Any]:
        """Return the labels with a probability above 0.5, (N, O) of 0 and 1, from model outputs (N, O)."""
        return (outputs > 0).astype(np.float32)

    def fit_decisions(self, outputs: NDArray[Any], targets: NDArray[Any]) -> dict[str, float]:
        """Choose the probability threshold of each label from validation outputs and targets, both (N, O).

        The threshold maximizes F1. It is 0.5 if fewer than `MIN_THRESHOLD_ROWS` examples have the label, or fewer lack
        it. See `threshold_name`.
        """
        return {
            threshold_name(label): _best_threshold(outputs[:, number].astype(np.float64), targets[:, number] > 0.5)
            for number, label in enumerate(self.values)
        }

    def lines(self, targets: NDArray[Any]) -> list[str]:
        """Return the labels (N, O) of each example, joined by spaces."""
        names = np.array(self.values)
        return [" ".join(names[row > 0.5]) for row in targets]

    def metric_lines(self, targets: NDArray[Any]) -> list[str]:
        """Format labels for metrics."""
        return self.lines(targets)

    def save(self, folder: Path) -> None:
        """Save the codec to a folder."""
        write_values(folder, {"names": self.names, "values": self.values})


Target = NumbersTarget | ClassTarget | DistributionTarget | LabelsTarget


def _best_threshold(outputs: NDArray[np.float64], has_label: NDArray[np.bool_]) -> float:
    """Return the probability threshold of a label with the highest F1, from model outputs (N,)."""
    count = int(has_label.sum())
    if min(count, len(has_label) - count) < MIN_THRESHOLD_ROWS:
        return 0.5
    order = np.argsort(-outputs, kind="stable")
    descending = outputs[order]
    f1 = 2 * has_label[order].cumsum() / (np.arange(1, len(order) + 1) + count)
    f1[:-1][descending[:-1] == descending[1:]] = 0  # no threshold separates equal outputs
    best = int(f1.argmax())
    middle = (descending[best] + descending[best + 1]) / 2 if best + 1 < len(descending) else descending[best] - 1
    return float(1 / (1 + np.exp(-middle)))


def _refuse_non_binary(column: RawColumn, table: RawTable) -> None:
    """Raise ValueError, with the row, if a cell is not 0 or 1."""
    wrong = np.flatnonzero(~np.isin(column.binary_values(), (0, 1)))
    if len(wrong):
        raise ValueError(
            f"{table.locate(int(wrong[0]))}: {column.name!r} must be 1 if the row has this label, and 0 if not."
        )


def load_numbers_target(folder: Path) -> NumbersTarget:
    """Load a codec of numbers."""
    return read_values(folder, NumbersTarget)


def load_class_target(folder: Path) -> ClassTarget:
    """Load a codec of one class."""
    return read_values(folder, ClassTarget)


def load_distribution_target(folder: Path) -> DistributionTarget:
    """Load a codec of class probabilities."""
    return read_values(folder, DistributionTarget)


def load_labels_target(folder: Path) -> LabelsTarget:
    """Load a codec of multiple labels."""
    return read_values(folder, LabelsTarget)
