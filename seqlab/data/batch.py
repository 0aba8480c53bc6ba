"""What a model is given: padded ids, with the prediction target already shifted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Protocol, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

IGNORE = -100
"""Value of `tgt_out` where nothing is predicted: the default `ignore_index` of torch's cross entropy."""


class Batch(Protocol):
    """What training knows of a batch of any kind; all kinds are frozen dataclasses of tensors and plain numbers."""

    @property
    def indices(self) -> Tensor:
        """(B,) int64: what the rows are, for error messages and replay."""
        ...

    @property
    def num_targets(self) -> int:
        """What is predicted, counted in units of its own: tokens, labels, numbers; 0 for a batch without a target."""
        ...

    def idle(self) -> Self:
        """Keep the shape, but predict nothing: for a rank that has less to do than the others."""
        ...

    @property
    def continues(self) -> bool:
        """Whether the rows go on where those of the batch before them ended, with the state that it left behind."""
        ...

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Batch:
        """Copy all tensors to `device`."""
        ...


class TokenBatch(Batch, Protocol):
    """What objectives on tokens know of a batch."""

    @property
    def tgt_out(self) -> Tensor | None:
        """(B, T) int64: what is predicted, IGNORE where nothing is."""
        ...

    @property
    def num_tgt_tokens(self) -> int:
        """Predicted tokens."""
        ...


class BaseBatch:
    """The base of batches: dataclasses of tensors and plain numbers, the first of which has a row for each example."""

    indices: Tensor
    continues: bool = False

    def __len__(self) -> int:
        first: Tensor = getattr(self, fields(self)[0].name)  # type: ignore[arg-type]
        return first.size(0)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Self:
        """Copy all tensors to `device`; the same batch when they are there already."""
        if self.indices.device == torch.device(device):
            return self
        values = {item.name: getattr(self, item.name) for item in fields(self)}  # type: ignore[arg-type]
        tensors = {name: value for name, value in values.items() if isinstance(value, Tensor)}
        return replace(self, **{name: value.to(device, non_blocking=non_blocking) for name, value in tensors.items()})  # type: ignore[type-var]


def pin_batch(batch: Batch) -> Batch:
    """Copy a batch into page-locked memory, from which a GPU copies while the host goes on."""
    values = {item.name: getattr(batch, item.name) for item in fields(batch)}  # type: ignore[arg-type]
    tensors = {name: value.pin_memory() for name, value in values.items() if isinstance(value, Tensor)}
    return replace(batch, **tensors)  # type: ignore[type-var]


class BaseTokenBatch(BaseBatch):
    """The base of batches whose targets are tokens."""

    num_tgt_tokens: int
    tgt_out: Tensor | None

    @property
    def num_targets(self) -> int:
        """Predicted tokens or labels."""
        return self.num_tgt_tokens

    def idle(self) -> Self:
        """Keep the shape, but predict nothing."""
        assert self.tgt_out is not None
        changes = {"tgt_out": torch.full_like(self.tgt_out, IGNORE), "num_tgt_tokens": 0}
        return replace(self, **changes)  # type: ignore[type-var]


@dataclass(frozen=True)
class Seq2SeqBatch(BaseTokenBatch):
    """Pairs of id sequences, padded on the right."""

    src: Tensor  # (B, S) int64, padded with pad_id, each row ends with eos_id
    src_lengths: Tensor  # (B,) int64, eos counted
    tgt_in: Tensor | None  # (B, T) int64: bos + target, padded with pad_id
    tgt_out: Tensor | None  # (B, T) int64: target + eos, IGNORE at padding
    indices: Tensor  # (B,) int64: which pair of the corpus, for error messages and replay
    num_tgt_tokens: int  # predicted tokens, eos counted; 0 without a target side


