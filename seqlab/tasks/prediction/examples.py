"""Read, split and encode the examples of the prediction task, with a cache of memory-mapped arrays."""

import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import TypedDict

from seqlab.base.atomic_io import rename, write_json
from seqlab.base.named_files import open_for_writing
from seqlab.base.parsing import parse_json, read_regular, require_regular, validate_type
from seqlab.base.reading_notes import ReadingNotes
from seqlab.data.arrays import ArrayCodec, ChannelAxis, is_array_path, read_array_files, targets_table
from seqlab.data.batch import IGNORE, ValueBatch, batch_of_arrays
from seqlab.data.cells import RawColumn
from seqlab.data.classes import note_classes
from seqlab.data.fit_target import fit_target
from seqlab.data.folds import repeated_rows
from seqlab.data.input_hashes import hash_inputs, hash_json, save_input_hashes
from seqlab.data.table_codec import RowIndices, TableCodec, note_reading
from seqlab.data.tables import RawTable, without_row_numbers
from seqlab.data.targets import ClassTarget, NumbersTarget, Target
from seqlab.tasks.prediction.config import PredictionConfig
from seqlab.tasks.prediction.validation_rows import check_groups, validation_mask

CACHE_FORMAT = 4
"""Version of the cache format: increase it when the encoding of files changes."""
CACHED_ARRAYS = ("inputs", "targets", "numbers", "held_out")
ROWS_COMPARED_FIRST = 1000
"""Number of rows that are compared before all others, because columns that differ do so early."""
RECORDING_COLUMNS = {"audio", "text"}
"""Columns of a list of recordings, which the prediction task does not read."""
InputCodec = TableCodec | ArrayCodec
"""Codec of the inputs: columns of a table, or an array."""


@dataclass(frozen=True)
class RawExamples:
    """Inputs and targets before encoding."""

    table: RawTable
    """The targets, and the inputs if they are columns."""
    arrays: NDArray[Any] | None
    """(N, ...): the inputs if they are an array, else None."""
    inputs: list[str]
    """Names of the input columns, or of the array."""
    targets: list[str]
    reading: ReadingNotes = field(default_factory=ReadingNotes)
    """What was converted or left out."""
    channels: ChannelAxis = "first"
    """Position of the channels in an .npz file of images."""
    has_class_folders: bool = False
    """Whether the targets are the names of folders of images."""

    def __len__(self) -> int:
        return len(self.table)


def read_examples(
    data: PredictionConfig, paths: Sequence[str], inputs: Sequence[str] = (), codec: InputCodec | None = None
) -> RawExamples:
    """Read tables, or arrays and images.

    Args:
        data: the config.
        paths: files of one kind.
        inputs: the input columns if the config names none.
        codec: the codec of the inputs, if it exists: arrays and images are read as it demands.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file is damaged, lacks a column or an array, or the files differ in kind or shape.
    """
    arrays = [path for path in paths if is_array_path(Path(path).expanduser())]
    if 0 < len(arrays) < len(paths):
        other = next(path for path in paths if path not in arrays)
        raise ValueError(f"{arrays[0]} contains arrays or images, but {other} is a table: name files of one kind.")
    if arrays:
        return _read_arrays(data, paths, codec if isinstance(codec, ArrayCodec) else None)
    if not data.target:
        raise ValueError(_missing_target(paths))
    fold_columns = [data.fold_column] if data.fold_column and not inputs else []  # only training data need them
    needed = [*data.target, *data.inputs, *inputs, *data.categorical, *fold_columns]
    notes = ReadingNotes()
    table = RawTable.read(paths, list(dict.fromkeys(needed)) if data.inputs or inputs else (), notes=notes)
    if not len(table):
        raise ValueError(f"{', '.join(paths)}: there are no rows after the header.")
    columns = list(table.columns)
    for name in needed:
        if name not in columns:
            raise ValueError(f"{paths[0]}: has no column {name!r}, only {', '.join(columns)}.")
    excluded = {data.fold_column} | (set() if data.window else set(data.target))
    other_columns = [name for name in columns if name not in excluded]
    names = data.inputs or list(inputs) or without_row_numbers(other_columns, paths[0], notes)
    if not inputs:
        _refuse_copies_of_target(names, data, table)
    return RawExamples(table, None, names, data.target, reading=notes)


