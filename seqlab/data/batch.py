"""What a model is given: padded ids, with the prediction target already shifted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

import torch
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
    src_rows: Sequence[Iterable[int]],
    tgt_rows: Sequence[Iterable[int]] | None,
    indices: Iterable[int],
    *,
    pad_id: int,
    bos_id: int,
    eos_id: int,
) -> Seq2SeqBatch:
    """Pad id sequences without special ids into one batch; rows may be lists, numpy arrays or tensors."""
    if not len(src_rows):
        raise ValueError("A batch needs at least one example, but `src_rows` is empty.")
    src_lists = [[*_as_list(row), eos_id] for row in src_rows]
    src, src_lengths = _pad(src_lists, pad_id)
    tgt_in = tgt_out = None
    num_tgt_tokens = 0
    if tgt_rows is not None:
        if len(tgt_rows) != len(src_rows):
            raise ValueError(f"A batch needs as many targets as sources, but got {len(tgt_rows)} and {len(src_rows)}.")
        tgt_lists = [_as_list(row) for row in tgt_rows]
        tgt_in, tgt_lengths = _pad([[bos_id, *row] for row in tgt_lists], pad_id)
        tgt_out, _ = _pad([[*row, eos_id] for row in tgt_lists], IGNORE)
        num_tgt_tokens = int(tgt_lengths.sum())
    row_indices = torch.tensor(_as_list(indices), dtype=torch.int64)
    return Seq2SeqBatch(src, src_lengths, tgt_in, tgt_out, row_indices, num_tgt_tokens)


def _as_list(row: Iterable[int]) -> list[int]:
    # tolist() of an array or tensor is much faster than iterating over its scalars.
    return row.tolist() if hasattr(row, "tolist") else list(row)


def _pad(rows: list[list[int]], value: int) -> tuple[Tensor, Tensor]:
    lengths = torch.tensor([len(row) for row in rows], dtype=torch.int64)
    padded = torch.full((len(rows), int(lengths.max())), value, dtype=torch.int64)
    filled = torch.arange(padded.size(1)) < lengths[:, None]  # (B, S)
    padded[filled] = torch.tensor(list(chain.from_iterable(rows)), dtype=torch.int64)
    return padded, lengths
