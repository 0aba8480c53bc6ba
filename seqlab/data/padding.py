"""Padding of rows of ids or frames into tensors."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor


def pad_frames(rows: Sequence[ArrayLike]) -> tuple[Tensor, Tensor]:
    """Pad frames (F, D), or vectors (D,), with 0: (B, F, D) and lengths (B,)."""
    if not len(rows):
        raise ValueError("A batch needs at least one example, but has none.")
    arrays = [np.atleast_2d(np.asarray(row, np.float32)) for row in rows]
    if len({(array.ndim, array.shape[1]) for array in arrays}) > 1 or arrays[0].ndim != 2:
        raise ValueError(f"Frames of a batch must have one size (F, D), but have {[array.shape for array in arrays]}.")
    lengths = np.fromiter(map(len, arrays), np.int64, len(arrays))
    padded = np.zeros((len(arrays), int(lengths.max()), arrays[0].shape[1]), np.float32)
    padded[np.arange(padded.shape[1]) < lengths[:, None]] = np.concatenate(arrays)
    return torch.from_numpy(padded), torch.from_numpy(lengths)


def concatenate(rows: Sequence[ArrayLike]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Concatenate rows; return their values and their lengths."""
    arrays = [np.asarray(row, np.int64) for row in rows]
    return np.concatenate(arrays), np.fromiter(map(len, arrays), np.int64, len(arrays))


def pad(
    rows: tuple[NDArray[np.int64], NDArray[np.int64]], value: int, *, first: int | None = None, last: int | None = None
) -> tuple[Tensor, NDArray[np.int64]]:
    """Pad concatenated rows into a matrix, with an optional id before and after each row; also return the lengths."""
    # numpy is several times faster than torch for small arrays.
    flat, lengths = rows
    start = int(first is not None)
    ends = lengths + start
    lengths = ends + (last is not None)
    padded = np.full((len(lengths), int(lengths.max())), value, np.int64)
    columns = np.arange(padded.shape[1])
    padded[(columns >= start) & (columns < ends[:, None])] = flat
    if first is not None:
        padded[:, 0] = first
    if last is not None:
        padded[np.arange(len(ends)), ends] = last
    return torch.from_numpy(padded), lengths


def pad_targets(
    rows: Sequence[ArrayLike] | None, count: int, pad_id: int, bos_id: int, eos_id: int, ignore: int
) -> tuple[Tensor | None, Tensor | None, int]:
    """Return padded decoder inputs and prediction targets, and the number of predicted tokens.

    Prediction targets are padded with `ignore`.
    """
    if rows is None:
        return None, None, 0
    if len(rows) != count:
        raise ValueError(f"A batch needs as many targets as sources, but got {len(rows)} and {count}.")
    flat = concatenate(rows)
    tgt_in, lengths = pad(flat, pad_id, first=bos_id)
    return tgt_in, pad(flat, ignore, last=eos_id)[0], int(lengths.sum())
