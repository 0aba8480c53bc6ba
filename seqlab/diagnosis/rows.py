"""Rows of batches as arrays: inputs, targets and features for simple models."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from seqlab.data.batch import IGNORE, DivisibleBatch, FrameBatch, LabelledBatch, Seq2SeqBatch, TextBatch, ValueBatch
from seqlab.diagnosis.finding import LeftOut

MAX_FEATURES = 2048
"""Maximum number of features of a row; ids are counted in as many buckets."""
TargetKind = Literal["tokens", "label", "numbers", "labels of positions"]


@dataclass(frozen=True)
class Rows:
    """Rows in the order of the corpus."""

    inputs: list[NDArray[Any]]
    """Ids (S,), or numbers (F, D) or (C, H, W) of each row; empty arrays for a language model."""
    targets: list[NDArray[Any]]
    """Ids (T,) without IGNORE, a label (1,), numbers (O,), or labels of positions (S,) of each row."""
    indices: NDArray[np.int64]
    """Index of each row in the corpus."""
    target_kind: TargetKind

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def are_ids(self) -> bool:
        """Whether the inputs, or the targets of a language model, are ids, not numbers."""
        return bool(self.texts) and self.texts[0].dtype.kind == "i"

    @property
    def has_inputs(self) -> bool:
        """Whether the rows have inputs beside their targets, unlike those of a language model."""
        return any(array.size for array in self.inputs)

    @property
    def texts(self) -> list[NDArray[Any]]:
        """The inputs, or the targets of a language model."""
        return self.inputs if self.has_inputs else self.targets

    def take(self, numbers: NDArray[np.int64]) -> "Rows":
        """Return some of the rows."""
        rows = numbers.tolist()
        return Rows(
            [self.inputs[i] for i in rows], [self.targets[i] for i in rows], self.indices[numbers], self.target_kind
        )

    def sample(self, count: int, seed: int = 1) -> "Rows":
        """Return at most `count` random rows, in order."""
        order = np.random.default_rng(seed).permutation(len(self))[:count]
        return self.take(np.sort(order))

    def labels(self) -> NDArray[np.int64]:
        """Return the label of each row, IGNORE for none; raise LeftOut if the targets are not labels."""
        if self.target_kind != "label":
            raise LeftOut("the targets are not labels of rows")
        return np.array([target[0] if target.size else IGNORE for target in self.targets], np.int64)

    def numbers(self) -> NDArray[np.float64]:
        """Return the numbers (N, O) of the rows; raise LeftOut if the targets are not numbers."""
        if self.target_kind != "numbers":
            raise LeftOut("the targets are not numbers")
        return np.stack(self.targets).astype(np.float64)


def rows_of_batches(batches: Sequence[DivisibleBatch]) -> Rows:
    """Read the rows of batches of the types in `seqlab.data.batch`.

    Raises:
        LeftOut: the batches have another type, or there are none.
    """
    if not batches:
        raise LeftOut("the task does not list the rows of this split")
    inputs: list[NDArray[Any]] = []
    targets: list[NDArray[Any]] = []
    kind: TargetKind = "tokens"
    for batch in batches:
        kind = _append(batch, inputs, targets)
    indices = np.concatenate([batch.indices.numpy() for batch in batches])
    order = np.argsort(indices, kind="stable")
    return Rows([inputs[i] for i in order], [targets[i] for i in order], indices[order], kind)


def _append(batch: DivisibleBatch, inputs: list[NDArray[Any]], targets: list[NDArray[Any]]) -> TargetKind:
    """Append the rows of a batch; return the kind of its targets."""
    if isinstance(batch, TextBatch):
        inputs += [np.zeros(0, np.int64)] * len(batch)
        targets += _without_padding(batch.tgt_out)
        return "tokens"
    if isinstance(batch, ValueBatch) and batch.targets is not None:
        is_image = batch.src.dim() == 4
        inputs += list(batch.src.numpy()) if is_image else _cut(batch.src, batch.src_lengths)
        targets += [np.atleast_1d(target) for target in batch.targets.numpy()]
        return "label" if batch.targets.dim() == 1 else "numbers"
    if isinstance(batch, Seq2SeqBatch | LabelledBatch | FrameBatch) and batch.tgt_out is not None:
        if isinstance(batch, FrameBatch):
            inputs += _cut(batch.frames, batch.frame_lengths)
        else:
            inputs += _cut(batch.src, batch.src_lengths)
        targets += _without_padding(batch.tgt_out)
        if isinstance(batch, LabelledBatch):
            return "label" if batch.tgt_out.size(1) == 1 and batch.src.size(1) > 1 else "labels of positions"
        return "tokens"
    raise LeftOut(f"batches of type {type(batch).__name__} are not known")


def _cut(values: Tensor, lengths: Tensor) -> list[NDArray[Any]]:
    return [row[:length] for row, length in zip(values.numpy(), lengths.tolist(), strict=True)]


def _without_padding(ids: Tensor) -> list[NDArray[Any]]:
    return [row[row != IGNORE] for row in ids.numpy()]


def features(rows: Rows) -> NDArray[np.float32]:
    """Return features (N, D) of the inputs: relative counts of ids, or numbers.

    Numbers of equal shape are flattened. Of others, the features are means and standard deviations over all frames, and
    means over the three thirds.
    """
    if not rows.has_inputs:
        raise LeftOut("the rows have no inputs")
    if rows.are_ids:
        return _id_counts(rows.inputs)
    shapes = {row.shape for row in rows.inputs}
    if len(shapes) == 1 and rows.inputs[0].size <= 2 * MAX_FEATURES:
        return np.stack([row.ravel() for row in rows.inputs]).astype(np.float32)
    return np.stack([_summary(row.reshape(len(row), -1)) for row in rows.inputs])


def _id_counts(rows: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
    """Count ids in at most MAX_FEATURES buckets, divided by the root of the length."""
    size = min(MAX_FEATURES, 1 + max(int(row.max(initial=0)) for row in rows))
    counts = np.zeros((len(rows), size), np.float32)
    for number, row in enumerate(rows):
        np.add.at(counts[number], row % size, 1.0)
        counts[number] /= max(1.0, len(row)) ** 0.5
    return counts


def _summary(frames: NDArray[Any]) -> NDArray[np.float32]:
    """Summarize frames (F, D): means, standard deviations, and means over thirds."""
    thirds = [part.mean(0) if len(part) else np.zeros(frames.shape[1]) for part in np.array_split(frames, 3)]
    return np.concatenate([frames.mean(0), frames.std(0), *thirds]).astype(np.float32)


def row_keys(rows: Rows, with_targets: bool = True) -> list[bytes]:
    """Return keys that are equal for equal rows."""
    parts: Iterator[tuple[NDArray[Any], NDArray[Any]]] = zip(rows.inputs, rows.targets, strict=True)
    return [row.tobytes() + b"|" + (target.tobytes() if with_targets else b"") for row, target in parts]
