"""Numpy arrays and folders of images as examples, and their codec.

An .npz file has an array of inputs and one of targets, with one row per example. A folder of images has a subfolder for
each class. Two-dimensional arrays hold vectors; three-dimensional ones hold images of one channel, or sequences of
vectors; four-dimensional ones hold images.
"""

from __future__ import annotations

import hashlib
import zlib
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from seqlab.base.atomic_io import write_json
from seqlab.base.parsing import read_json, validate_type
from seqlab.base.reading_notes import READ_AS_MEANT, ReadingNotes
from seqlab.data.cells import RawColumn
from seqlab.data.column import Column, Stamp
from seqlab.data.columns import FileColumn
from seqlab.data.delimited import Reject, raise_error
from seqlab.data.folders import count_suffixes, labeled_files, list_files
from seqlab.data.images import IMAGES, ImageReader, note_copies, read_images
from seqlab.data.readers import require_file
from seqlab.data.table_codec import VALUES_FILE, FloatArray, RowIndices
from seqlab.data.tables import RawTable

Layout = Literal["images", "frames"]
"""Content of a three-dimensional array: images of one channel, or a sequence of vectors for each example."""
ChannelAxis = Literal["first", "last"]
"""Position of the channels in an array of images: (N, C, H, W) or (N, H, W, C)."""
TARGET_KINDS = "iufbUSM"
"""Kinds of numpy types that targets may have."""
MAX_CHANNELS = 4
"""Maximum size of the channel axis of images that are not square, unless it is much smaller than the other axes."""
MIN_AXIS_RATIO = 4
"""The channel axis of an image that is not square must be smaller than the opposite axis by this factor."""
ROWS_PER_ENCODING = 1024
"""Number of rows standardized at a time."""
CLASS_COLUMN = "class"
"""Name of the target of a folder of images. Its value is the name of an image's subfolder."""


def is_array_path(path: Path) -> bool:
    """Return whether a path is an .npz file or a folder of images, not a table, which may be a folder of parts."""
    return path.suffix.lower() == ".npz" or (path.is_dir() and path.suffix.lower() != ".parquet")


def source_to_hash(path: str) -> Column:
    """Return a column that hashes a table, an .npz file or a folder of images."""
    expanded = Path(path).expanduser()
    return ImageFolder(expanded) if expanded.is_dir() else FileColumn(expanded)


