"""Files -> examples in memory maps: read once, encoded, and opened again while nothing changed."""

import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import TypedDict

from seqlab.base.atomic_io import rename, write_json
from seqlab.base.named_files import open_for_writing
from seqlab.base.parsing import parse_json, read_regular, require_regular, validate_type
from seqlab.data.arrays import CLASS_COLUMN, ArrayCodec, is_array_path, read_arrays, targets_table
from seqlab.data.batch import IGNORE
from seqlab.data.folds import assign_folds, hold_out
from seqlab.data.input_hashes import hash_inputs, hash_json, save_input_hashes
from seqlab.data.table_codec import RowIndices, TableCodec
from seqlab.data.tables import RawTable
from seqlab.data.targets import Target, fit_target, numeric_order
from seqlab.tasks.prediction.config import PredictionConfig

CACHE_FORMAT = 3
ARRAYS = ("inputs", "targets", "held_out")
"""Raised when the same files would be encoded differently."""
RECORDINGS = {"audio", "text"}
"""Columns of a list of recordings."""
InputCodec = TableCodec | ArrayCodec
"""What a run's inputs become numbers by."""


@dataclass(frozen=True)
class RawExamples:
    """Inputs and targets as they were read."""

    table: RawTable
    """The targets, and all other columns."""
    arrays: NDArray[Any] | None
    """(N, ...): the inputs, where these are no columns."""
    inputs: list[str]
    """The columns that are read, or the name of the array."""
    targets: list[str]

    def __len__(self) -> int:
        return len(self.table)


def read_examples(data: PredictionConfig, paths: Sequence[str], inputs: Sequence[str] = ()) -> RawExamples:
    """Read files of one kind; `inputs`: the columns that are read where the config leaves it open.

    Raises:
        FileNotFoundError, ValueError: a file cannot be read, lacks a column or an array, or files differ in shape.
    """
    arrays = [path for path in paths if is_array_path(Path(path).expanduser())]
    if 0 < len(arrays) < len(paths):
        other = next(path for path in paths if path not in arrays)
        raise ValueError(f"{arrays[0]} holds arrays or images, but {other} is a table: name files of one kind.")
    if arrays:
        return _read_arrays(data, paths)
    if not data.target:
        of_recordings = (
            ", and recordings with their texts are learnt with `data.kind: transcription`"
            if set(RawTable.read(paths).columns) >= RECORDINGS
            else ""
        )
        raise ValueError(
            f"{paths[0]}: name the column that is predicted with `data.target`; a text in one of its columns is "
            f"`{paths[0]}#COLUMN`{of_recordings}."
        )
    table = RawTable.read(paths)
    if not len(table):
        raise ValueError(f"{', '.join(paths)}: has no row below its header.")
    known = list(table.columns)
    fold_columns = [data.fold_column] if data.fold_column and not inputs else []  # of training data alone
    needed = [*data.target, *data.inputs, *inputs, *data.categorical, *fold_columns]
    for name in needed:
        if name not in known:
            raise ValueError(f"{paths[0]}: has no column {name!r}, only {', '.join(known)}.")
    kept_out = {data.fold_column} | (set() if data.window else set(data.target))
    chosen = data.inputs or list(inputs) or [name for name in known if name not in kept_out]
    if not inputs:
        _refuse_target_among(chosen, data, table)
    return RawExamples(table, None, chosen, data.target)


def _read_arrays(data: PredictionConfig, paths: Sequence[str]) -> RawExamples:
    is_folder = Path(paths[0]).expanduser().is_dir()
    if len(data.inputs) > 1:
        raise ValueError(f"{paths[0]}: `data.inputs` names the one array that is read, but has {len(data.inputs)}.")
    [inputs] = data.inputs or ["x"]
    targets = [CLASS_COLUMN] if is_folder else data.target or ["y"]
    values, columns, places = [], [], []
    for path in paths:
        found = read_arrays(Path(path).expanduser(), inputs, targets, data.layout)
        values.append(found[0])
        columns.append(found[1])
        places += found[2]
    if len({each.shape[1:] for each in values}) > 1:
        raise ValueError(f"{' and '.join(paths)} hold inputs of different shapes: {[each.shape for each in values]}.")
    joined = {name: np.concatenate([each[name] for each in columns]) for name in columns[0]}
    return RawExamples(targets_table(joined, places), np.concatenate(values), [inputs], list(joined))


def _refuse_target_among(inputs: Sequence[str], data: PredictionConfig, table: RawTable) -> None:
    """Raise ValueError where an input equals a target in all rows."""
    if data.window:
        return
    for target in data.target:
        for name in inputs:
            one, other = table.columns[name], table.columns[target]
            same = (one.values() == other.values()) | (np.isnan(one.values()) & np.isnan(other.values()))
            if not one.is_numeric:
                same = one.categories() == other.categories()
            if same.all() and (one.is_numeric or list(one.names) == list(other.names)):
                raise ValueError(
                    f"{table.files[0]}: the column {name!r} is the same as the target {target!r} in all rows: leave it "
                    "out (`data.inputs` names the columns that are read)."
                )


