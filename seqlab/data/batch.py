"""Batch types by shape, and their collation: padded inputs with prediction targets already shifted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Literal, Protocol, Self, runtime_checkable

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from seqlab.data.padding import concatenate, pad, pad_frames, pad_targets

IGNORE = -100
"""Value of `tgt_out` at positions without a target: the default `ignore_index` of torch's cross entropy."""
TextLayout = Literal["packed", "contiguous"]
"""Arrangement of a text in the rows of a `TextBatch` that models and objectives must support: several lines in a row,
told apart by `positions` (`packed`), or rows that continue those of the batch before (`contiguous`). See
`ModelConfig.abilities`."""


class Batch(Protocol):
    """Protocol of batches in training; all types are frozen dataclasses of tensors and plain numbers."""

    @property
    def indices(self) -> Tensor:
        """(B,) int64: index of each row in its corpus, for error messages and replay."""
        ...

    @property
    def num_targets(self) -> int:
        """Number of predicted tokens, labels or numbers; 0 for a batch without targets."""
        ...

    def without_targets(self) -> Self:
        """Return a batch of the same shape without targets, for a rank that has fewer micro-steps than others."""
        ...

    @property
    def continues(self) -> bool:
        """Whether the rows continue those of the previous batch, so that its final hidden state is the initial one."""
        ...

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Batch:
        """Copy all tensors to `device`."""
        ...


@runtime_checkable
class DivisibleBatch(Batch, Protocol):
    """Protocol of batches whose rows can be selected, which the experiments of `seqlab.diagnosis` need."""

    def select(self, rows: Tensor) -> Self:
        """Return a batch of some of the rows: (B',) int64 numbers of rows, or (B,) bool."""
        ...


class TokenBatch(Batch, Protocol):
    """Protocol of batches with tokens as targets."""

    @property
    def tgt_out(self) -> Tensor | None:
        """(B, T) int64: target tokens, IGNORE at positions without a target."""
        ...

    @property
    def num_tgt_tokens(self) -> int:
        """Number of predicted tokens."""
        ...


class BaseBatch:
    """Base class of batches: dataclasses of tensors and plain numbers; the first tensor has one row per example."""

    indices: Tensor
    continues: bool = False

    def __len__(self) -> int:
        first: Tensor = getattr(self, fields(self)[0].name)  # type: ignore[arg-type]
        return first.size(0)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Self:
        """Copy all tensors to `device`; return the same batch if they are there already."""
        if self.indices.device == torch.device(device):
            return self
        values = {item.name: getattr(self, item.name) for item in fields(self)}  # type: ignore[arg-type]
        tensors = {name: value for name, value in values.items() if isinstance(value, Tensor)}
        return replace(self, **{name: value.to(device, non_blocking=non_blocking) for name, value in tensors.items()})  # type: ignore[type-var]


class BaseDivisibleBatch(BaseBatch):
    """Base class of batches whose rows can be selected."""

    def select(self, rows: Tensor) -> Self:
        """Return a batch of some of the rows, which keep their padding.

        Args:
            rows: (B',) int64 numbers of rows, or (B,) bool.
        """
        if rows.dtype == torch.bool:
            rows = rows.nonzero().squeeze(1)
        values = {item.name: getattr(self, item.name) for item in fields(self)}  # type: ignore[arg-type]
        tensors = {name: value[rows] for name, value in values.items() if isinstance(value, Tensor)}
        return self._with_counts(replace(self, **tensors))  # type: ignore[type-var]

    def _with_counts(self, batch: Self) -> Self:
        """Return a batch of selected rows with their number of targets."""
        raise NotImplementedError


def pin_batch(batch: Batch) -> Batch:
    """Copy a batch into page-locked memory, from which copies to a GPU are asynchronous."""
    values = {item.name: getattr(batch, item.name) for item in fields(batch)}  # type: ignore[arg-type]
    tensors = {name: value.pin_memory() for name, value in values.items() if isinstance(value, Tensor)}
    return replace(batch, **tensors)  # type: ignore[type-var]


class BaseTokenBatch(BaseDivisibleBatch):
    """Base class of batches with tokens as targets."""

    num_tgt_tokens: int
    tgt_out: Tensor | None

    @property
    def num_targets(self) -> int:
        """Number of predicted tokens or labels."""
        return self.num_tgt_tokens

    def without_targets(self) -> Self:
        """Return a batch of the same shape without targets."""
        assert self.tgt_out is not None
        changes = {"tgt_out": torch.full_like(self.tgt_out, IGNORE), "num_tgt_tokens": 0}
        return replace(self, **changes)  # type: ignore[type-var]

    def _with_counts(self, batch: Self) -> Self:
        count = 0 if batch.tgt_out is None else int((batch.tgt_out != IGNORE).sum())
        return replace(batch, num_tgt_tokens=count)  # type: ignore[type-var]


