"""Ragged arrays on disk: round trips, dtypes, damage and resuming."""

import tempfile
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqlab.data.ragged import ArrayWriter, RaggedArray, RaggedWriter, id_dtype

ids = st.lists(st.lists(st.integers(0, 2**16 - 1), max_size=5), max_size=12)
texts = st.lists(st.text(st.characters(codec="utf-8"), max_size=6), max_size=12)


def write_rows(path: Path, dtype: Any, *parts: Sequence[Sequence[int]]) -> None:
    """Write rows in several calls."""
    writer = RaggedWriter(path, dtype)
    for rows in parts:
        writer.extend(RaggedArray.from_lists(rows))
    writer.close()


@given(rows=ids, cuts=st.lists(st.integers(0, 12), max_size=3), data=st.data())
def test_rows_survive_a_round_trip_in_any_number_of_parts(
    rows: list[list[int]], cuts: list[int], data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        edges = [0, *sorted(cuts), len(rows)]
        write_rows(Path(folder) / "x", np.uint16, *(rows[start:stop] for start, stop in pairwise(edges)))
        opened = RaggedArray.open(Path(folder) / "x", check=True)
        assert [row.tolist() for row in opened] == rows
        assert opened.lengths.tolist() == [len(row) for row in rows]
        if rows:
            chosen = np.array(data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=6)), np.int64)
            selected = opened.take(chosen)
            assert [row.tolist() for row in selected] == [rows[index] for index in chosen]
            assert selected.values.dtype == np.uint16
            assert opened.lengths_of(chosen).tolist() == [len(rows[index]) for index in chosen]
            assert opened[-1].tolist() == rows[-1]
        with pytest.raises(IndexError):
            opened[len(rows)]


@given(rows=st.lists(st.lists(st.integers(0, 2), max_size=5), max_size=12))
def test_repetitions_are_counted_within_rows(rows: list[list[int]]) -> None:
    expected = [sum(one == other for one, other in pairwise(row)) for row in rows]
    assert RaggedArray.from_lists(rows).count_repetitions().tolist() == expected


@given(rows=st.lists(st.lists(st.integers(0, 5), max_size=5), max_size=12), edges=st.tuples(*[st.integers(0, 6)] * 2))
def test_contains_any_finds_rows_with_any_of_the_values(rows: list[list[int]], edges: tuple[int, int]) -> None:
    values = range(*edges)
    assert RaggedArray.from_lists(rows).contains_any(values).tolist() == [
        any(value in values for value in row) for row in rows
    ]


@given(lines=texts)
def test_text_survives_a_round_trip(lines: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        writer = RaggedWriter(Path(folder) / "x", np.uint8)
        writer.extend(RaggedArray.from_texts(lines))
        writer.close()
        assert RaggedArray.open(Path(folder) / "x").texts() == lines


@pytest.mark.parametrize(("vocab_size", "dtype"), [(4, np.uint16), (65536, np.uint16), (65537, np.uint32)])
def test_the_dtype_is_the_smallest_for_all_ids(tmp_path: Path, vocab_size: int, dtype: type) -> None:
    assert id_dtype(vocab_size) == dtype
    write_rows(tmp_path / "x", dtype, [[vocab_size - 1]])
    assert RaggedArray.open(tmp_path / "x")[0].tolist() == [vocab_size - 1]


@pytest.mark.parametrize("bad", [-1, 65536])
def test_ids_that_do_not_fit_are_refused(tmp_path: Path, bad: int) -> None:
    with pytest.raises(ValueError, match="ids must be from 0 to 65535"):
        write_rows(tmp_path / "x", np.uint16, [[bad]])


def test_an_interrupted_writer_leaves_no_file_that_can_be_opened(tmp_path: Path) -> None:
    def interrupt() -> None:
        with ArrayWriter(tmp_path / "x", np.uint16) as writer:
            writer.append(np.arange(3))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupt()
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match="missing"):
        RaggedArray.open(tmp_path / "x")


def test_damaged_files_are_detected(tmp_path: Path) -> None:
    write_rows(tmp_path / "x", np.uint16, [[1, 2, 3], [4]])
    for path in list(tmp_path.iterdir()):
        intact = path.read_bytes()
        for raw in (intact[:-1], b"", bytes([intact[0] ^ 1]) + intact[1:]):
            path.write_bytes(raw)
            with pytest.raises(ValueError, match="x"):
                RaggedArray.open(tmp_path / "x", check=True)
        path.unlink()
        with pytest.raises(ValueError, match="missing"):
            RaggedArray.open(tmp_path / "x")
        path.write_bytes(intact)
    assert RaggedArray.open(tmp_path / "x", check=True)[1].tolist() == [4]


@given(rows=ids, lost=ids, cut=st.integers(0, 12))
def test_a_writer_resumes_from_a_saved_state(rows: list[list[int]], lost: list[list[int]], cut: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        uninterrupted, resumed = Path(folder) / "uninterrupted", Path(folder) / "resumed"
        write_rows(uninterrupted, np.uint16, rows)
        interrupted = RaggedWriter(resumed, np.uint16)
        interrupted.extend(RaggedArray.from_lists(rows[:cut]))
        state = interrupted.save()
        interrupted.extend(RaggedArray.from_lists(lost))
        interrupted.save()  # as if the system had flushed the file
        writer = RaggedWriter(resumed, np.uint16, state)
        writer.extend(RaggedArray.from_lists(rows[cut:]))
        writer.close()
        for path in Path(folder).glob("uninterrupted.*"):
            assert path.read_bytes() == path.with_name(path.name.replace("uninterrupted", "resumed")).read_bytes()


def test_a_writer_refuses_to_resume_a_shorter_file(tmp_path: Path) -> None:
    interrupted = ArrayWriter(tmp_path / "x", np.uint16)
    interrupted.append(np.arange(3))
    state = interrupted.save()
    (tmp_path / "x.tmp").write_bytes(b"short")
    with pytest.raises(ValueError, match=r"x\.tmp: is shorter"):
        ArrayWriter(tmp_path / "x", np.uint16, state)
    (tmp_path / "x.tmp").unlink()
    with pytest.raises(ValueError, match=r"x\.tmp: cannot be appended to"):
        ArrayWriter(tmp_path / "x", np.uint16, state)