def _missing_target(paths: Sequence[str]) -> str:
    """Return the message for tables without a target."""
    is_list = set(RawTable.read(paths).columns) >= RECORDING_COLUMNS
    hint = "; use `data.kind: transcription` for recordings with their transcripts" if is_list else ""
    return (
        f"{paths[0]}: name the column to predict by `data.target`; to train on the text in a column, name it "
        f"`{paths[0]}#COLUMN`{hint}."
    )


def _read_arrays(data: PredictionConfig, paths: Sequence[str], codec: ArrayCodec | None) -> RawExamples:
    """Read .npz files or folders of images."""
    is_folder = Path(paths[0]).expanduser().is_dir()
    if len(data.inputs) > 1:
        raise ValueError(f"{paths[0]}: `data.inputs` must name one array, but names {len(data.inputs)}.")
    [inputs] = data.inputs or ["x"]
    arrays = read_array_files(paths, inputs, data.target or ["y"], data.layout, data.channels, data.ground, codec)
    table, names = targets_table(arrays.targets, arrays.locations), list(arrays.targets)
    return RawExamples(table, arrays.inputs, [inputs], names, arrays.notes, arrays.channels, is_folder)


def _refuse_copies_of_target(inputs: Sequence[str], data: PredictionConfig, table: RawTable) -> None:
    """Raise ValueError if an input equals a target in all rows."""
    if data.window:
        return
    for target in data.target:
        for name in inputs:
            if _are_equal(table.columns[name], table.columns[target]):
                raise ValueError(
                    f"{table.files[0]}: the column {name!r} equals the target {target!r} in all rows: exclude it by "
                    "naming the input columns with `data.inputs`."
                )


def _are_equal(one: RawColumn, other: RawColumn) -> bool:
    """Return whether the cells of two columns are equal, as numbers if they are read as numbers."""
    if one.is_numeric and one.reading.problem is None:
        values, other_values = one.values(), other.values()
        first = slice(ROWS_COMPARED_FIRST)
        return all(np.array_equal(values[rows], other_values[rows], equal_nan=True) for rows in (first, slice(None)))
    return one.codes == other.codes and list(one.names) == list(other.names)


def fit_codecs(data: PredictionConfig, raw: RawExamples) -> tuple[InputCodec, Target]:
    """Fit the codecs to the training rows; errors are those of `TableCodec.fit` and `fit_target`."""
    check_groups(data, raw)
    rows = np.flatnonzero(~validation_mask(data, raw))
    if len(rows) < 2:
        raise ValueError(f"{', '.join(data.train)}: needs at least 2 training examples, but has {len(rows)}.")
    meant = {"has_missing_class": data.missing_targets == "class", "are_folders": raw.has_class_folders}
    target = fit_target(raw.table, raw.targets, data.predicts, rows, **meant)
    if raw.arrays is not None:
        return ArrayCodec.fit(raw.arrays, rows, raw.inputs[0], data.layout, raw.channels), target
    return TableCodec.fit(raw.table, raw.inputs, data.categorical, rows, data.window), target


@dataclass(frozen=True)
class EncodedExamples:
    """Encoded training or validation examples."""

    inputs: NDArray[np.float32]
    """(N, F, D) or (N, C, H, W); for a time series, all rows (rows, D)."""
    targets: NDArray[Any]
    """(N,) int64 or (N, O) float32; for a time series (rows, ...)."""
    numbers: NDArray[np.float64]
    """(N, O): targets in units of the table if they are numbers, else (N, 0); for a time series (rows, ...)."""
    rows: RowIndices
    """(n,): the row of each example in `inputs`; for a time series, the first row of its window."""
    window: int = 0
    ahead: int = 1

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, indices: RowIndices) -> NDArray[np.float32]:
        """Return the inputs of examples (n,): (n, F, D) or (n, C, H, W)."""
        rows = self.rows[indices]
        if self.window:
            return self.inputs[rows[:, None] + np.arange(self.window)]
        return self.inputs[rows]

    def read_targets(self, indices: RowIndices) -> NDArray[Any]:
        """Return the targets of examples (n,): (n,) or (n, O)."""
        return np.asarray(self.targets[self._target_rows(indices)])

    def read_references(self, indices: RowIndices) -> NDArray[Any]:
        """Return the targets of examples (n,) as predictions are: numbers in units of the table, else as encoded."""
        values = self.numbers if self.numbers.shape[1] else self.targets
        return np.asarray(values[self._target_rows(indices)])

    def _target_rows(self, indices: RowIndices) -> RowIndices:
        rows = self.rows[indices]
        return rows + self.window - 1 + self.ahead if self.window else rows

    def batch(self, indices: RowIndices) -> ValueBatch:
        """Make a batch of examples (n,)."""
        inputs = np.ascontiguousarray(self.read(indices))
        return batch_of_arrays(inputs, self.read_targets(indices), self.rows[indices])