@dataclass(frozen=True)
class Seq2SeqBatch(BaseTokenBatch):
    """Pairs of source and target sequences of ids, padded on the right."""

    src: Tensor  # (B, S) int64, padded with pad_id, each row ends with eos_id before its padding
    src_lengths: Tensor  # (B,) int64, eos counted
    tgt_in: Tensor | None  # (B, T) int64: bos + target, padded with pad_id
    tgt_out: Tensor | None  # (B, T) int64: target + eos, IGNORE at padding
    indices: Tensor  # (B,) int64: index of each pair in the corpus
    num_tgt_tokens: int  # predicted tokens, eos counted; 0 without a target side


@dataclass(frozen=True)
class TextBatch(BaseTokenBatch):
    """Rows of text: blocks of a continuous text, lines, or several lines packed into a row; padded on the right."""

    tgt_in: Tensor  # (B, T) int64: input ids, padded with pad_id
    tgt_out: Tensor  # (B, T) int64: the next id, IGNORE at positions without a target
    indices: Tensor  # (B,) int64: position of the row's first predicted token in the corpus
    num_tgt_tokens: int  # predicted tokens
    positions: Tensor | None = None  # (B, T) int64: position of each id in its line, for packed rows
    continues: bool = False  # the rows continue those of the previous batch


@dataclass(frozen=True)
class LabelledBatch(BaseTokenBatch):
    """Lines of text and their labels, padded on the right."""

    src: Tensor  # (B, S) int64, padded with pad_id; no special id is added
    src_lengths: Tensor  # (B,) int64
    spelling: Tensor | None  # (W, C) int16: spelling of each of the W words, row after row (see `spell_words`)
    tgt_out: Tensor | None  # (B, S) or (B, 1) int64: label numbers of words or lines, IGNORE for none
    indices: Tensor  # (B,) int64: index of each line in the corpus
    num_tgt_tokens: int  # number of labels

    def select(self, rows: Tensor) -> Self:
        """Return a batch of some of the rows, with the spelling of their words."""
        selected = replace(self, spelling=None)
        selected = BaseTokenBatch.select(selected, rows)
        if self.spelling is None:
            return selected
        row_of_word = torch.arange(len(self)).repeat_interleave(self.src_lengths)
        order = torch.arange(len(self))[rows].tolist()
        words = torch.cat([(row_of_word == row).nonzero().squeeze(1) for row in order])
        return replace(selected, spelling=self.spelling[words])


@dataclass(frozen=True)
class FrameBatch(BaseTokenBatch):
    """Sequences of frames (a vector is one frame) and target sequences of ids, padded on the right."""

    frames: Tensor  # (B, F, D) float32, 0 at padding
    frame_lengths: Tensor  # (B,) int64
    tgt_in: Tensor | None  # (B, T) int64: bos + target, padded with pad_id
    tgt_out: Tensor | None  # (B, T) int64: target + eos, IGNORE at padding
    indices: Tensor  # (B,) int64: index of each example in the corpus
    num_tgt_tokens: int  # predicted tokens, eos counted; 0 without a target side


@dataclass(frozen=True)
class ValueBatch(BaseDivisibleBatch):
    """Ids, frames, vectors or images as inputs, and one label or several numbers per example as targets."""

    src: Tensor
    """(B, S) int64, padded with pad_id; (B, F, D) float32, 0 at padding (a vector is one frame); or images (B, C, H, W)
    float32."""
    src_lengths: Tensor  # (B,) int64: number of ids or frames; of images, H
    targets: Tensor | None
    """(B,) int64: labels, IGNORE for none; or (B, O) float32: numbers, NaN for none, or 0 and 1 for multiple labels."""
    indices: Tensor  # (B,) int64: index of each example in the corpus
    num_targets: int  # labels or numbers that are not missing

    def without_targets(self) -> Self:
        """Return a batch of the same shape without targets."""
        assert self.targets is not None
        missing = torch.nan if self.targets.is_floating_point() else IGNORE
        return replace(self, targets=torch.full_like(self.targets, missing), num_targets=0)

    def _with_counts(self, batch: Self) -> Self:
        return replace(batch, num_targets=0 if batch.targets is None else count_targets(batch.targets))


