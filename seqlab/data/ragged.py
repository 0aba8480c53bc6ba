"""Ragged arrays on disk: concatenated rows and int64 offsets, read through memory maps."""

from __future__ import annotations

import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from seqlab.base.atomic_io import (
    file_crc32,
    read_checksummed_json,
    rename,
    sync,
    temporary_path,
    write_checksummed_json,
)
from seqlab.base.named_files import open_for_writing


def id_dtype(vocab_size: int) -> np.dtype[Any]:
    """Return the smallest dtype for the ids of a vocabulary."""
    return np.dtype(np.uint16 if vocab_size <= 1 << 16 else np.uint32)


@dataclass(frozen=True)
class ArrayState:
    """State of a partially written array, for resuming."""

    size: int = 0  # number of values
    crc32: int = 0


@dataclass(frozen=True)
class RaggedState:
    """State of a partially written ragged array, for resuming."""

    values: ArrayState
    offsets: ArrayState


class ArrayWriter:
    """Stream a one-dimensional array to a file, which gets its final name when it is complete and on disk.

    With the `state` of an interrupted writer, writing resumes there; raises ValueError if the file is shorter.
    """

    def __init__(self, path: Path, dtype: np.dtype[Any] | type, state: ArrayState | None = None) -> None:
        self.path = path
        self.dtype = np.dtype(dtype).newbyteorder("<")
        self.size, self._checksum = (0, 0) if state is None else (state.size, state.crc32)
        temporary = temporary_path(path)
        self._file = resume_file(temporary, self.size * self.dtype.itemsize) if state else open_for_writing(temporary)

    def append(self, values: NDArray[Any]) -> None:
        """Append values."""
        data = np.ascontiguousarray(values, self.dtype).tobytes()
        self._file.write(data)
        self._checksum = zlib.crc32(data, self._checksum)
        self.size += len(values)

    def save(self) -> ArrayState:
        """Flush the values to disk, and return the state from which another writer can resume."""
        sync(self._file, self.path)
        return ArrayState(self.size, self._checksum)

    def close(self) -> None:
        """Finish the file, and write its description to `PATH.json`."""
        self.save()
        self._file.close()
        rename(temporary_path(self.path), self.path)
        description = {"dtype": self.dtype.str, "size": self.size, "crc32": self._checksum}
        write_checksummed_json(_description_path(self.path), description)

    def discard(self) -> None:
        """Delete the unfinished file."""
        self._file.close()
        temporary_path(self.path).unlink(missing_ok=True)

    def __enter__(self) -> ArrayWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()


class RaggedWriter:
    """Stream rows to `PATH.values` and `PATH.offsets`, without keeping them in memory; resumable like `ArrayWriter`."""

    def __init__(self, path: Path, dtype: np.dtype[Any] | type, state: RaggedState | None = None) -> None:
        values, offsets = (state.values, state.offsets) if state else (None, None)
        self._values = ArrayWriter(path.with_name(path.name + ".values"), dtype, values)
        self._offsets = ArrayWriter(path.with_name(path.name + ".offsets"), np.int64, offsets)
        if state is None:
            self._offsets.append(np.zeros(1, np.int64))

    def extend(self, rows: RaggedArray) -> None:
        """Append rows; raises ValueError if a value does not fit into the dtype."""
        limit = np.iinfo(self._values.dtype).max
        if len(rows.values) and (rows.values.max() > limit or rows.values.min() < 0):
            bounds = f"{rows.values.min()} to {rows.values.max()}"
            raise ValueError(f"ids must be from 0 to {limit}, but are {bounds}.")
        self._offsets.append(self._values.size + rows.offsets[1:])
        self._values.append(rows.values)

    def save(self) -> RaggedState:
        """Flush the rows to disk, and return the state from which another writer can resume."""
        return RaggedState(self._values.save(), self._offsets.save())

    def close(self) -> None:
        """Finish the files, and write their descriptions."""
        self._values.close()
        self._offsets.close()