@dataclass(frozen=True)
class ExamplesReport:
    """Numbers of examples, logged before the first step."""

    rows: int
    valid_rows: int
    empty_lines: int
    unseen: int
    """Number of validation examples with a class that is not in the training data."""

    def lines(self) -> list[str]:
        """Return the lines to log."""
        lines = [f"{self.rows:,} training and {self.valid_rows:,} validation examples"]
        if self.empty_lines:
            lines.append(f"{self.empty_lines:,} empty lines were skipped")
        return lines

    def to_json(self) -> dict[str, Any]:
        """Return the entry for run.json."""
        return {"corpora": [{"split": "train", "kept": self.rows, "split_off": self.valid_rows}], **asdict(self)}


@dataclass(frozen=True)
class PreparedExamples:
    """Encoded training and validation data."""

    train: EncodedExamples
    valid: EncodedExamples
    report: ExamplesReport
    content_hashes: dict[str, str]
    locations: Sequence[str]
    """`file, line N` of each row; the training files come first."""
    reading: ReadingNotes
    """What was converted or left out."""

    def locate(self, row: int) -> str:
        """Return the file and the line of a row."""
        return self.locations[row]


def prepare_examples(
    data: PredictionConfig, codecs: tuple[InputCodec, Target], cache: Path, raw: RawExamples | None = None
) -> PreparedExamples:
    """Encode the files into a cache, or open the cache if the same files are already encoded.

    Args:
        data: the config.
        codecs: the codecs of the inputs and the targets.
        cache: the cache folder of the run.
        raw: the training files if they have been read already.

    Raises:
        ValueError: `read_examples` raises it, or a cell does not fit the codec of its column.
    """
    hashes = hash_inputs(data.input_specs(), cache)
    folder = (
        cache
        / f"examples-{hash_json([CACHE_FORMAT, list(hashes.values()), _encoding_fields(data), repr(codecs)])[:16]}"
    )
    if not folder.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        save_input_hashes(data.input_specs(), cache)
        for old in cache.glob("examples-*"):
            shutil.rmtree(old)
        temporary = cache / "examples.tmp"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        _write_cache(data, codecs, temporary, read_examples(data, data.train, codec=codecs[0]) if raw is None else raw)
        rename(temporary, folder)
    return _open_cache(data, folder, hashes)


def _encoding_fields(data: PredictionConfig) -> dict[str, Any]:
    """Return the fields that determine the content of a cache."""
    excluded = ("train", "valid", "test", "batch_rows", "micro_batch_rows")
    values = asdict(data).items()
    return {name: value for name, value in values if name not in excluded and not name.startswith("augment_")}


def encode_inputs(codec: InputCodec, raw: RawExamples) -> NDArray[np.float32]:
    """Encode inputs: (N, F, D) or (N, C, H, W); for a time series (rows, D)."""
    if isinstance(codec, ArrayCodec):
        assert raw.arrays is not None, "an ArrayCodec encodes arrays"
        return codec.encode(raw.arrays, raw.table.locate(0).partition(", row")[0])
    missing = next((name for name in codec.names if name not in raw.table.columns), None)
    if missing is not None:
        nested = next((name for name in raw.table.columns if name.startswith(f"{missing}.")), None)
        reason = "restore it" if nested is None else f"its objects are now columns with names such as {nested!r}"
        raise ValueError(
            f"{raw.table.files[0]}: has no column {missing!r}, which the run reads: {reason}, or start a new run by "
            "`--overwrite`."
        )
    encoded = codec.encode(raw.table)
    return encoded if codec.window else encoded[:, None]