def count_targets(targets: Tensor) -> int:
    """Count the labels (int64, IGNORE for none) or numbers (float, NaN for none) of a tensor."""
    return int((~targets.isnan()).sum() if targets.is_floating_point() else (targets != IGNORE).sum())


class DecoderBatch(TokenBatch, Protocol):
    """Protocol of batches for models that predict one target token after the other."""

    @property
    def tgt_in(self) -> Tensor | None:
        """(B, T) int64: start id and target tokens, padded."""
        ...


def collate_prompts(rows: Sequence[ArrayLike]) -> TextBatch:
    """Collate prompts of equal length into a batch for generation; each must start with the start id of the model.

    Raises:
        ValueError: the prompts differ in length, or are empty.
    """
    lengths = {len(np.asarray(row)) for row in rows}
    if len(lengths) != 1 or 0 in lengths:
        raise ValueError(f"Prompts of a batch must have one length of at least 1, but have {sorted(lengths)}.")
    tgt_in = torch.from_numpy(np.stack([np.asarray(row, np.int64) for row in rows]))
    return TextBatch(tgt_in, torch.full_like(tgt_in, IGNORE), torch.arange(len(rows)), 0)


def collate_text(rows: Sequence[ArrayLike], indices: Iterable[int], *, pad_id: int, start_id: int) -> TextBatch:
    """Collate rows of target ids; the input of a row is `start_id` and all of its ids but the last."""
    if not len(rows):
        raise ValueError("A batch needs at least one row, but `rows` is empty.")
    flat, lengths = concatenate(rows)
    tgt_out, _ = pad((flat, lengths), IGNORE)
    tgt_in, _ = pad((flat, lengths), pad_id, first=start_id)
    keep = torch.from_numpy(np.arange(tgt_out.shape[1]) < lengths[:, None])
    tgt_in = tgt_in[:, :-1].where(keep, torch.tensor(pad_id))
    row_indices = torch.from_numpy(np.fromiter(indices, np.int64, len(rows)))
    return TextBatch(tgt_in, tgt_out, row_indices, int(lengths.sum()))


def collate(
    src_rows: Sequence[ArrayLike],
    tgt_rows: Sequence[ArrayLike] | None,
    indices: Iterable[int],
    *,
    pad_id: int,
    bos_id: int,
    eos_id: int,
) -> Seq2SeqBatch:
    """Collate pairs of id sequences without special ids; rows may be lists, numpy arrays or tensors."""
    if not len(src_rows):
        raise ValueError("A batch needs at least one example, but `src_rows` is empty.")
    src, src_lengths = pad(concatenate(src_rows), pad_id, last=eos_id)
    tgt_in, tgt_out, count = pad_targets(tgt_rows, len(src_rows), pad_id, bos_id, eos_id, IGNORE)
    row_indices = torch.from_numpy(np.fromiter(indices, np.int64, len(src_rows)))
    return Seq2SeqBatch(src, torch.from_numpy(src_lengths), tgt_in, tgt_out, row_indices, count)


def collate_frames(
    frames: Sequence[ArrayLike],
    tgt_rows: Sequence[ArrayLike] | None,
    indices: Iterable[int],
    *,
    pad_id: int,
    bos_id: int,
    eos_id: int,
) -> FrameBatch:
    """Collate frames (F, D) or vectors (D,), and target sequences of ids without special ids."""
    padded, lengths = pad_frames(frames)
    tgt_in, tgt_out, count = pad_targets(tgt_rows, len(frames), pad_id, bos_id, eos_id, IGNORE)
    row_indices = torch.from_numpy(np.fromiter(indices, np.int64, len(frames)))
    return FrameBatch(padded, lengths, tgt_in, tgt_out, row_indices, count)


