"""Inputs of new examples, encoded for each run: an example that cannot be encoded is reported, and is NaN."""

from collections.abc import Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from seqlab.base.reading_notes import ReadingNotes
from seqlab.data.arrays import ArrayCodec
from seqlab.data.delimited import Reject, RejectedRow, Row
from seqlab.data.table_codec import FloatArray, RowIndices, TableCodec
from seqlab.data.tables import RawTable


def encode_table(codecs: Sequence[TableCodec], table: RawTable, unknown: ReadingNotes) -> list[FloatArray]:
    """Encode the rows of a table with each codec: (rows, D).

    `unknown` receives counts of the categories that are not in the training data of the first codec.

    Raises:
        ValueError: a row cannot be encoded.
    """
    notes = ReadingNotes()
    encoded = [codec.encode(table, ReadingNotes() if number else notes) for number, codec in enumerate(codecs)]
    unknown.update(notes)
    return encoded


def encode_rows(
    codecs: Sequence[TableCodec],
    name: str,
    header: Sequence[str],
    rows: Sequence[Row],
    unknown: ReadingNotes,
    reject: Reject,
    unit: str = "line",
) -> list[FloatArray]:
    """Encode rows of cells with each codec: (rows that are not empty, D).

    Args:
        codecs: the codecs.
        name: name of the table in messages.
        header: names of the columns.
        rows: numbers of lines or of another unit, and cells.
        unknown: see `encode_table`.
        reject: function that receives the message about a row that cannot be encoded, which becomes NaN. A row that was
            already rejected while it was read is NaN, too.
        unit: what the numbers of the rows count.

    Raises:
        ValueError: a column is missing.
    """
    table = RawTable.empty()
    names = list(dict.fromkeys(column for codec in codecs for column in codec.names))
    table.append(name, header, rows, names, unit)
    if len(rows) == 1 and isinstance(rows[0][1], RejectedRow):
        return [np.full((1, codec.width), np.nan, np.float32) for codec in codecs]
    try:
        if not any(isinstance(cells, RejectedRow) for _, cells in rows):
            return encode_table(codecs, table, unknown)
    except ValueError as error:
        if len(rows) == 1:
            reject(str(error))
            return [np.full((1, codec.width), np.nan, np.float32) for codec in codecs]
    middle = len(rows) // 2  # one of the rows is to blame: halve until it is alone
    parts = (rows[:middle], rows[middle:])
    halves = [encode_rows(codecs, name, header, part, unknown, reject, unit) for part in parts]
    return [np.concatenate(pair) for pair in zip(*halves, strict=True)]


def encode_array(
    codecs: Sequence[ArrayCodec], values: NDArray[np.generic], name: str, reject: Reject
) -> list[FloatArray]:
    """Encode an array (N, ...) with each codec; `reject` receives a message, once, about each row that becomes NaN.

    Raises:
        ValueError: the array has another shape.
    """
    messages: list[str] = []
    encoded = [codec.encode(values, name, messages.append) for codec in codecs]
    for message in dict.fromkeys(messages):
        reject(message)
    return encoded


def predictable_examples(encoded: Sequence[FloatArray], windows: Sequence[int]) -> RowIndices:
    """Return the indices of the examples that each run can read, given encoded inputs (N, ...) of each.

    They are complete, and so are the rows of the window of each run (0: single examples) that ends with them.
    """
    is_complete = np.ones(len(encoded[0]), bool)
    for inputs, window in zip(encoded, windows, strict=True):
        is_finite = np.isfinite(inputs).all(axis=tuple(range(1, inputs.ndim)))
        if window > 1 and len(inputs):
            is_finite = sliding_window_view(np.concatenate([np.zeros(window - 1, bool), is_finite]), window).all(1)
        is_complete &= is_finite
    return np.flatnonzero(is_complete)
