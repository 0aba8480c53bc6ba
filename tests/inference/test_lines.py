"""Lines in and out."""

import gzip
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqlab.inference.lines import line_blocks, refuse_newlines, without_control_characters, write_lines


def test_only_a_newline_ends_a_line() -> None:
    raw = "a\u2028b\x85c\r\n\n\x0bd\re\n".encode()
    assert list(line_blocks(io.BytesIO(raw), "x", 2)) == [["a\u2028b\x85c", ""], ["\x0bd\re"]]


def test_a_last_line_without_its_end_is_a_line() -> None:
    assert list(line_blocks(io.BytesIO(b"a\nb"), "x", 10)) == [["a", "b"]]
    assert list(line_blocks(io.BytesIO(b""), "x", 10)) == []


def test_bytes_that_are_not_utf8_name_stream_and_line() -> None:
    with pytest.raises(ValueError, match=r"standard input, line 2: not UTF-8"):
        list(line_blocks(io.BytesIO(b"a\n\xff\n"), "standard input", 10))
    with pytest.raises(ValueError, match="`buffer_lines` must be at least 1, but is 0"):
        line_blocks(io.BytesIO(b""), "x", 0)


def test_a_packed_stream_that_breaks_off_is_named() -> None:
    packed = gzip.compress("".join(f"line {i}\n" for i in range(1000)).encode())
    for damaged in (packed[:-9], packed[: len(packed) // 2], b"no gzip"):
        with pytest.raises(ValueError, match=r"a\.gz: cannot be unpacked, the file is damaged or incomplete"):
            list(line_blocks(gzip.GzipFile(fileobj=io.BytesIO(damaged)), "a.gz", 10))


def test_blocks_come_as_soon_as_their_lines_are_there() -> None:
    taken = []

    def stream():
        for i in range(5):
            taken.append(i)
            yield b"%d\n" % i

    blocks = line_blocks(stream(), "x", 2)
    assert next(blocks) == ["0", "1"]
    assert taken == [0, 1]


def test_control_characters_become_spaces() -> None:
    assert without_control_characters("a\tb\x00c\x85d\x7f") == ("a b c d ", 4)
    assert without_control_characters("\u2028 äß\u200d") == ("\u2028 äß\u200d", 0)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]))))
def test_as_many_lines_out_as_in(texts: list[str]) -> None:
    stream = io.BytesIO()
    cleaned = [without_control_characters(text)[0] for text in texts]
    write_lines(stream, cleaned)
    assert stream.getvalue().count(b"\n") == len(texts)
    assert stream.getvalue().decode().split("\n")[:-1] == cleaned


def test_a_line_with_a_newline_is_refused() -> None:
    with pytest.raises(ValueError, match="entry 1 holds a newline"):
        refuse_newlines(["a", "b\n"], "lines")