@dataclass(frozen=True)
class TextBatch(BaseTokenBatch):
    """Rows of a text: blocks of a continuous one, lines, or several lines packed into a row; padded on the right."""

    tgt_in: Tensor  # (B, T) int64: what is read; where a row ends, pad_id
    tgt_out: Tensor  # (B, T) int64: the next id, IGNORE where none is predicted
    indices: Tensor  # (B,) int64: where the row's first predicted token stands in the text
    num_tgt_tokens: int  # predicted tokens
    positions: Tensor | None = None  # (B, T) int64: place of each id in its line, where rows are packed
    continues: bool = False  # the rows go on where those of the batch before ended


@dataclass(frozen=True)
class LabelledBatch(BaseTokenBatch):
    """Lines of text and their labels, padded on the right."""

    src: Tensor  # (B, S) int64, padded with pad_id; no special id is added
    src_lengths: Tensor  # (B,) int64
    spelling: Tensor | None  # (W, C) int16: how each word is spelt, row after row (see `spell_words`); W words in all
    tgt_out: Tensor | None  # (B, S) or (B, 1) int64: labels by number, of words or of lines; IGNORE where there is none
    indices: Tensor  # (B,) int64: which line of the corpus
    num_tgt_tokens: int  # labels


@dataclass(frozen=True)
class FrameBatch(BaseTokenBatch):
    """Sequences of frames, or vectors, which are one frame each, and id sequences, all padded on the right."""

    frames: Tensor  # (B, F, D) float32, 0 at padding
    frame_lengths: Tensor  # (B,) int64
    tgt_in: Tensor | None  # (B, T) int64: bos + target, padded with pad_id
    tgt_out: Tensor | None  # (B, T) int64: target + eos, IGNORE at padding
    indices: Tensor  # (B,) int64: which example of the corpus
    num_tgt_tokens: int  # predicted tokens, eos counted; 0 without a target side


@dataclass(frozen=True)
class ValueBatch(BaseBatch):
    """Ids, frames, vectors or images, and one label or several numbers for each example."""

    src: Tensor
    """(B, S) int64, padded with pad_id; (B, F, D) float32, 0 at padding, where a vector is one frame; or images
    (B, C, H, W) float32."""
    src_lengths: Tensor  # (B,) int64: ids or frames; of images their rows of pixels
    targets: Tensor | None
    """(B,) int64: labels, IGNORE for none; or (B, K) float32: numbers, NaN for none, or 0 and 1 for several labels."""
    indices: Tensor  # (B,) int64: which example of the corpus
    num_targets: int  # labels or numbers that there are

    def idle(self) -> Self:
        """Keep the shape, but predict nothing."""
        assert self.targets is not None
        nothing = torch.nan if self.targets.is_floating_point() else IGNORE
        return replace(self, targets=torch.full_like(self.targets, nothing), num_targets=0)


def collate_prompts(rows: Sequence[ArrayLike]) -> TextBatch:
    """Put prompts of one length, whose first id is the one that a text begins with, into a batch to be continued.

    Raises:
        ValueError: they differ in length, or are empty.
    """
    lengths = {len(np.asarray(row)) for row in rows}
    if len(lengths) != 1 or 0 in lengths:
        raise ValueError(f"Prompts of a batch must have one length of at least 1, but have {sorted(lengths)}.")
    tgt_in = torch.from_numpy(np.stack([np.asarray(row, np.int64) for row in rows]))
    return TextBatch(tgt_in, torch.full_like(tgt_in, IGNORE), torch.arange(len(rows)), 0)


def collate_text(rows: Sequence[ArrayLike], indices: Iterable[int], *, pad_id: int, start_id: int) -> TextBatch:
    """Pad rows of predicted ids into one batch; each is read with `start_id` before it and without its last id."""
    if not len(rows):
        raise ValueError("A batch needs at least one row, but `rows` is empty.")
    flat, lengths = _concatenate(rows)
    tgt_out, _ = _pad((flat, lengths), IGNORE)
    tgt_in, _ = _pad((flat, lengths), pad_id, first=start_id)
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
    """Pad id sequences without special ids into one batch; rows may be lists, numpy arrays or tensors."""
    if not len(src_rows):
        raise ValueError("A batch needs at least one example, but `src_rows` is empty.")
    src, src_lengths = _pad(_concatenate(src_rows), pad_id, last=eos_id)
    tgt_in, tgt_out, count = _pad_targets(tgt_rows, len(src_rows), pad_id, bos_id, eos_id)
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
    """Pad frames (F, D) or vectors (D,), and id sequences without special ids, into one batch."""
    padded, lengths = _pad_frames(frames)
    tgt_in, tgt_out, count = _pad_targets(tgt_rows, len(frames), pad_id, bos_id, eos_id)
    row_indices = torch.from_numpy(np.fromiter(indices, np.int64, len(frames)))
    return FrameBatch(padded, lengths, tgt_in, tgt_out, row_indices, count)