def collate_values(
    src_rows: Sequence[ArrayLike],
    targets: ArrayLike | None,
    indices: Iterable[int],
    *,
    pad_id: int | None = None,
) -> ValueBatch:
    """Collate sequences of ids, or frames (F, D) or vectors (D,), with labels or numbers as targets.

    Args:
        src_rows: input of each example.
        targets: integer labels (B,), IGNORE for none, or numbers (B, O), NaN for none.
        indices: indices of the examples in the corpus.
        pad_id: padding id; None for frames and vectors.
    """
    if pad_id is None:
        src, lengths = pad_frames(src_rows)
    elif not len(src_rows):
        raise ValueError("A batch needs at least one example, but `src_rows` is empty.")
    else:
        src, counts = pad(concatenate(src_rows), pad_id)
        lengths = torch.from_numpy(counts)
    values, count = None, 0
    if targets is not None:
        array = np.asarray(targets)
        are_labels = array.dtype.kind in "iu"
        if len(array) != len(src_rows) or array.ndim != (1 if are_labels else 2):
            raise ValueError(
                f"A batch of {len(src_rows)} needs as many labels (B,), or numbers (B, O), but `targets` has the shape "
                f"{array.shape}."
            )
        values = torch.from_numpy(array.astype(np.int64 if are_labels else np.float32))
        count = count_targets(values)
    row_indices = torch.from_numpy(np.fromiter(indices, np.int64, len(src_rows)))
    return ValueBatch(src, lengths, values, row_indices, count)


def batch_of_arrays(
    inputs: NDArray[np.float32], targets: NDArray[np.int64] | NDArray[np.float32] | None, indices: NDArray[np.int64]
) -> ValueBatch:
    """Make a `ValueBatch` of inputs of equal shape, (B, F, D) or (B, C, H, W), and targets, (B,) or (B, O)."""
    values, count = None, 0
    if targets is not None:
        values = torch.from_numpy(targets)
        count = count_targets(values)
    lengths = torch.full((len(inputs),), inputs.shape[-2])
    return ValueBatch(torch.from_numpy(inputs), lengths, values, torch.from_numpy(indices), count)


def collate_labelled(
    src_rows: Sequence[ArrayLike],
    labels: Sequence[ArrayLike] | None,
    texts: Sequence[NDArray[np.uint8]] | None,
    indices: Iterable[int],
    *,
    pad_id: int,
) -> LabelledBatch:
    """Collate lines and their label numbers.

    `texts`: the lines in UTF-8, words separated by one space, for models that read the spelling of words; else None.
    """
    if not len(src_rows):
        raise ValueError("A batch needs at least one line, but `src_rows` is empty.")
    src, src_lengths = pad(concatenate(src_rows), pad_id)
    spelling = None if texts is None else torch.from_numpy(spell_words(texts))
    if spelling is not None and len(spelling) != src_lengths.sum():
        raise ValueError(
            f"A batch of {src_lengths.sum()} words needs as many spellings, but `texts` has {len(spelling)} words."
        )
    tgt_out, count = None, 0
    if labels is not None:
        flat = concatenate(labels)
        tgt_out, count = pad(flat, IGNORE)[0], int((flat[0] != IGNORE).sum())
    row_indices = torch.from_numpy(np.fromiter(indices, np.int64, len(src_rows)))
    return LabelledBatch(src, torch.from_numpy(src_lengths), spelling, tgt_out, row_indices, count)


MAX_SPELLING_BYTES = 32
"""Maximum number of bytes of a spelling; of a longer word, the first 16 and the last 16 bytes are used."""
SPELLING_VOCAB_SIZE = 256 + 3
WORD_START, WORD_END, FIRST_BYTE = 1, 2, 3
"""Ids of a spelling: its start, its end, and byte 0 (byte b is FIRST_BYTE + b); 0 is padding."""


def spell_words(texts: Sequence[NDArray[np.uint8]]) -> NDArray[np.int16]:
    """Return the ids of the UTF-8 bytes of each word, padded: lines of words separated by one space -> (W, C)."""
    space = np.array([ord(" ")], np.uint8)
    flat = np.concatenate([part for text in texts if len(text) for part in (text, space)] or [space[:0]])
    ends = np.flatnonzero(flat == ord(" "))
    starts = np.concatenate([[0], ends[:-1] + 1]) if len(ends) else ends
    lengths = np.minimum(ends - starts, MAX_SPELLING_BYTES)
    columns = np.arange(int(lengths.max(initial=0)))
    front = columns < MAX_SPELLING_BYTES // 2
    sources = np.where(front, starts[:, None] + columns, ends[:, None] - lengths[:, None] + columns)
    is_text = columns < lengths[:, None]
    spelling = np.zeros((len(ends), len(columns) + 2), np.int16)
    spelling[:, 0] = WORD_START
    spelling[:, 1:-1] = np.where(is_text, flat[np.where(is_text, sources, 0)].astype(np.int16) + FIRST_BYTE, 0)
    spelling[np.arange(len(ends)), lengths + 1] = WORD_END
    return spelling
