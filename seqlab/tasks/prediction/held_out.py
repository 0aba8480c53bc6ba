"""Rows of the training data that are held out for validation: at random, the end of a series, or a fold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from seqlab.data.classes import refuse_missing_cells
from seqlab.data.fit_target import numeric_sort_key
from seqlab.data.folds import assign_folds, hold_out
from seqlab.tasks.prediction.config import PredictionConfig

if TYPE_CHECKING:
    from seqlab.tasks.prediction.examples import RawExamples


def validation_mask(data: PredictionConfig, raw: RawExamples) -> NDArray[np.bool_]:
    """Select the rows of the training data that are held out for validation: (rows,) bool.

    Raises:
        ValueError: there are too few rows, or the fold column does not have `data.num_folds` values.
    """
    count = len(raw)
    if data.valid is not None:
        return np.zeros(count, bool)
    if data.window:
        start = round((1 - data.valid_fraction) * count)
        return np.arange(count) >= min(max(start, 1), count - 1)
    fold = (data.valid_fold or 1) - 1
    if data.fold_kind == "given":
        assert data.fold_column is not None, "the config checks it"
        column = raw.table.columns[data.fold_column]
        refuse_missing_cells(column, raw.table, (), "the value of the fold column", "correct the cell")
        names = sorted(column.names, key=numeric_sort_key)
        if len(names) != data.num_folds:
            raise ValueError(
                f"The column {data.fold_column!r} names {len(names)} folds, but `data.num_folds` (or N of `--folds N`) "
                f"is {data.num_folds}: set it to {len(names)}."
            )
        return np.asarray(column.categories() == column.names[names[fold]])
    column_of = raw.table.columns
    groups = column_of[str(data.fold_column)].categories() if data.fold_kind == "grouped" else None
    classes = _classes(raw) if data.fold_kind == "stratified" else None
    if data.valid_fold is None:
        return hold_out(count, data.valid_fraction, data.fold_seed, classes=classes, groups=groups)
    return assign_folds(count, data.num_folds, data.fold_seed, classes=classes, groups=groups) == fold


def _classes(raw: RawExamples) -> NDArray[Any]:
    """Return the class id of each row (rows,): the most probable one if each class has a column."""
    columns = [raw.table.columns[name] for name in raw.targets]
    if len(columns) == 1:
        return columns[0].categories()
    return np.nan_to_num(np.stack([column.binary_values() for column in columns])).argmax(0)