def collate_values(
    src_rows: Sequence[ArrayLike],
    targets: ArrayLike | None,
    indices: Iterable[int],
    *,
    pad_id: int | None = None,
) -> ValueBatch:
    """Pad sequences of ids, or frames (F, D) or vectors (D,) where there is no `pad_id`, into one batch.

    Args:
        src_rows: of each example.
        targets: labels (B,) of whole numbers, IGNORE for none, or numbers (B, K), NaN for none.
        indices: what the examples are.
        pad_id: of ids.
    """
    if pad_id is None:
        src, lengths = _pad_frames(src_rows)
    elif not len(src_rows):
        raise ValueError("A batch needs at least one example, but `src_rows` is empty.")
    else:
        src, counts = _pad(_concatenate(src_rows), pad_id)
        lengths = torch.from_numpy(counts)
    values, count = None, 0
    if targets is not None:
        found = np.asarray(targets)
        are_labels = found.dtype.kind in "iu"
        if len(found) != len(src_rows) or found.ndim != (1 if are_labels else 2):
            raise ValueError(
                f"A batch of {len(src_rows)} needs as many labels, or numbers (B, K), but got {found.shape}."
            )
        values = torch.from_numpy(found.astype(np.int64 if are_labels else np.float32))
        count = int((values != IGNORE).sum() if are_labels else (~values.isnan()).sum())
    row_indices = torch.from_numpy(np.fromiter(indices, np.int64, len(src_rows)))
    return ValueBatch(src, lengths, values, row_indices, count)


def batch_of_arrays(
    inputs: NDArray[np.float32], targets: NDArray[np.int64] | NDArray[np.float32] | None, indices: NDArray[np.int64]
) -> ValueBatch:
    """Make a batch of inputs of one shape, (B, F, D) or (B, C, H, W), and targets, (B,) or (B, K), as `ValueBatch`."""
    values, count = None, 0
    if targets is not None:
        values = torch.from_numpy(targets)
        count = int((values != IGNORE).sum() if targets.dtype.kind == "i" else (~values.isnan()).sum())
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
    """Pad lines and their labels, which are numbers, into one batch.

    `texts`: the lines in UTF-8 with one space between words, where the model reads how words are spelt.
    """
    if not len(src_rows):
        raise ValueError("A batch needs at least one line, but `src_rows` is empty.")
    src, src_lengths = _pad(_concatenate(src_rows), pad_id)
    spelling = None if texts is None else torch.from_numpy(spell_words(texts))
    if spelling is not None and len(spelling) != src_lengths.sum():
        raise ValueError(f"A batch of {src_lengths.sum()} words must come with the spelling of {len(spelling)} words.")
    tgt_out, count = None, 0
    if labels is not None:
        flat = _concatenate(labels)
        tgt_out, count = _pad(flat, IGNORE)[0], int((flat[0] != IGNORE).sum())
    row_indices = torch.from_numpy(np.fromiter(indices, np.int64, len(src_rows)))
    return LabelledBatch(src, torch.from_numpy(src_lengths), spelling, tgt_out, row_indices, count)


MAX_SPELLING_BYTES = 32
"""Bytes of a word that are read: of a longer one the first and the last."""
SPELLING_VOCAB_SIZE = 256 + 3
WORD_START, WORD_END, FIRST_BYTE = 1, 2, 3
"""How a spelling begins and ends, and how byte 0 is written; 0 is padding."""


