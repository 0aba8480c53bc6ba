"""Numpy arrays and folders of images as examples, and their codec.

An .npz file has an array of inputs and one of targets, with one row per example. A folder of images has a subfolder for
each class. Two-dimensional arrays hold vectors; three-dimensional ones hold images of one channel, or sequences of
vectors; four-dimensional ones hold images.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from seqlab.base.atomic_io import write_json
from seqlab.base.parsing import read_json, validate_type
from seqlab.data.cells import RawColumn
from seqlab.data.column import Column, Stamp
from seqlab.data.columns import FileColumn
from seqlab.data.images import IMAGE_SUFFIXES, images_in, read_images
from seqlab.data.readers import require_file
from seqlab.data.table_codec import VALUES_FILE, FloatArray, RowIndices
from seqlab.data.tables import RawTable

Layout = Literal["images", "frames"]
"""Content of a three-dimensional array: images of one channel, or a sequence of vectors for each example."""
MAX_CHANNELS = 4
ROWS_PER_ENCODING = 1024
"""Number of rows standardized at a time."""
CLASS_COLUMN = "class"
"""Name of the target of a folder of images. Its value is the name of an image's subfolder."""


def is_array_path(path: Path) -> bool:
    """Return whether a path is an .npz file or a folder of images, not a table."""
    return path.suffix == ".npz" or path.is_dir()


def source_to_hash(path: str) -> Column:
    """Return a column that hashes a table, an .npz file or a folder of images."""
    found = Path(path).expanduser()
    return ImageFolder(found) if found.is_dir() else FileColumn(found)


@dataclass(frozen=True)
class ImageFolder(FileColumn):
    """The images of a folder with a subfolder for each class."""

    def _files(self) -> list[Path]:
        return images_in(self.path, "*/*")

    def stamp(self) -> Stamp:
        """Return a stamp that changes when an image is changed, added or removed."""
        stats = [file.stat() for file in self._files()]
        mtime = max((each.st_mtime_ns for each in stats), default=0)
        ctime = max((each.st_ctime_ns for each in stats), default=0)
        return sum(each.st_size for each in stats) + len(stats), mtime, ctime

    def sha256(self) -> str:
        """Hash the names and contents of all images."""
        digest = hashlib.sha256()
        for file in self._files():
            digest.update(f"{file.relative_to(self.path).as_posix()}\0{file.stat().st_size}\0".encode())
            digest.update(file.read_bytes())
        return digest.hexdigest()


def read_arrays(
    path: Path, inputs: str, targets: Sequence[str], layout: Layout
) -> tuple[NDArray[Any], dict[str, NDArray[Any]], list[str]]:
    """Read the inputs (N, ...), the targets by name, each (N,), and the location of each example.

    Raises:
        FileNotFoundError, ValueError: a file, array or image does not exist, or the shapes do not match.
    """
    if path.is_dir():
        return _read_images(path, has_classes=len(targets) > 0)
    require_file(path)
    try:
        with np.load(path) as arrays:
            arrays_by_name = {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError, BadZipFile) as error:
        raise ValueError(f"{path}: cannot be read as numpy arrays ({error}).") from None
    values = add_channel_axis(_get_array(arrays_by_name, inputs, path), layout, str(path))
    _refuse_non_finite(values, str(path))
    columns: dict[str, NDArray[Any]] = {}
    for name in targets:
        target = _get_array(arrays_by_name, name, path)
        if len(target) != len(values):
            raise ValueError(f"{path}: {inputs!r} has {len(values):,} rows, but {name!r} has {len(target):,}.")
        if target.ndim > 2:
            raise ValueError(f"{path}: {name!r} must have one dimension or two, but has {target.ndim}.")
        columns |= {name: target} if target.ndim == 1 else {f"{name}.{i}": each for i, each in enumerate(target.T)}
    return values, columns, [f"{path}, row {row}" for row in range(1, len(values) + 1)]


def _get_array(arrays: dict[str, NDArray[Any]], name: str, path: Path) -> NDArray[Any]:
    if name not in arrays:
        raise ValueError(f"{path}: has no array {name!r}, only {', '.join(arrays)}.")
    return arrays[name]


def _refuse_non_finite(values: NDArray[Any], location: str) -> None:
    """Raise ValueError, naming the row, if inputs (N, ...) contain values that are not finite numbers."""
    if values.dtype.kind not in "iufb":
        raise ValueError(f"{location}: inputs must be numbers, but have the type {values.dtype}.")
    wrong = ~np.isfinite(values).all(axis=tuple(range(1, values.ndim)))
    if wrong.any():
        raise ValueError(
            f"{location}, row {int(np.flatnonzero(wrong)[0]) + 1}: contains NaN or infinity: inputs must be finite."
        )


