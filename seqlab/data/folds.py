"""Which rows are held out: the folds of a cross-validation, as a pure function of the rows and a seed."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from seqlab.data.epoch import generator

FoldKind = Literal["plain", "stratified", "grouped", "given"]
"""Rows are dealt at random; so that each fold has as much of each class; so that all rows of a group, by a column, are
in one fold; or as a column says."""


def deal_folds(
    count: int,
    num_folds: int,
    seed: int,
    *,
    classes: NDArray[Any] | None = None,
    groups: NDArray[Any] | None = None,
) -> NDArray[np.int64]:
    """Deal rows to folds from 0 on: (count,). `classes` and `groups` (count,): stratified, or grouped.

    Raises:
        ValueError: there are fewer rows or groups than folds.
    """
    units = count if groups is None else len(np.unique(groups))
    if units < num_folds:
        what = "rows" if groups is None else "groups"
        raise ValueError(f"There are {units} {what}, too few for {num_folds} folds: set `data.num_folds` to fewer.")
    order = generator(seed, count, num_folds).permutation(count)
    if groups is not None:
        return _grouped(groups, order, num_folds)
    if classes is not None:  # row after row of one class, then of the next: every fold gets the next one
        order = order[np.argsort(classes[order], kind="stable")]
    folds = np.empty(count, np.int64)
    folds[order] = np.arange(count) % num_folds
    return folds


def _grouped(groups: NDArray[Any], order: NDArray[np.int64], num_folds: int) -> NDArray[np.int64]:
    """Give each group, the largest first, to the fold that has the fewest rows."""
    names, first, of_row, sizes = np.unique(groups[order], return_index=True, return_inverse=True, return_counts=True)
    fold_of_group, filled = np.empty(len(names), np.int64), np.zeros(num_folds, np.int64)
    for group in np.lexsort((first, -sizes)).tolist():
        fold_of_group[group] = int(filled.argmin())
        filled[fold_of_group[group]] += sizes[group]
    folds = np.empty(len(groups), np.int64)
    folds[order] = fold_of_group[of_row]
    return folds