def _write_cache(data: PredictionConfig, codecs: tuple[InputCodec, Target], folder: Path, train: RawExamples) -> None:
    """Write inputs, targets, the mask of validation rows, and notes.json."""
    parts, is_held_out = [train], validation_mask(data, train)
    if data.valid is not None:
        names = codecs[0].names if isinstance(codecs[0], TableCodec) else train.inputs
        valid = read_examples(data, [data.valid], names, codecs[0])
        parts.append(valid)
        is_held_out = np.concatenate([is_held_out, np.ones(len(valid), bool)])
    arrays: dict[str, NDArray[Any]] = {
        "inputs": np.concatenate([encode_inputs(codecs[0], part) for part in parts]),
        "targets": np.concatenate([codecs[1].encode(part.table) for part in parts]),
        "numbers": np.concatenate([codecs[1].numbers(part.table) for part in parts]),
        "held_out": is_held_out,
    }
    for name, values in ((name, np.ascontiguousarray(array)) for name, array in arrays.items()):
        with open_for_writing(folder / f"{name}.npy") as file:  # `np.save` hides the cause of a failed write
            np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(values))
            file.write(values.data)
    for part in parts:
        _note_cells(codecs, part)
    locations = [part.table.locate(row) for part in parts for row in range(len(part))]
    series_starts = [] if train.arrays is not None else [*train.table.starts]
    series_starts += [len(train) + start for part in parts[1:] if part.arrays is None for start in part.table.starts]
    for row in [] if data.window else repeated_rows([arrays["inputs"], arrays["targets"]], is_held_out):
        train.reading.add("validation examples equal a training example in inputs and target", locations[row])
    notes = {
        "places": locations,
        "series_starts": series_starts,
        "empty_lines": sum(part.table.num_empty for part in parts),
        "reading": [note for part in parts for note in part.reading.to_json()],
    }
    write_json(folder / "notes.json", notes)


def _note_cells(codecs: tuple[InputCodec, Target], part: RawExamples) -> None:
    """Note what was converted in the cells of the inputs and targets."""
    columns = codecs[0].columns if isinstance(codecs[0], TableCodec) else []
    targets = codecs[1].columns if isinstance(codecs[1], NumbersTarget) else []
    for column in [*columns, *targets]:
        note_reading(column, part.table, part.reading)
    if isinstance(codecs[1], ClassTarget):
        note_classes(part.table.columns[codecs[1].name], part.table, codecs[1].values, part.reading)


class _Notes(TypedDict):
    """The content of notes.json."""

    places: list[str]
    """`PreparedExamples.locations`."""
    series_starts: list[int]
    """First row of each file of a time series."""
    empty_lines: int
    reading: list[dict[str, Any]]
    """`PreparedExamples.reading`."""


def _open_cache(data: PredictionConfig, folder: Path, hashes: dict[str, str]) -> PreparedExamples:
    """Open a cache as memory maps; raises ValueError if it is damaged or a split is empty."""
    try:
        for name in CACHED_ARRAYS:
            require_regular(folder / f"{name}.npy")
        inputs, targets, numbers, is_held_out = (
            np.load(folder / f"{name}.npy", mmap_mode="r") for name in CACHED_ARRAYS
        )
        notes = validate_type(parse_json(read_regular(folder / "notes.json")), _Notes)
        if not len(inputs) == len(targets) == len(numbers) == len(is_held_out) == len(notes["places"]):
            raise ValueError("its files have different numbers of examples")
    except (OSError, ValueError, TypeError) as error:
        raise ValueError(f"{folder} is damaged ({error}): delete it, and training creates it again.") from None
    parts = []
    for rows in (np.flatnonzero(~is_held_out), np.flatnonzero(is_held_out)):
        starts = _example_rows(data, rows, notes["series_starts"])
        parts.append(EncodedExamples(inputs, targets, numbers, starts, data.window, data.ahead))
    train, valid = parts
    for name, part in (("training", train), ("validation", valid)):
        if not len(part):
            raise ValueError(
                f"{', '.join(data.train)}: there is no {name} example: add rows, or choose a shorter `data.window`."
            )
    valid_targets = valid.read_targets(np.arange(len(valid)))
    unseen = int((valid_targets == IGNORE).sum()) if valid_targets.dtype.kind == "i" else 0
    report = ExamplesReport(len(train), len(valid), notes["empty_lines"], unseen)
    reading = ReadingNotes.from_json(notes["reading"])
    return PreparedExamples(train, valid, report, hashes, notes["places"], reading)


def _example_rows(data: PredictionConfig, target_rows: RowIndices, series_starts: Sequence[int]) -> RowIndices:
    """Return `EncodedExamples.rows` of the examples with targets in `target_rows` (ascending)."""
    if not data.window:
        return target_rows
    starts = target_rows - (data.window - 1 + data.ahead)
    file_starts = np.array(series_starts, np.int64)
    start_of_file = file_starts[np.searchsorted(file_starts, target_rows, side="right") - 1]
    return starts[starts >= start_of_file]  # no window spans two files
