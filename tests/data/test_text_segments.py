"""Segments of a text and packing, compared with loops over single ids and lines."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqlab.data.batch import IGNORE
from seqlab.data.text_segments import (
    TextSegments,
    collate_packed,
    cut_into_blocks,
    pack_segments,
    random_block_lengths,
    segments_of_lines,
)

PAD, START = 0, 1
FIRST_ID = 10


def segment_positions(segments: TextSegments) -> list[list[int]]:
    return [list(range(start, stop)) for start, stop in zip(segments.starts, segments.stops, strict=True)]


@given(total=st.integers(1, 60), length=st.integers(2, 12), data=st.data())
def test_blocks_contain_every_id_once_and_respect_the_shift(total: int, length: int, data: st.DataObject) -> None:
    shift = data.draw(st.integers(0, min(length, total) - 1))
    blocks = cut_into_blocks(total, length, shift)
    expected: list[list[int]] = [[]]
    for position in range(total):
        if position and position % length == shift % length:
            expected.append([])
        expected[-1].append(position)
    assert segment_positions(blocks) == expected
    assert blocks.starts_document.tolist() == [True] + [False] * (len(expected) - 1)
    assert blocks.lengths.tolist() == [len(block) for block in expected]


@given(
    lengths=st.lists(st.integers(1, 20), min_size=1, max_size=15),
    length=st.integers(2, 7),
    data=st.data(),
)
def test_only_long_lines_are_split(lengths: list[int], length: int, data: st.DataObject) -> None:
    offsets = np.cumsum([0, *lengths])
    lines = data.draw(st.lists(st.sampled_from(range(len(lengths))), unique=True))
    segments = segments_of_lines(offsets, np.array(lines, np.int64), length)
    expected, starts_document = [], []
    for line in lines:
        positions = list(range(offsets[line], offsets[line + 1]))
        parts = [positions[start : start + length] for start in range(0, len(positions), length)]
        expected += parts
        starts_document += [part is parts[0] for part in parts]
    assert segment_positions(segments) == expected
    assert segments.starts_document.tolist() == starts_document


def test_segments_are_selected_in_any_order() -> None:
    blocks = cut_into_blocks(10, 4)
    taken = blocks.take(np.array([2, 0]))
    assert segment_positions(taken) == [[8, 9], [0, 1, 2, 3]]
    assert taken.starts_document.tolist() == [False, True]
    assert len(taken) == 2


@given(total=st.integers(1, 3000), length=st.integers(2, 80), seed=st.integers(0, 99))
def test_random_block_lengths_agree_with_a_loop(total: int, length: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    max_blocks = (total + 4) // 5
    uniform, normal = rng.random(max_blocks).tolist(), rng.standard_normal(max_blocks).tolist()
    expected, done = [], 0
    while done < total:
        mean = length / 2 if uniform[len(expected)] < 0.05 else length
        drawn = max(5, int(mean + 5 * normal[len(expected)]))
        expected.append(min(drawn, total - done))
        done += drawn
    assert random_block_lengths(total, length, np.random.default_rng(seed)).tolist() == expected


def test_random_block_lengths_are_distributed_as_in_the_awd_lstm_paper() -> None:
    lengths = (
        random_block_lengths(70 * 200_000, 70, np.random.default_rng(0))[:-1] + 0.5
    )  # the middle of the truncated interval
    halved = lengths < 52
    assert halved.mean() == pytest.approx(0.05, abs=0.002)
    assert lengths[~halved].mean() == pytest.approx(70, abs=0.05)
    assert lengths[halved].mean() == pytest.approx(35, abs=0.2)
    for part in (lengths[halved], lengths[~halved]):
        assert part.std() == pytest.approx(5, rel=0.03)
    short = random_block_lengths(10_000, 6, np.random.default_rng(0))
    assert short[:-1].min() == 5


@given(lengths=st.lists(st.integers(1, 20), max_size=30), length=st.integers(2, 9))
def test_packed_rows_have_complete_segments_in_order_and_no_room_for_the_next(lengths: list[int], length: int) -> None:
    segments = segments_of_lines(np.cumsum([0, *lengths]), np.arange(len(lengths)), length)
    rows = pack_segments(segments, length)
    assert [start for row in rows for start in row.starts] == segments.starts.tolist()
    assert [stop for row in rows for stop in row.stops] == segments.stops.tolist()
    sizes = [int(row.lengths.sum()) for row in rows]
    assert max(sizes, default=0) <= length
    for size, after in zip(sizes, rows[1:], strict=False):
        assert size + after.lengths[0] > length, "the next segment would have fit"


@given(lengths=st.lists(st.integers(1, 20), min_size=1, max_size=12), length=st.integers(2, 9))
def test_inputs_of_packed_segments_start_with_the_previous_id(lengths: list[int], length: int) -> None:
    values = np.arange(FIRST_ID, FIRST_ID + sum(lengths), dtype=np.uint16)
    rows = pack_segments(segments_of_lines(np.cumsum([0, *lengths]), np.arange(len(lengths)), length), length)
    batch = collate_packed(values, rows, pad_id=PAD, start_id=START)
    assert batch.positions is not None
    width = max(int(row.lengths.sum()) for row in rows)
    for number, row in enumerate(rows):
        tgt_in: list[int] = []
        tgt_out: list[int] = []
        positions: list[int] = []
        for start, stop, starts_document in zip(
            row.starts.tolist(), row.stops.tolist(), row.starts_document, strict=True
        ):
            ids = values[start:stop].tolist()
            tgt_in += [START if starts_document else int(values[start - 1]), *ids[:-1]]
            tgt_out += ids
            positions += range(len(ids))
        num_padding = width - len(tgt_out)
        assert batch.tgt_in[number].tolist() == tgt_in + [PAD] * num_padding
        assert batch.tgt_out[number].tolist() == tgt_out + [IGNORE] * num_padding
        assert batch.positions[number].tolist() == positions + [0] * num_padding
    assert batch.indices.tolist() == [row.starts[0] for row in rows]
    assert batch.num_tgt_tokens == sum(lengths)
    assert len(batch) == len(rows)


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32])
def test_packing_does_not_depend_on_the_dtype(dtype: type) -> None:
    """An unsigned dtype must not wrap around before the first id or at the largest id."""
    largest = int(np.iinfo(dtype).max)
    values = np.array([largest, 5, 2, largest, 2], dtype)
    rows = pack_segments(segments_of_lines(np.array([0, 3, 5]), np.arange(2), 5), 5)
    batch = collate_packed(values, rows, pad_id=PAD, start_id=START)
    assert batch.tgt_out.tolist() == [[largest, 5, 2, largest, 2]]
    assert batch.tgt_in.tolist() == [[START, largest, 5, START, largest]]