def held_out(data: PredictionConfig, raw: RawExamples) -> NDArray[np.bool_]:
    """Choose the rows of the training data that are validated on: (rows,) bool.

    Raises:
        ValueError: there are too few rows, or a column names no such fold.
    """
    count = len(raw)
    if data.valid is not None:
        return np.zeros(count, bool)
    if data.window:
        start = round((1 - data.valid_fraction) * count)
        return np.arange(count) >= min(max(start, 1), count - 1)
    fold = (data.valid_fold or 1) - 1
    if data.fold_kind == "given":
        assert data.fold_column is not None, "the config has checked it"
        column = raw.table.columns[data.fold_column]
        if "" in column.names:
            row = int(np.flatnonzero(column.categories() == column.names[""])[0])
            raise ValueError(f"{raw.table.locate(row)}: the fold ({data.fold_column!r}) is missing.")
        names = sorted(column.names, key=numeric_order)
        if len(names) != data.num_folds:
            raise ValueError(
                f"The column {data.fold_column!r} names {len(names)} folds, but `data.num_folds` (with `--folds N`: N) "
                f"is {data.num_folds}: set it to {len(names)}."
            )
        return np.asarray(column.categories() == column.names[names[fold]])
    column_of = raw.table.columns
    groups = column_of[str(data.fold_column)].categories() if data.fold_kind == "grouped" else None
    classes = _classes(raw) if data.fold_kind == "stratified" else None
    if data.valid_fold is None:
        return hold_out(count, data.valid_fraction, data.fold_seed, classes=classes, groups=groups)
    return assign_folds(count, data.num_folds, data.fold_seed, classes=classes, groups=groups) == fold


def _classes(raw: RawExamples) -> NDArray[Any]:
    """Number the class of each row: (rows,); of columns with a probability for each, the likeliest."""
    columns = [raw.table.columns[name] for name in raw.targets]
    if len(columns) == 1:
        return columns[0].categories()
    return np.nan_to_num(np.stack([column.values() for column in columns])).argmax(0)


def fit_codecs(data: PredictionConfig, raw: RawExamples) -> tuple[InputCodec, Target]:
    """Make the codecs, by the rows that are trained on; errors as of `TableCodec.fit` and `fit_target`."""
    rows = np.flatnonzero(~held_out(data, raw))
    if len(rows) < 2:
        raise ValueError(f"{', '.join(data.train)}: leaves {len(rows)} training examples, too few to learn from.")
    target = fit_target(raw.table, raw.targets, data.predicts, rows)
    if raw.arrays is not None:
        return ArrayCodec.fit(raw.arrays, rows, raw.inputs[0], data.layout), target
    return TableCodec.fit(raw.table, raw.inputs, data.categorical, rows, data.window), target


@dataclass(frozen=True)
class Examples:
    """Encoded examples; of a series the rows that windows are cut from."""

    inputs: NDArray[np.float32]
    """(N, F, D) or (N, C, H, W); of a series (rows, D)."""
    targets: NDArray[Any]
    """(N,) int64 or (N, K) float32; of a series (rows, ...)."""
    rows: RowIndices
    """(n,): the examples, as rows of `inputs`; of a series the first row of each window."""
    window: int = 0
    ahead: int = 1

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, examples: RowIndices) -> NDArray[np.float32]:
        """Give the inputs of some examples (n,): (n, F, D) or (n, C, H, W)."""
        rows = self.rows[examples]
        if self.window:
            return self.inputs[rows[:, None] + np.arange(self.window)]
        return self.inputs[rows]

    def read_targets(self, examples: RowIndices) -> NDArray[Any]:
        """Give the targets of some examples (n,): (n,) or (n, K)."""
        rows = self.rows[examples]
        return np.asarray(self.targets[rows + self.window - 1 + self.ahead if self.window else rows])


@dataclass(frozen=True)
class Report:
    """Sizes of the data, reported before the first step."""

    rows: int
    valid_rows: int
    empty_lines: int
    unseen: int
    """Validation examples whose class training has not seen."""

    def lines(self) -> list[str]:
        """Describe it for people."""
        found = [f"{self.rows:,} training and {self.valid_rows:,} validation examples"]
        if self.empty_lines:
            found.append(f"{self.empty_lines:,} empty lines were left out")
        return found

    def to_json(self) -> dict[str, Any]:
        """Describe it for run.json."""
        return {"corpora": [{"split": "train", "kept": self.rows, "split_off": self.valid_rows}], **asdict(self)}


@dataclass(frozen=True)
class PreparedExamples:
    """What training reads."""

    train: Examples
    valid: Examples
    report: Report
    content_hashes: dict[str, str]
    places: Sequence[str]
    """`file, line N` of each row, those of the training files first."""

    def locate(self, row: int) -> str:
        """Name the file and the line of a row."""
        return self.places[row]


