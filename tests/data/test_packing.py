"""Lines packed into rows, against filling the rows one line after the other."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqlab.data.batch import IGNORE
from seqlab.data.packing import pack, packed_batch
from seqlab.data.pieces import pieces_of_lines

PAD, START = 0, 1
FIRST_ID = 10


@given(lengths=st.lists(st.integers(1, 20), max_size=30), length=st.integers(2, 9))
def test_rows_hold_whole_pieces_in_order_and_as_many_as_fit(lengths: list[int], length: int) -> None:
    pieces = pieces_of_lines(np.cumsum([0, *lengths]), np.arange(len(lengths)), length)
    rows = pack(pieces, length)
    assert [start for row in rows for start in row.starts] == pieces.starts.tolist()
    assert [stop for row in rows for stop in row.stops] == pieces.stops.tolist()
    sizes = [int(row.lengths.sum()) for row in rows]
    assert max(sizes, default=0) <= length
    for size, after in zip(sizes, rows[1:], strict=False):
        assert size + after.lengths[0] > length, "the next piece would have fitted"


@given(lengths=st.lists(st.integers(1, 20), min_size=1, max_size=12), length=st.integers(2, 9))
def test_a_batch_reads_each_piece_from_what_stands_before_it(lengths: list[int], length: int) -> None:
    values = np.arange(FIRST_ID, FIRST_ID + sum(lengths), dtype=np.uint16)
    rows = pack(pieces_of_lines(np.cumsum([0, *lengths]), np.arange(len(lengths)), length), length)
    batch = packed_batch(values, rows, pad_id=PAD, start_id=START)
    assert batch.positions is not None
    width = max(int(row.lengths.sum()) for row in rows)
    for number, row in enumerate(rows):
        tgt_in: list[int] = []
        tgt_out: list[int] = []
        positions: list[int] = []
        for start, stop, begins in zip(row.starts.tolist(), row.stops.tolist(), row.begins, strict=True):
            ids = values[start:stop].tolist()
            tgt_in += [START if begins else int(values[start - 1]), *ids[:-1]]
            tgt_out += ids
            positions += range(len(ids))
        missing = width - len(tgt_out)
        assert batch.tgt_in[number].tolist() == tgt_in + [PAD] * missing
        assert batch.tgt_out[number].tolist() == tgt_out + [IGNORE] * missing
        assert batch.positions[number].tolist() == positions + [0] * missing
    assert batch.indices.tolist() == [row.starts[0] for row in rows]
    assert batch.num_tgt_tokens == sum(lengths)
    assert len(batch) == len(rows)


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32])
def test_the_type_on_the_disk_changes_nothing(dtype: type) -> None:
    """An unsigned type must not wrap around before the first id, nor at the largest one."""
    largest = int(np.iinfo(dtype).max)
    values = np.array([largest, 5, 2, largest, 2], dtype)
    rows = pack(pieces_of_lines(np.array([0, 3, 5]), np.arange(2), 5), 5)
    batch = packed_batch(values, rows, pad_id=PAD, start_id=START)
    assert batch.tgt_out.tolist() == [[largest, 5, 2, largest, 2]]
    assert batch.tgt_in.tolist() == [[START, largest, 5, START, largest]]
