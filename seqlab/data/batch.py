"""What a model is given: padded ids, with the prediction target already shifted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

IGNORE = -100
"""Value of `tgt_out` where nothing is predicted: the default `ignore_index` of torch's cross entropy."""


@dataclass(frozen=True)
class Seq2SeqBatch:
    """Pairs of id sequences, padded on the right."""

    src: Tensor  # (B, S) int64, padded with pad_id, each row ends with eos_id
    src_lengths: Tensor  # (B,) int64, eos counted
    tgt_in: Tensor | None  # (B, T) int64: bos + target, padded with pad_id
    tgt_out: Tensor | None  # (B, T) int64: target + eos, IGNORE at padding
    indices: Tensor  # (B,) int64: which pair of the corpus, for error messages and replay
    num_tgt_tokens: int  # predicted tokens, eos counted; 0 without a target side

    def __len__(self) -> int:
        return self.src.size(0)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Seq2SeqBatch:
        """Copy all tensors to `device`; the same batch when they are there already."""
        if self.src.device == torch.device(device):
            return self
        tgt_in = None if self.tgt_in is None else self.tgt_in.to(device, non_blocking=non_blocking)
        tgt_out = None if self.tgt_out is None else self.tgt_out.to(device, non_blocking=non_blocking)
        return Seq2SeqBatch(
            src=self.src.to(device, non_blocking=non_blocking),
            src_lengths=self.src_lengths.to(device, non_blocking=non_blocking),
            tgt_in=tgt_in,
            tgt_out=tgt_out,
            indices=self.indices.to(device, non_blocking=non_blocking),
            num_tgt_tokens=self.num_tgt_tokens,
        )


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
    src, src_lengths = _pad(_flat(src_rows), pad_id, last=eos_id)
    tgt_in = tgt_out = None
    num_tgt_tokens = 0
    if tgt_rows is not None:
        if len(tgt_rows) != len(src_rows):
            raise ValueError(f"A batch needs as many targets as sources, but got {len(tgt_rows)} and {len(src_rows)}.")
        tgt = _flat(tgt_rows)
        tgt_in, tgt_lengths = _pad(tgt, pad_id, first=bos_id)
        tgt_out, _ = _pad(tgt, IGNORE, last=eos_id)
        num_tgt_tokens = int(tgt_lengths.sum())
    row_indices = torch.from_numpy(np.fromiter(indices, np.int64, len(src_rows)))
    return Seq2SeqBatch(src, torch.from_numpy(src_lengths), tgt_in, tgt_out, row_indices, num_tgt_tokens)


def _flat(rows: Sequence[ArrayLike]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
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
