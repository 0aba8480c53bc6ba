"""Fit the codec of the targets of a table to its training rows, and refuse targets that cannot be meant."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from seqlab.base.number_text import exact_text
from seqlab.data.cells import RawColumn
from seqlab.data.classes import refuse_missing_cells, refuse_two_spellings
from seqlab.data.labels import refuse_joined_labels, warn_of_labels
from seqlab.data.table_codec import (
    NumberColumn,
    RowIndices,
    refuse_missing_numbers,
    refuse_problem,
    values_by_frequency,
)
from seqlab.data.tables import RawTable
from seqlab.data.targets import ClassTarget, DistributionTarget, LabelsTarget, NumbersTarget, Target


def fit_target(
    table: RawTable,
    names: Sequence[str],
    predicts: str,
    rows: RowIndices,
    *,
    has_missing_class: bool = False,
    are_folders: bool = False,
) -> Target:
    """Fit the codec of the targets to the training rows (n,).

    Args:
        table: the table.
        names: the columns of the targets.
        predicts: `numbers`, `class` or `labels`.
        rows: the training rows.
        has_missing_class: whether a cell such as `NaN` or `NA` is a class, rather than a missing value.
        are_folders: whether the classes are names of folders, which are meant, whatever they are.

    Raises:
        ValueError: the targets are not of the kind `predicts`, are missing, or are the same in all rows.
    """
    if predicts == "numbers":
        return NumbersTarget([_fit_numbers(table.columns[name], table, rows) for name in names])
    if predicts == "labels" and len(names) > 1:
        for name in names:
            if len(name.split()) > 1:
                raise ValueError(f"The label {name!r} has a space, which separates labels in predictions: rename it.")
        return LabelsTarget(list(names), list(names))
    if len(names) > 1:
        return DistributionTarget(list(names))
    return _fit_classes(table.columns[names[0]], table, predicts, rows, has_missing_class, are_folders)


def _fit_numbers(column: RawColumn, table: RawTable, rows: RowIndices) -> NumberColumn:
    if column.reading.format is None:
        cell = next(iter(column.names))
        raise ValueError(
            f"`data.predicts: numbers` needs numbers, but the column {column.name!r} has {cell!r}: set it to "
            "`class` or `labels`."
        )
    refuse_problem(column, table, "set `data.predicts: class`")
    refuse_missing_numbers(column, column.values(), table)
    fitted = NumberColumn.fit(column, rows)
    if np.ptp(column.values()[rows]) == 0:
        raise ValueError(
            f"The target {fitted.name!r} is {exact_text(fitted.mean)} in all training rows: is this the right column?"
        )
    return fitted


def _fit_classes(
    column: RawColumn, table: RawTable, predicts: str, rows: RowIndices, has_missing_class: bool, are_folders: bool
) -> ClassTarget | LabelsTarget:
    advice = "correct the cell or remove the row, or set `data.missing_targets: class` if it is meant as a class"
    if predicts == "class" and "" in column.names:
        advice = "remove the row, or set `data.predicts: labels` if a row may have no label"
    meant = [name for name in column.names if name] if has_missing_class or are_folders else []
    refuse_missing_cells(column, table, ["", *meant] if predicts == "labels" else meant, "the target", advice)
    seen = values_by_frequency(column, rows)
    values = sorted(
        {label for cell in seen for label in cell.split()} if predicts == "labels" else seen, key=numeric_sort_key
    )
    if predicts == "labels":
        refuse_joined_labels(seen, f"{table.files[0]}, column {column.name!r}")
    warn_of_labels(values)
    if predicts == "class" and len(values) > max(2, len(rows) / 2):
        raise ValueError(
            f"The target {column.name!r} has {len(values):,} different values in {len(rows):,} training rows, too many "
            "to be classes: set `data.predicts: numbers`, or choose another column."
        )
    if len(values) < 2:
        raise ValueError(
            f"The target {column.name!r} is {''.join(values)!r} in all training rows: is this the right column?"
        )
    if not are_folders:
        refuse_two_spellings(column, values, table)
    return LabelsTarget([column.name], values) if predicts == "labels" else ClassTarget(column.name, values)


def numeric_sort_key(value: str) -> tuple[float, str]:
    """Return a sort key that puts numbers first, ordered by their value."""
    try:
        return float(value), value
    except ValueError:
        return float("inf"), value