def add_channel_axis(values: NDArray[Any], layout: Layout, location: str) -> NDArray[Any]:
    """Reshape inputs as models expect them: (N, D), (N, F, D) or (N, C, H, W); `location` is for messages."""
    if values.ndim == 2 or (values.ndim == 3 and layout == "frames"):
        return values
    if values.ndim == 3:
        return values[:, None]
    if values.ndim == 4:
        return values.transpose(0, 3, 1, 2) if values.shape[3] <= MAX_CHANNELS < values.shape[1] else values
    raise ValueError(f"{location}: inputs must have two to four dimensions, but have {values.ndim}.")


def _read_images(folder: Path, has_classes: bool) -> tuple[NDArray[Any], dict[str, NDArray[Any]], list[str]]:
    files = images_in(folder, "*/*") or ([] if has_classes else images_in(folder, "*"))
    if not files:
        raise ValueError(
            f"{folder}: has no images ({', '.join(IMAGE_SUFFIXES)}) in subfolders, one for each class, such as "
            f"{folder / 'cats' / 'first.png'}."
        )
    found = {path.parent for path in files}
    for each in sorted(folder.iterdir()) if has_classes else ():
        if each.is_dir() and each not in found and not each.name.startswith("."):
            raise ValueError(f"{each}: has no images ({', '.join(IMAGE_SUFFIXES)}), so its class has no examples.")
    images = read_images(files)
    return images, {CLASS_COLUMN: np.array([path.parent.name for path in files])}, list(map(str, files))


def targets_table(columns: dict[str, NDArray[Any]], locations: Sequence[str]) -> RawTable:
    """Put targets into a table; `locations` are the locations of its rows."""
    table_columns = {}
    for name, values in columns.items():
        column = RawColumn(name)
        for value in values.tolist():
            is_integer = isinstance(value, bool) or (isinstance(value, float) and value.is_integer())
            column.add(str(int(value)) if is_integer else str(value))
        table_columns[name] = column
    return _LocatedTable(table_columns, list(locations), list(range(len(locations))), array("q", [0]) * len(locations))


class _LocatedTable(RawTable):
    """A table with a location for each row, such as the path of an image."""

    def locate(self, row: int) -> str:
        return self.files[row]


@dataclass(frozen=True)
class ArrayCodec:
    """Standardize arrays by the statistics of the training rows: images by channel, vectors by element."""

    codec: ClassVar[str] = "array"
    shape: tuple[int, ...]
    """Shape of one example: (F, D), or (C, H, W); a vector is one frame."""
    mean: list[float]
    deviation: list[float]
    inputs: str
    """Name of the array in an .npz file."""
    layout: Layout = "images"

    @classmethod
    def fit(cls, values: NDArray[Any], rows: RowIndices, inputs: str, layout: Layout) -> ArrayCodec:
        """Compute mean and standard deviation over the training rows of inputs (N, ...)."""
        values = values[:, None] if values.ndim == 2 else values
        axes = (0, 2, 3) if values.ndim == 4 else (0, 1)
        part = values[rows].astype(np.float64)
        deviation = part.std(axis=axes)
        mean, is_constant = part.mean(axis=axes), deviation <= 1e-12 * abs(part).max(axis=axes)
        return cls(values.shape[1:], mean.tolist(), np.where(is_constant, 1.0, deviation).tolist(), inputs, layout)

    def encode(self, values: NDArray[Any], location: str) -> FloatArray:
        """Encode inputs (N, ...); raises ValueError if their shape is wrong or a value is not a finite number."""
        values = values[:, None] if values.ndim == 2 else values
        if values.shape[1:] != self.shape:
            raise ValueError(
                f"{location}: inputs have the shape {values.shape[1:]}, but the model expects {self.shape}."
            )
        mean, deviation = np.array(self.mean), np.array(self.deviation)
        if len(self.shape) == 3:
            mean, deviation = mean[:, None, None], deviation[:, None, None]
        _refuse_non_finite(values, location)
        encoded = np.empty(values.shape, np.float32)
        with np.errstate(over="ignore"):
            for start in range(0, len(values), ROWS_PER_ENCODING):  # in float64, a few rows at a time
                part = slice(start, start + ROWS_PER_ENCODING)
                encoded[part] = (values[part] - mean) / deviation
        _refuse_non_finite(encoded, location)
        return encoded

    def save(self, folder: Path) -> None:
        """Save the codec to a folder."""
        values = {name: getattr(self, name) for name in ("shape", "mean", "deviation", "inputs", "layout")}
        write_json(folder / VALUES_FILE, values)


def load_array_codec(folder: Path) -> ArrayCodec:
    """Load a codec of arrays; raises ValueError if its file is missing or damaged."""
    file = folder / VALUES_FILE
    try:
        return validate_type(read_json(file), ArrayCodec)
    except (OSError, ValueError) as error:
        raise ValueError(f"{file} is missing or damaged: {error}.") from None
