"""Rows of the training data that are held out for validation: at random, the end of a series, or a fold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from seqlab.data.classes import refuse_missing_cells, refuse_two_spellings
from seqlab.data.fit_target import numeric_sort_key
from seqlab.data.folds import assign_folds, describe_shared_groups, hold_out, rows_in_other_folds
from seqlab.tasks.prediction.config import PredictionConfig

if TYPE_CHECKING:
    from seqlab.tasks.prediction.examples import RawExamples

GROUP_COLUMNS = ("speaker", "speaker_id", "subject", "subject_id", "patient", "patient_id", "user_id", "group")
"""Columns that name what the rows were measured on: rows of one group should be in one fold."""


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


def check_groups(data: PredictionConfig, raw: RawExamples) -> None:
    """Raise ValueError, with the row, if a group or given fold is missing, or has two spellings.

    It is called for new runs: older ones have such cells as groups.
    """
    if data.valid is None and data.fold_kind in ("grouped", "given"):
        column = raw.table.columns[str(data.fold_column)]
        noun = "group in the fold column" if data.fold_kind == "grouped" else "value of the fold column"
        refuse_missing_cells(column, raw.table, (), f"the {noun}", "correct the cell")
        refuse_two_spellings(column, column.names, raw.table, noun="values")


def check_folds(configs: Sequence[PredictionConfig]) -> list[str]:
    """Check the folds of the training data, given the config of each fold; return warnings of what several folds have.

    Raises:
        ValueError: the data cannot be read, or a fold has no rows.
    """
    from seqlab.tasks.prediction.examples import read_examples

    raw = read_examples(configs[0], configs[0].train)
    check_groups(configs[0], raw)
    folds, table = np.zeros(len(raw), np.int64), raw.table
    for number, config in enumerate(configs, start=1):
        is_held_out = validation_mask(config, raw)
        if not is_held_out.any() or is_held_out.all():
            lacks = "training" if is_held_out.any() else "validation"
            raise ValueError(f"{', '.join(config.train)}: fold {number} of {len(configs)} has no {lacks} rows.")
        folds[is_held_out] = number
    columns = [table.columns[name] for name in (*raw.targets, *(raw.inputs if raw.arrays is None else ()))]
    cells = [np.array([column.codes for column in columns]).T, np.array([column.numbers for column in columns]).T]
    equal = rows_in_other_folds([*cells, *([] if raw.arrays is None else [raw.arrays])], folds)
    warnings = []
    if len(equal):
        warnings.append(f"{len(equal):,} rows equal a row of another fold (the first: {table.locate(int(equal[0]))})")
    for name in filter(table.columns.__contains__, GROUP_COLUMNS):
        names = list(table.columns[name].names)
        cells_of_row = [names[code] if code >= 0 else "" for code in table.columns[name].codes]
        warnings += describe_shared_groups(cells_of_row, folds, f"values of the column {name!r}", name)
    return warnings


def _classes(raw: RawExamples) -> NDArray[Any]:
    """Return the class id of each row (rows,): the most probable one if each class has a column."""
    columns = [raw.table.columns[name] for name in raw.targets]
    if len(columns) == 1:
        return columns[0].categories()
    return np.nan_to_num(np.stack([column.binary_values() for column in columns])).argmax(0)
