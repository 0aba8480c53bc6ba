"""Rows of a split without text, such as the rows of a table, images or recordings, as features and targets."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqlab.data.batch import Batch, ValueBatch
from seqlab.diagnosis.alignment import align
from seqlab.diagnosis.data_findings import Hits
from seqlab.diagnosis.label_noise import NUM_FOLDS, label_ratios, min_ratio
from seqlab.diagnosis.near_duplicates import duplicate_rows, first_of_equal
from seqlab.diagnosis.row_features import Standardized, features_of_targets
from seqlab.diagnosis.rows import features, rows_of_batches


@dataclass(frozen=True)
class ArrayRows:
    """Features and targets of the rows of a split, in the order of the data."""

    split: str
    features: NDArray[np.float32]  # (N, D)
    targets: NDArray[Any]  # (N,) class numbers, negative for none, or (N, O) numbers
    indices: NDArray[np.int64]
    """(N,): index of each row, by which the task locates it."""
    locate_index: Callable[[int], str]

    @classmethod
    def of_batches(cls, split: str, batches: Sequence[Batch], locate: Callable[[int], str]) -> "ArrayRows | None":
        """Join batches of vectors, images or frames with labels or numbers; None for other batches."""
        values = [batch for batch in batches if isinstance(batch, ValueBatch) and batch.targets is not None]
        if not values or len(values) < len(batches) or not values[0].src.is_floating_point():
            return None
        rows = rows_of_batches(values)
        targets = rows.labels() if rows.target_kind == "label" else rows.numbers()
        return cls(split, features(rows), targets, rows.indices, locate)

    def __len__(self) -> int:
        return len(self.indices)

    def locate(self, row: int) -> str:
        """Return the file and line of a row."""
        return self.locate_index(int(self.indices[row]))

    def show(self, row: int) -> str:
        """Return nothing: numbers do not tell a reader much."""
        return ""


def check_arrays(splits: Mapping[str, ArrayRows]) -> Iterator[Hits]:
    """Find duplicates, training rows that are validation rows, shifted targets and wrong labels."""
    train = splits["train"]
    first = duplicate_rows(np.concatenate([_with_targets(rows) for rows in splits.values()]))
    start = 0
    for split, rows in splits.items():
        own, train_own = first[start : start + len(rows)], first[: len(train)]
        match = first_of_equal(own)
        yield Hits.of_mask("duplicate", split, match != np.arange(len(rows)), np.ones(len(rows)), _note(rows, match))
        if rows is not train:
            order = np.argsort(own, kind="stable")
            match = order[np.minimum(np.searchsorted(own[order], train_own), len(rows) - 1)]
            yield Hits.of_mask("leak", "train", own[match] == train_own, np.ones(len(train)), _note(rows, match))
        start += len(rows)
    yield from _check_shift(train)
    if train.targets.ndim == 1:
        yield from _check_labels(train)


def _note(rows: ArrayRows, match: NDArray[np.int64]) -> Callable[[int], str]:
    return lambda row: f"equal to {rows.locate(int(match[row]))}"


def _with_targets(rows: ArrayRows) -> NDArray[np.float32]:
    targets = rows.targets.reshape(len(rows), -1).astype(np.float32)
    return np.concatenate([rows.features, targets], axis=1)


def _check_shift(rows: ArrayRows) -> Iterator[Hits]:
    for shift in align(Standardized(rows.features), features_of_targets(rows.targets)).shifts():
        note = f"the targets are shifted by {shift.offset} up to {rows.locate(shift.stop - 1)}"
        following = ((row, 0.0, "") for row in range(shift.start + 1, shift.stop))
        yield Hits.of_notes("shift", rows.split, [(shift.start, shift.advantage, note), *following])


def _check_labels(rows: ArrayRows) -> Iterator[Hits]:
    first = duplicate_rows(rows.features)
    differs = (rows.targets != rows.targets[first]) & (np.minimum(rows.targets, rows.targets[first]) >= 0)
    yield Hits.of_mask(
        "label_conflict", rows.split, differs, np.ones(len(rows)), lambda row: (
            f"class {rows.targets[row]}, but class {rows.targets[first[row]]} in {rows.locate(int(first[row]))}"
        )
    )  # fmt: skip
    ratios, best = label_ratios(Standardized(rows.features), rows.targets, first % NUM_FOLDS)
    yield Hits.of_mask("label_noise", rows.split, ratios >= min_ratio(len(rows)), ratios, lambda row: (
        f"class {rows.targets[row]}, but rather class {best[row]}"
    ))  # fmt: skip
