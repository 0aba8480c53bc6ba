"""Records of JSON and parquet files as rows of cells."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import chain
from numbers import Real
from pathlib import Path
from typing import Any

from seqlab.base.parsing import number_of_invalid_item, parse_json
from seqlab.base.reading_notes import READING_VERSION
from seqlab.data.column import NumberCell, NumberListCell, text_of_value, value_at
from seqlab.data.delimited import Reject, RejectedRow, Row, Rows, raise_error
from seqlab.data.readers import DiscardedLine
from seqlab.data.table_header import lookalike_hint

NumberedRecord = tuple[int, Any]
"""Number of the line or record, from 1, and the record; None for an empty line, a `RejectedRow` if it is not JSON."""
SCALAR_TYPES = frozenset((str, int, float, bool, type(None)))
"""Types of most values; a comparison with them is faster than `isinstance(value, Mapping)`."""
PARQUET_BATCH_ROWS = 128
"""Number of rows of a parquet file that are in memory at a time: each may hold a recording."""


def read_json_records(
    lines: Iterable[str], name: str, reject: Reject = raise_error, *, is_document: bool = False
) -> Iterator[NumberedRecord]:
    """Yield the records of JSON text.

    Args:
        lines: a record on each line, or an array of records that starts in the first line.
        name: name of the file in messages.
        reject: function that receives the message about a line that is not JSON; its record is a `RejectedRow`.
        is_document: whether the file is called .json: an array or object on several lines.

    Raises:
        ValueError: the array is not JSON, or is another document.
    """
    iterator = iter(lines)
    first = next(iterator, None)
    if first is None:
        return
    all_lines: Iterator[str] = chain([first], iterator)
    if first.lstrip().startswith("[") or (is_document and not _is_json(first)):
        yield from enumerate(_parse_document("\n".join(all_lines), name), start=1)
        return
    if is_document:
        all_lines = _refuse_columns(all_lines, name)
    for number, line in enumerate(all_lines, start=1):
        try:
            record = parse_json(line, is_record=True) if line.strip() else empty_record(line)
        except ValueError as error:
            reject(f"{name}, line {number}: {error}.")
            record = RejectedRow()
        yield number, record


def empty_record(line: str) -> RejectedRow | None:
    """Return the record of an empty line: None; that of a line that was too long is a `RejectedRow`."""
    return RejectedRow() if isinstance(line, DiscardedLine) else None


def _refuse_columns(lines: Iterable[str], name: str) -> Iterator[str]:
    """Yield lines; raise ValueError if there is only one record, which looks like a table by columns."""
    iterator = iter(lines)
    first, second = next(iterator), next(iterator, None)
    record = parse_json(first, is_record=True) if second is None else None
    if isinstance(record, dict) and record:
        [shape, *other_shapes] = {
            tuple(value) if isinstance(value, dict) else len(value) if isinstance(value, list) else 0
            for value in record.values()
        }
        is_indexed = isinstance(shape, tuple) and shape and all(map(str.isdecimal, shape))
        if not other_shapes and (is_indexed or (isinstance(shape, int) and shape > 1)):
            raise ValueError(
                f"{name}: looks like a table by columns, but must hold records: write it in pandas by "
                "`to_json(orient='records')`; if it is one record, call the file .jsonl."
            )
    yield from (first,) if second is None else chain((first, second), iterator)


def _is_json(line: str) -> bool:
    try:
        parse_json(line, is_record=True)
    except ValueError:
        return False
    return True


def _parse_document(text: str, name: str) -> list[Any]:
    try:
        document = parse_json(text, is_record=True)
    except ValueError as error:
        number = number_of_invalid_item(text)
        location = f"{name}, record {number}" if number else name
        raise ValueError(f"{location}: cannot be read as .json ({error}).") from None
    if not isinstance(document, list):
        content = f"one object with the keys {', '.join(document)}" if isinstance(document, dict) else repr(document)
        raise ValueError(
            f"{name}: must hold an array of records, or a record on each line, but holds {content:.100}: write the "
            "records alone (in pandas by `to_json(orient='records')`)."
        )
    return document


def read_parquet_records(path: Path, columns: Sequence[str] = ()) -> tuple[list[str], Iterator[NumberedRecord]]:
    """Return the names of the columns of a parquet file, and an iterator over the records.

    Args:
        path: the file.
        columns: columns to read, or dotted paths; all if it is empty.

    Raises:
        ValueError: pyarrow is not installed, or the file cannot be read.
    """
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise ValueError(f"{path}: parquet needs pyarrow: `pip install 'seqlab[datasets]'`.") from None
    try:
        file = ParquetFile(path)
    except (ArrowException, OSError) as error:
        raise ValueError(f"{path}: cannot be read as .parquet ({error}).") from None
    names = list(file.schema_arrow.names)
    read = {name if name in names else name.partition(".")[0] for name in columns} or None

    def records() -> Iterator[NumberedRecord]:
        try:
            batches = file.iter_batches(PARQUET_BATCH_ROWS, columns=read and [name for name in names if name in read])
            yield from enumerate((record for batch in batches for record in batch.to_pylist()), start=1)
        except (ArrowException, OSError) as error:
            raise ValueError(f"{path}: cannot be read as .parquet ({error}).") from None

    return names, records()


def record_rows(
    records: Iterable[NumberedRecord],
    name: str,
    unit: str,
    columns: Sequence[str],
    reject: Reject = raise_error,
    reading: int = READING_VERSION,
) -> tuple[list[str], Rows]:
    """Return the names of the columns of records, and an iterator over their rows of cells.

    Nested objects become columns whose names are the dotted paths of keys. A row that `reject` receives is a
    `RejectedRow`.

    Args:
        records: the records.
        name: name of the file in messages.
        unit: `line`, `record` or `entry`, which the numbers of the records count.
        columns: the columns to read. If it is empty, all records must have the keys of the first.
        reject: function that receives the message about a row that lacks a value or has one that is not text.
        reading: version of the reading; version 1 has no nested columns, and ignores keys that the first record lacks.

    Raises:
        ValueError: there are no records.
    """
    iterator = iter(records)
    read = [next(iterator, (0, None))]
    while isinstance(read[-1][1], RejectedRow | None) and (following := next(iterator, None)) is not None:
        read.append(following)
    first = read[-1][1]
    if not columns and isinstance(first, RejectedRow | None):
        raise ValueError(f"{name}: has no records.")
    names = list(columns) or (list(_names(first, reading)) if isinstance(first, Mapping) else [])

    def cells_of_record(record: Any, number: int) -> list[str]:
        return _cells(record, names, f"{name}, {unit} {number}", reading, has_others=bool(columns))

    return names, Rows(_rows(chain(read if read[0][0] else [], iterator), cells_of_record, reject), unit)


def _rows(
    records: Iterable[NumberedRecord], cells_of_record: Callable[[Any, int], list[str]], reject: Reject
) -> Iterator[Row]:
    """Yield the rows of records; `reject` receives the errors."""
    for number, record in records:
        row: list[str] = record if isinstance(record, RejectedRow) else []
        try:
            if not isinstance(record, RejectedRow | None):
                row = cells_of_record(record, number)
        except ValueError as error:
            reject(str(error))
            row = RejectedRow()
        yield number, row


def _cells(record: Any, columns: Sequence[str], location: str, reading: int, *, has_others: bool) -> list[str]:
    """Return the cells of a record; raise ValueError for a missing key, or another one unless `has_others`."""
    if not isinstance(record, Mapping):
        raise ValueError(f"{location}: must be a JSON object, {{...}}, but is {json.dumps(record, default=str):.40}.")
    names = _names(record, reading)
    missing = next((column for column in columns if column not in names), None)
    if missing is not None:
        known = f"only {', '.join(names)}" if has_others else "but the first record has"
        raise ValueError(f"{location}: has no {missing!r}, {known}.{lookalike_hint(missing, list(names))}")
    if reading > 1 and not has_others and len(names) > len(columns):
        extra = next(column for column in names if column not in columns)
        raise ValueError(
            f"{location}: has {extra!r}, but the first record has not: give all records the same keys, with null for a "
            "missing value, or name the columns to read in `data.inputs`."
        )
    values = (record[column] if names is record else value_at(record, column, location) for column in columns)
    return [cell_of(value, column, location, reading) for value, column in zip(values, columns, strict=True)]


def _names(record: Mapping[str, Any], reading: int) -> Mapping[str, Any]:
    """Return the names of the columns of a record: its keys, and the dotted paths of keys in nested objects."""
    if reading == 1 or not any(_is_nested(value) for value in record.values()):
        return record
    names: dict[str, Any] = {}
    for key, value in record.items():
        names |= {f"{key}.{name}": None for name in _names(value, reading)} if _is_nested(value) else {key: None}
    return names


def _is_nested(value: object) -> bool:
    """Return whether a value is an object whose values are columns."""
    return type(value) not in SCALAR_TYPES and isinstance(value, Mapping) and bool(value)


def cell_of(value: object, name: str, location: str, reading: int = READING_VERSION) -> str:
    """Return a value as a cell, as `text_of_value` does; a number is a `NumberCell`, several a `NumberListCell`.

    Version 1 joins the items of any list, and reads objects and bytes as the text that Python prints.
    """
    if type(value) in (float, int) or (
        isinstance(value, Real | Decimal) and not isinstance(value, bool)
    ):  # and numpy's
        return NumberCell(value)
    if type(value) is str and value.isascii():
        return value
    if reading == 1 and isinstance(value, list):
        return " ".join(cell_of(item, name, location, reading) for item in value)
    if reading == 1 and isinstance(value, dict | bytes):
        return str(value)
    text = text_of_value(value, name, location)
    is_vector = isinstance(value, list) and len(value) > 1 and all(type(item) in (int, float) for item in value)
    return NumberListCell(text) if is_vector else text