@dataclass(frozen=True)
class ImageFolder(FileColumn):
    """The images of a folder with a subfolder for each class."""

    def _files(self) -> list[Path]:
        listed = list_files(self.path, IMAGES)
        return [file for file, depth in zip(listed.files, listed.depths, strict=True) if depth == 2]

    def stamp(self) -> Stamp:
        """Return a stamp that changes when an image is changed, added or removed."""
        stats = [file.stat() for file in self._files()]
        mtime = max((stat.st_mtime_ns for stat in stats), default=0)
        ctime = max((stat.st_ctime_ns for stat in stats), default=0)
        return sum(stat.st_size for stat in stats) + len(stats), mtime, ctime

    def sha256(self) -> str:
        """Hash the names and contents of all images."""
        digest = hashlib.sha256()
        for file in self._files():
            digest.update(f"{file.relative_to(self.path).as_posix()}\0{file.stat().st_size}\0".encode())
            digest.update(file.read_bytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class Arrays:
    """Inputs, targets, and the location of each example."""

    inputs: NDArray[Any]
    """(N, D), (N, F, D) or (N, C, H, W)."""
    targets: dict[str, NDArray[Any]]
    """Targets by name, each (N,)."""
    locations: list[str]
    channels: ChannelAxis = "first"
    """Position of the channels in the file."""
    notes: ReadingNotes = field(default_factory=ReadingNotes)
    """What was converted or left out."""


def read_arrays(
    path: Path,
    inputs: str,
    targets: Sequence[str],
    layout: Layout,
    channels: ChannelAxis | None = None,
    codec: ArrayCodec | None = None,
    needs_finite: bool = True,
) -> Arrays:
    """Read an .npz file.

    Args:
        path: the file.
        inputs: name of the array of inputs.
        targets: names of the arrays of targets, each with one dimension or two.
        layout: content of inputs with three dimensions.
        channels: position of the channels of images; None infers it from their shape.
        codec: the codec of the inputs, if it exists; it knows the position of the channels.
        needs_finite: whether a row with NaN or infinity is an error.

    Raises:
        FileNotFoundError, ValueError: a file or array does not exist, or the shapes do not match.
    """
    arrays = _load_arrays(path, (inputs, *targets))
    values, notes = arrays[inputs], ReadingNotes()
    known_axis = channels if codec is None else codec.channel_axis(values)
    axis = known_axis or infer_channel_axis(values, layout, str(path))
    if codec is None and values.ndim == 4 and axis != infer_channel_axis_of_version_1(values):
        shape = "height, width, channels" if axis == "last" else "channels, height, width"
        notes.add(f"arrays of images were read as ({shape})", str(path), since=READ_AS_MEANT)
    values = add_channel_axis(values, layout, axis, str(path))
    if needs_finite:
        _reject_non_finite(values, str(path))
    columns: dict[str, NDArray[Any]] = {}
    for name in targets:
        new_columns = _target_columns(arrays[name], name, path, notes)
        if (num_rows := len(arrays[name])) != len(values):
            raise ValueError(f"{path}: {inputs!r} has {len(values):,} rows, but {name!r} has {num_rows:,}.")
        columns |= new_columns
    return Arrays(values, columns, [f"{path}, row {row}" for row in range(1, len(values) + 1)], axis, notes)


def _target_columns(target: NDArray[Any], name: str, path: Path, notes: ReadingNotes) -> dict[str, NDArray[Any]]:
    """Return the columns (N,) of an array of targets by name; raise ValueError if it has other values or dimensions."""
    if target.ndim not in (1, 2):
        raise ValueError(f"{path}: {name!r} must have one dimension or two, but has {target.ndim}.")
    if target.dtype.kind not in TARGET_KINDS:
        raise ValueError(f"{path}: {name!r} must hold numbers or strings, but has the type {target.dtype}.")
    if target.dtype.kind == "S":
        notes.add("targets of bytes were read as text", str(path), count=len(target), since=READ_AS_MEANT)
        target = np.char.decode(target, "utf-8")
    return {name: target} if target.ndim == 1 else {f"{name}.{i}": column for i, column in enumerate(target.T)}


def _load_arrays(path: Path, names: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Load arrays of an .npz file by name; errors are those of `read_arrays`."""
    require_file(path)
    try:
        with np.load(path) as file:
            arrays = {name: file[name] for name in names if name in file.files}
            known = ", ".join(file.files)
    except (OSError, ValueError, TypeError, EOFError, BadZipFile, zlib.error) as error:
        advice = (
            " Arrays of Python objects are refused: save numbers or strings." if "allow_pickle" in str(error) else ""
        )
        raise ValueError(f"{path}: cannot be read as numpy arrays ({error}).{advice}") from None
    for name in names:
        if name not in arrays:
            raise ValueError(f"{path}: has no array {name!r}, only {known}.")
    return arrays


def _reject_non_finite(values: NDArray[Any], location: str, reject: Reject = raise_error) -> RowIndices:
    """Report the rows of inputs (N, ...) with values that are not finite numbers, and return their indices.

    Raises:
        ValueError: the values are not numbers.
    """
    if values.dtype.kind not in "iufb":
        raise ValueError(f"{location}: inputs must be numbers, but have the type {values.dtype}.")
    wrong = np.flatnonzero(~np.isfinite(values).all(axis=tuple(range(1, values.ndim))))
    for row in wrong.tolist():
        reject(f"{location}, row {row + 1}: contains NaN or infinity: inputs must be finite.")
    return wrong


def infer_channel_axis(values: NDArray[Any], layout: Layout, location: str) -> ChannelAxis:
    """Infer the position of the channels in an array of images (N, ...): a square image has its channels beside it.

    Raises:
        ValueError: the shape fits both; `location` is for the message.
    """
    if values.ndim != 4 or layout == "frames":
        return "first"
    _, first, middle, last = values.shape
    if last <= MAX_CHANNELS < first or first <= MAX_CHANNELS < last:
        return "last" if last < first else "first"
    if (first == middle) != (middle == last):
        return "last" if first == middle else "first"
    if max(first, last) >= MIN_AXIS_RATIO * min(first, last):
        return "last" if last < first else "first"
    raise ValueError(
        f"{location}: images of the shape {values.shape[1:]} can be (height, width, channels) or (channels, height, "
        "width): set `data.channels` to `last` or `first`."
    )


def infer_channel_axis_of_version_1(values: NDArray[Any]) -> ChannelAxis:
    """Infer the position of the channels as the first version of the reading did."""
    return "last" if values.ndim == 4 and values.shape[3] <= MAX_CHANNELS < values.shape[1] else "first"


def add_channel_axis(values: NDArray[Any], layout: Layout, channels: ChannelAxis, location: str) -> NDArray[Any]:
    """Reshape inputs as models expect them: (N, D), (N, F, D) or (N, C, H, W); `location` is for messages."""
    if values.ndim == 2 or (values.ndim == 3 and layout == "frames"):
        return values
    if values.ndim == 3:
        return values[:, None]
    if values.ndim == 4:
        return values.transpose(0, 3, 1, 2) if channels == "last" else values
    raise ValueError(f"{location}: inputs must have two to four dimensions, but have {values.ndim}.")


def read_image_folders(folders: Sequence[Path], reader: ImageReader, channels: int | None = None) -> Arrays:
    """Read the images of folders with a subfolder for each class, as `read_images` does.

    Raises:
        ValueError: `labeled_files` or `read_images` raises it, or a folder has no images.
    """
    files: list[Path] = []
    for folder in folders:
        listed = labeled_files(folder, IMAGES)
        if not listed.files:
            other_types = count_suffixes(listed.foreign)
            raise ValueError(
                f"{folder}: has no images ({', '.join(sorted(IMAGES.suffixes))}) in subfolders, one for each class, "
                f"such as {folder / 'cats' / 'first.png'}{f', only {other_types}' if other_types else ''}."
            )
        files += listed.files
        reader.notes.update(listed.notes)
    images, classes = read_images(files, reader, channels), [path.parent.name for path in files]
    note_copies(images, classes, files, reader.notes)
    return Arrays(images, {CLASS_COLUMN: np.array(classes)}, list(map(str, files)), "first", reader.notes)


def read_array_files(
    paths: Sequence[str],
    inputs: str,
    targets: Sequence[str],
    layout: Layout,
    channels: ChannelAxis | None,
    ground: str,
    codec: ArrayCodec | None,
) -> Arrays:
    """Read .npz files as `read_arrays` does, or folders of images as `read_image_folders` does.

    Raises:
        ValueError: the files differ in kind or shape.
    """
    expanded = [Path(path).expanduser() for path in paths]
    if len({path.is_dir() for path in expanded}) > 1:
        raise ValueError(f"{' and '.join(paths)} are folders of images and files of arrays: name files of one kind.")
    if expanded[0].is_dir():
        is_image = codec is not None and len(codec.shape) == 3
        return read_image_folders(expanded, ImageReader(ground), codec.shape[0] if codec and is_image else None)
    parts = [read_arrays(path, inputs, targets, layout, channels, codec) for path in expanded]
    if len({part.inputs.shape[1:] for part in parts}) > 1:
        shapes = [part.inputs.shape for part in parts]
        raise ValueError(f"{' and '.join(paths)} hold inputs of different shapes: {shapes}.")
    notes = ReadingNotes()
    for part in parts:
        notes.update(part.notes)
    columns = {name: np.concatenate([part.targets[name] for part in parts]) for name in parts[0].targets}
    locations = [location for part in parts for location in part.locations]
    return Arrays(np.concatenate([part.inputs for part in parts]), columns, locations, parts[0].channels, notes)


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
    channels: ChannelAxis | None = None
    """Position of the channels in an .npz file; None in runs that inferred it from each array."""

    @classmethod
    def fit(
        cls,
        values: NDArray[Any],
        rows: RowIndices,
        inputs: str,
        layout: Layout,
        channels: ChannelAxis | None = None,
    ) -> ArrayCodec:
        """Compute mean and standard deviation over the training rows of inputs (N, ...)."""
        values = values[:, None] if values.ndim == 2 else values
        axes = (0, 2, 3) if values.ndim == 4 else (0, 1)
        part = values[rows].astype(np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            deviation = part.std(axis=axes)
        if not np.isfinite(deviation).all():
            raise ValueError(f"The array {inputs!r} has numbers that are too large: correct or scale them.")
        mean, is_constant = part.mean(axis=axes), deviation <= 1e-12 * abs(part).max(axis=axes)
        return cls(
            values.shape[1:], mean.tolist(), np.where(is_constant, 1.0, deviation).tolist(), inputs, layout, channels
        )

    def feature_names(self) -> list[str]:
        """Return the name of each element of an example: the position of a pixel, or the number of an element."""
        if len(self.shape) == 2:
            return [f"element {number}" for number in range(1, int(np.prod(self.shape)) + 1)]
        channels = [f", channel {channel + 1}" if self.shape[0] > 1 else "" for channel in range(self.shape[0])]
        _, height, width = self.shape
        return [
            f"pixel in row {y + 1}, column {x + 1}{channel}"
            for channel in channels
            for y in range(height)
            for x in range(width)
        ]

    def channel_axis(self, values: NDArray[Any]) -> ChannelAxis:
        """Return the position of the channels in an array of images (N, ...) that fits the codec."""
        fits_first, fits_last = values.shape[1:] == self.shape, values.shape[-1:] + values.shape[1:-1] == self.shape
        if fits_first == fits_last:
            return self.channels or "first"
        return "first" if fits_first else "last"

    def encode(self, values: NDArray[Any], location: str, reject: Reject = raise_error) -> FloatArray:
        """Encode inputs (N, ...); `reject` receives a message about each row with NaN or infinity, which becomes NaN.

        Raises:
            ValueError: the shape is wrong, or the values are not numbers.
        """
        values = values[:, None] if values.ndim == 2 else values
        if values.shape[1:] != self.shape:
            raise ValueError(
                f"{location}: inputs have the shape {values.shape[1:]}, but the model expects {self.shape}."
            )
        mean, deviation = np.array(self.mean), np.array(self.deviation)
        if len(self.shape) == 3:
            mean, deviation = mean[:, None, None], deviation[:, None, None]
        wrong = _reject_non_finite(values, location, reject)
        encoded = np.empty(values.shape, np.float32)
        with np.errstate(over="ignore"):
            for start in range(0, len(values), ROWS_PER_ENCODING):  # in float64, a few rows at a time
                part = slice(start, start + ROWS_PER_ENCODING)
                encoded[part] = (values[part] - mean) / deviation
        encoded[wrong] = 0.0
        too_large = _reject_non_finite(encoded, location, reject)
        encoded[np.concatenate([wrong, too_large])] = np.nan
        return encoded

    def save(self, folder: Path) -> None:
        """Save the codec to a folder."""
        values = {name: getattr(self, name) for name in ("shape", "mean", "deviation", "inputs", "layout", "channels")}
        write_json(folder / VALUES_FILE, values)


def load_array_codec(folder: Path) -> ArrayCodec:
    """Load a codec of arrays; raises ValueError if its file is missing or damaged."""
    file = folder / VALUES_FILE
    try:
        return validate_type(read_json(file), ArrayCodec)
    except (OSError, ValueError) as error:
        raise ValueError(f"{file} is missing or damaged: {error}.") from None