class RaggedArray(Sequence[NDArray[Any]]):
    """Rows of different lengths: concatenated values and offsets, in memory or in memory maps."""

    def __init__(self, values: NDArray[Any], offsets: NDArray[np.int64]) -> None:
        self.values = values  # (sum of lengths,)
        self.offsets = offsets  # (number of rows + 1,)

    @classmethod
    def from_lists(cls, rows: Sequence[Sequence[int]]) -> RaggedArray:
        """Create a ragged array from rows of integers."""
        lengths = np.fromiter(map(len, rows), np.int64, len(rows))
        return cls.from_flat(np.fromiter(chain.from_iterable(rows), np.int64, int(lengths.sum())), lengths)

    @classmethod
    def from_texts(cls, lines: Sequence[str]) -> RaggedArray:
        """Create a ragged array from the UTF-8 bytes of lines."""
        encoded = [line.encode("utf-8") for line in lines]
        lengths = np.fromiter(map(len, encoded), np.int64, len(encoded))
        return cls.from_flat(np.frombuffer(b"".join(encoded), np.uint8), lengths)

    @classmethod
    def from_flat(cls, values: NDArray[Any], lengths: NDArray[np.int64]) -> RaggedArray:
        """Create a ragged array from concatenated rows and their lengths."""
        return cls(values, _offsets_of(lengths))

    @classmethod
    def open(cls, path: Path, *, check: bool = False) -> RaggedArray:
        """Open the files of a `RaggedWriter` as memory maps; with `check`, verify their checksums.

        Raises:
            ValueError: a file is missing, incomplete or damaged.
        """
        values = open_array(path.with_name(path.name + ".values"), check=check)
        offsets = open_array(path.with_name(path.name + ".offsets"), check=check)
        if not len(offsets) or offsets[-1] != len(values):
            raise ValueError(f"{path}: the files of values and offsets do not match.")
        return cls(values, offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"Row {index} is out of range: there are {len(self)} rows.")
        row = index % len(self)
        return self.values[self.offsets[row] : self.offsets[row + 1]]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Lengths of all rows."""
        return np.diff(self.offsets)

    def lengths_of(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the lengths of the rows at `indices`."""
        return np.asarray(self.offsets[indices + 1] - self.offsets[indices])

    def count_repetitions(self) -> NDArray[np.int64]:
        """Count the values of each row that equal the previous value of the row."""
        positions = np.flatnonzero(self.values[1:] == self.values[:-1]) + 1
        rows = self._rows_of(positions)
        return np.bincount(rows[self.offsets[rows] < positions], minlength=len(self))

    def contains_any(self, values: range) -> NDArray[np.bool_]:
        """Return a mask of the rows that contain any of `values`."""
        positions = np.flatnonzero((self.values >= values.start) & (self.values < values.stop))
        return np.bincount(self._rows_of(positions), minlength=len(self)) > 0

    def _rows_of(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.searchsorted(self.offsets, positions, side="right") - 1

    def take(self, indices: NDArray[np.int64]) -> RaggedArray:
        """Copy the rows at `indices` into memory, in that order."""
        lengths = self.lengths_of(indices)
        offsets = _offsets_of(lengths)
        # Source of each value: the start of its row in `self.values`, plus its position in the row.
        sources = np.repeat(self.offsets[indices] - offsets[:-1], lengths) + np.arange(offsets[-1])
        return RaggedArray(np.asarray(self.values[sources]), offsets)

    def texts(self) -> list[str]:
        """Decode rows of UTF-8 bytes to strings."""
        return [row.tobytes().decode("utf-8") for row in self]


def append_eos(
    ids: NDArray[Any], lengths: NDArray[np.int64], eos_id: int, is_partial: NDArray[np.bool_] | None = None
) -> RaggedArray:
    """Append eos to each of the concatenated rows, except to partial lines, which continue in the next row."""
    ends = np.ones(len(lengths), np.bool_) if is_partial is None else ~is_partial
    return RaggedArray.from_flat(np.insert(ids, np.cumsum(lengths)[ends], eos_id), lengths + ends)


def _offsets_of(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])


def open_array(path: Path, *, check: bool = False) -> NDArray[Any]:
    """Open an array that `ArrayWriter` wrote as a memory map; arguments and errors as in `RaggedArray.open`."""
    try:
        description = read_checksummed_json(_description_path(path))
        dtype, size = np.dtype(description["dtype"]), int(description["size"])
        num_bytes = path.stat().st_size
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: is missing, or its description is damaged ({error}).") from error
    if num_bytes != size * dtype.itemsize:
        raise ValueError(f"{path}: has {num_bytes} bytes, but {size * dtype.itemsize} were written.")
    if check and file_crc32(path) != description["crc32"]:
        raise ValueError(f"{path}: the checksum does not match: the file is damaged.")
    # An empty file cannot be mapped.
    return np.memmap(path, dtype, "r", shape=(size,)) if size else np.zeros(0, dtype)


def resume_file(path: Path, size: int) -> BinaryIO:
    """Open a file to append after its first `size` bytes; raises ValueError if it is shorter."""
    try:
        file = open_for_writing(path, "r+b")
    except OSError as error:
        raise ValueError(f"{path}: cannot be appended to ({error}).") from error
    if file.seek(0, os.SEEK_END) < size:
        file.close()
        raise ValueError(f"{path}: is shorter than the {size} bytes that were written.")
    file.truncate(size)
    file.seek(size)
    return file


def _description_path(path: Path) -> Path:
    return path.with_name(path.name + ".json")
