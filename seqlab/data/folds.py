"""Cross-validation folds and held-out rows, as a pure function of the rows and a seed."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from seqlab.data.epoch import seeded_generator

MAX_NAMED_GROUPS = 5
"""Maximum number of groups in a warning."""
FoldKind = Literal["plain", "stratified", "grouped", "given"]
"""Assignment of rows to folds: at random (`plain`), with equal shares of each class (`stratified`), with all rows of a
group in one fold (`grouped`), or by a column (`given`)."""


def assign_folds(
    count: int,
    num_folds: int,
    seed: int,
    *,
    classes: NDArray[Any] | None = None,
    groups: NDArray[Any] | None = None,
) -> NDArray[np.int64]:
    """Assign rows to folds, numbered from 0: (count,); stratified by `classes` or grouped by `groups`, both (count,).

    Raises:
        ValueError: there are fewer rows or groups than folds.
    """
    units = count if groups is None else len(np.unique(groups))
    if units < num_folds:
        noun = "rows" if groups is None else "groups"
        raise ValueError(f"There are {units} {noun}, too few for {num_folds} folds: lower `data.num_folds`.")
    order = _shuffle_rows(count, seeded_generator(seed, count, num_folds), classes)
    if groups is not None:
        return _assign_groups(groups, order, num_folds)
    folds = np.empty(count, np.int64)
    folds[order] = np.arange(count) % num_folds
    return folds


def hold_out(
    count: int,
    fraction: float,
    seed: int,
    *,
    classes: NDArray[Any] | None = None,
    groups: NDArray[Any] | None = None,
) -> NDArray[np.bool_]:
    """Return a mask (count,) of a random share of the rows, at least one but not all.

    The share is stratified by `classes` or grouped by `groups`, as in `assign_folds`.
    """
    rng = seeded_generator(seed, count)
    if groups is not None:
        _, group_of_row, sizes = np.unique(groups, return_inverse=True, return_counts=True)
        order = rng.permutation(len(sizes))
        nearest = int(abs(sizes[order].cumsum() - fraction * count).argmin()) + 1
        return np.isin(group_of_row, order[: min(nearest, len(sizes) - 1)])
    number = max(0, min(max(1, round(fraction * count)), count - 1))
    cumulative = np.arange(count + 1) * number // max(count, 1)  # evenly spaced over the order
    is_held_out = np.empty(count, np.bool_)
    is_held_out[_shuffle_rows(count, rng, classes)] = np.diff(cumulative) > 0
    return is_held_out


def repeated_rows(arrays: Sequence[NDArray[Any]], is_held_out: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the held-out rows that equal a training row in all arrays (count, ...).

    Validation overestimates the quality of a model on them.
    """
    digests = _row_digests(arrays)
    trained = {digests[row] for row in np.flatnonzero(~is_held_out)}
    return np.array([row for row in np.flatnonzero(is_held_out) if digests[row] in trained], np.int64)


def rows_in_other_folds(arrays: Sequence[NDArray[Any]], folds: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the rows that equal a row of another fold in all arrays (count, ...), given the fold of each row."""
    fold_of_digest: dict[bytes, int] = {}
    digests, fold_numbers = _row_digests(arrays), folds.tolist()
    for digest, fold in zip(digests, fold_numbers, strict=True):
        if fold_of_digest.setdefault(digest, fold) != fold:
            fold_of_digest[digest] = -1
    return np.array([row for row, digest in enumerate(digests) if fold_of_digest[digest] == -1], np.int64)


def _row_digests(arrays: Sequence[NDArray[Any]]) -> list[bytes]:
    """Hash each row of arrays (count, ...)."""
    return [
        hashlib.blake2b(b"".join(array[row].tobytes() for array in arrays), digest_size=16).digest()
        for row in range(len(arrays[0]))
    ]


def describe_shared_groups(names: Sequence[str], folds: NDArray[np.int64], noun: str, column: str) -> list[str]:
    """Return a warning of the groups, such as speakers, that have rows in several folds; none if there are none.

    Args:
        names: name of the group of each row, "" for none.
        folds: fold of each row (count,).
        noun: what a group is, in the plural.
        column: the column of the names.
    """
    known = sorted({pair for pair in zip(names, folds.tolist(), strict=True) if pair[0]})
    shared = sorted(name for name, count in Counter(name for name, _ in known).items() if count > 1)
    if not shared:
        return []
    listed = ", ".join(shared[:MAX_NAMED_GROUPS]) + (", ..." if len(shared) > MAX_NAMED_GROUPS else "")
    return [
        f"{len(shared):,} {noun} are in several folds: {listed}; for scores of new {noun}, set `data.folds: grouped` "
        f"and `data.fold_column: {column}`"
    ]


def _shuffle_rows(count: int, rng: np.random.Generator, classes: NDArray[Any] | None) -> NDArray[np.int64]:
    """Return the indices of rows in random order; with classes, one class after the other."""
    order = rng.permutation(count)
    return order if classes is None else order[np.argsort(classes[order], kind="stable")]


def _assign_groups(groups: NDArray[Any], order: NDArray[np.int64], num_folds: int) -> NDArray[np.int64]:
    """Assign each group, the largest first, to the fold with the fewest rows; return the fold of each row."""
    names, first, group_of_row, sizes = np.unique(
        groups[order], return_index=True, return_inverse=True, return_counts=True
    )
    fold_of_group, fold_sizes = np.empty(len(names), np.int64), np.zeros(num_folds, np.int64)
    for group in np.lexsort((first, -sizes)).tolist():
        fold_of_group[group] = int(fold_sizes.argmin())
        fold_sizes[fold_of_group[group]] += sizes[group]
    folds = np.empty(len(groups), np.int64)
    folds[order] = fold_of_group[group_of_row]
    return folds