def prepare_examples(
    data: PredictionConfig, codecs: tuple[InputCodec, Target], cache: Path, raw: RawExamples | None = None
) -> PreparedExamples:
    """Encode the files into a cache, or open what was encoded before; `raw`: the training files where they were read.

    Errors as of `read_examples`, and where a cell is not what training has seen in its column.
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
        building = cache / "examples.tmp"
        shutil.rmtree(building, ignore_errors=True)
        building.mkdir()
        _encode(data, codecs, building, read_examples(data, data.train) if raw is None else raw)
        rename(building, folder)
    return _opened(data, folder, hashes)


def _encoding_fields(data: PredictionConfig) -> dict[str, Any]:
    """List the fields that decide what is in a cache."""
    free = ("train", "valid", "test", "batch_rows", "micro_batch_rows")
    values = asdict(data).items()
    return {name: value for name, value in values if name not in free and not name.startswith("augment_")}


def encode_inputs(codec: InputCodec, raw: RawExamples) -> NDArray[np.float32]:
    """Encode inputs: (N, F, D) or (N, C, H, W); of a series (rows, D)."""
    if isinstance(codec, ArrayCodec):
        assert raw.arrays is not None, "arrays have a codec of arrays"
        return codec.encode(raw.arrays, raw.table.locate(0).partition(", row")[0])
    encoded = codec.encode(raw.table)
    return encoded if codec.window else encoded[:, None]


def _encode(data: PredictionConfig, codecs: tuple[InputCodec, Target], folder: Path, train: RawExamples) -> None:
    """Write inputs, targets and which rows are validated on."""
    parts, is_held_out = [train], held_out(data, train)
    if data.valid is not None:
        valid = read_examples(data, [data.valid], train.inputs)
        parts.append(valid)
        is_held_out = np.concatenate([is_held_out, np.ones(len(valid), bool)])
    arrays: dict[str, NDArray[Any]] = {
        "inputs": np.concatenate([encode_inputs(codecs[0], part) for part in parts]),
        "targets": np.concatenate([codecs[1].encode(part.table) for part in parts]),
        "held_out": is_held_out,
    }
    for name, values in ((name, np.ascontiguousarray(each)) for name, each in arrays.items()):
        with open_for_writing(folder / f"{name}.npy") as file:  # `np.save` hides what went wrong where a write fails
            np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(values))
            file.write(values.data)
    places = [part.table.locate(row) for part in parts for row in range(len(part))]
    series_starts = [] if train.arrays is not None else [*train.table.starts]
    series_starts += [len(train) + start for part in parts[1:] if part.arrays is None for start in part.table.starts]
    notes = {
        "places": places,
        "series_starts": series_starts,
        "empty_lines": sum(part.table.num_empty for part in parts),
    }
    write_json(folder / "notes.json", notes)


class _Notes(TypedDict):
    """What notes.json holds."""

    places: list[str]
    series_starts: list[int]
    empty_lines: int


def _opened(data: PredictionConfig, folder: Path, hashes: dict[str, str]) -> PreparedExamples:
    try:
        for name in ARRAYS:
            require_regular(folder / f"{name}.npy")
        inputs, targets, is_held_out = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in ARRAYS)
        notes = validate_type(parse_json(read_regular(folder / "notes.json")), _Notes)
        if not len(inputs) == len(targets) == len(is_held_out) == len(notes["places"]):
            raise ValueError("its files have different numbers of examples")
    except (OSError, ValueError, TypeError) as error:
        raise ValueError(f"{folder} is damaged ({error}): delete it, it is made again.") from None
    parts = []
    for rows in (np.flatnonzero(~is_held_out), np.flatnonzero(is_held_out)):
        parts.append(Examples(inputs, targets, _starts(data, rows, notes["series_starts"]), data.window, data.ahead))
    train, valid = parts
    for name, part in (("training", train), ("validation", valid)):
        if not len(part):
            raise ValueError(
                f"{', '.join(data.train)}: leaves no {name} example: give more rows, or a shorter `data.window`."
            )
    found = valid.read_targets(np.arange(len(valid)))
    unseen = int((found == IGNORE).sum()) if found.dtype.kind == "i" else 0
    report = Report(len(train), len(valid), notes["empty_lines"], unseen)
    return PreparedExamples(train, valid, report, hashes, notes["places"])


def _starts(data: PredictionConfig, rows: RowIndices, series_starts: Sequence[int]) -> RowIndices:
    """Give the examples whose target is one of some rows, ascending: of a series the first row of each window."""
    if not data.window:
        return rows
    starts = rows - (data.window - 1 + data.ahead)
    of_files = np.array(series_starts, np.int64)
    file_start = of_files[np.searchsorted(of_files, rows, side="right") - 1]
    return starts[starts >= file_start]  # no window goes over from one file into the next