def spell_words(texts: Sequence[NDArray[np.uint8]]) -> NDArray[np.int16]:
    """Give the UTF-8 bytes of each word, padded on the right: lines of words with one space between -> (W, C)."""
    space = np.array([ord(" ")], np.uint8)
    flat = np.concatenate([part for text in texts if len(text) for part in (text, space)] or [space[:0]])
    ends = np.flatnonzero(flat == ord(" "))
    starts = np.concatenate([[0], ends[:-1] + 1]) if len(ends) else ends
    lengths = np.minimum(ends - starts, MAX_SPELLING_BYTES)
    places = np.arange(int(lengths.max(initial=0)))
    front = places < MAX_SPELLING_BYTES // 2
    where = np.where(front, starts[:, None] + places, ends[:, None] - lengths[:, None] + places)
    is_text = places < lengths[:, None]
    spelling = np.zeros((len(ends), len(places) + 2), np.int16)
    spelling[:, 0] = WORD_START
    spelling[:, 1:-1] = np.where(is_text, flat[np.where(is_text, where, 0)].astype(np.int16) + FIRST_BYTE, 0)
    spelling[np.arange(len(ends)), lengths + 1] = WORD_END
    return spelling


def _pad_targets(
    rows: Sequence[ArrayLike] | None, count: int, pad_id: int, bos_id: int, eos_id: int
) -> tuple[Tensor | None, Tensor | None, int]:
    """Pad targets as they are read and as they are predicted; return how many tokens are predicted, too."""
    if rows is None:
        return None, None, 0
    if len(rows) != count:
        raise ValueError(f"A batch needs as many targets as sources, but got {len(rows)} and {count}.")
    flat = _concatenate(rows)
    tgt_in, lengths = _pad(flat, pad_id, first=bos_id)
    return tgt_in, _pad(flat, IGNORE, last=eos_id)[0], int(lengths.sum())


def _pad_frames(rows: Sequence[ArrayLike]) -> tuple[Tensor, Tensor]:
    """Pad frames (F, D), or vectors (D,), with 0: (B, F, D) and lengths (B,)."""
    if not len(rows):
        raise ValueError("A batch needs at least one example, but has none.")
    arrays = [np.atleast_2d(np.asarray(row, np.float32)) for row in rows]
    if len({(each.ndim, each.shape[1]) for each in arrays}) > 1 or arrays[0].ndim != 2:
        raise ValueError(f"Frames of a batch must have one size (F, D), but have {[each.shape for each in arrays]}.")
    lengths = np.fromiter(map(len, arrays), np.int64, len(arrays))
    padded = np.zeros((len(arrays), int(lengths.max()), arrays[0].shape[1]), np.float32)
    padded[np.arange(padded.shape[1]) < lengths[:, None]] = np.concatenate(arrays)
    return torch.from_numpy(padded), torch.from_numpy(lengths)


def _concatenate(rows: Sequence[ArrayLike]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the values of all rows in one array, and the lengths of the rows."""
    arrays = [np.asarray(row, np.int64) for row in rows]
    return np.concatenate(arrays), np.fromiter(map(len, arrays), np.int64, len(arrays))


def _pad(
    rows: tuple[NDArray[np.int64], NDArray[np.int64]], value: int, *, first: int | None = None, last: int | None = None
) -> tuple[Tensor, NDArray[np.int64]]:
    """Fill a matrix with rows, one id before or after each; return it with their new lengths."""
    # numpy: on arrays this small a fraction of the time that torch's operations take.
    flat, lengths = rows
    start = int(first is not None)
    ends = lengths + start
    lengths = ends + (last is not None)
    padded = np.full((len(lengths), int(lengths.max())), value, np.int64)
    places = np.arange(padded.shape[1])
    padded[(places >= start) & (places < ends[:, None])] = flat
    if first is not None:
        padded[:, 0] = first
    if last is not None:
        padded[np.arange(len(ends)), ends] = last
    return torch.from_numpy(padded), lengths
