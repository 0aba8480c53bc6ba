"""Reading lines of text files: line ends, encodings and gzip."""

import gzip
import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqlab.data.readers import decode_line, decode_lines, iter_lines, read_lines

SEPARATORS = "\u2028\u2029\x85\x0b\x0c\x1c\x1d\x1e"
line = st.text(st.characters(exclude_characters="\n", codec="utf-8") | st.sampled_from(SEPARATORS)).filter(
    lambda text: not text.endswith("\r")
)


@given(lines=st.lists(line), ending=st.sampled_from(["\n", "\r\n"]), ends_with_newline=st.booleans())
def test_only_a_newline_ends_a_line(lines: list[str], ending: str, ends_with_newline: bool) -> None:
    lines = [text.removeprefix("\ufeff") for text in lines]
    raw = ending.join(lines) + (ending if ends_with_newline and lines else "")
    expected = lines if ends_with_newline or (lines and lines[-1]) else lines[:-1]
    assert list(iter_lines(io.BytesIO(raw.encode()), "text")) == expected


def test_only_one_carriage_return_at_the_end_is_removed() -> None:
    assert decode_line(b"a\rb\r\r\n", "text", 1) == "a\rb\r"


def test_a_byte_order_mark_is_removed_only_at_the_start() -> None:
    raw = "\ufeffa\n\ufeffb\n".encode()
    assert list(iter_lines(io.BytesIO(raw), "text")) == ["a", "\ufeffb"]


def test_lines_are_yielded_before_the_stream_ends() -> None:
    def stream():  # type: ignore[no-untyped-def]
        yield b"first\n"
        raise AssertionError("the second line was read")

    assert next(decode_lines(stream(), "text")) == "first"


def test_gzip_and_plain_files_have_the_same_lines(tmp_path: Path) -> None:
    raw = "eins\nzwei\u2028drei\r\n\nvier".encode()
    (tmp_path / "a.txt").write_bytes(raw)
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(raw))
    assert list(read_lines(tmp_path / "a.txt")) == ["eins", "zwei\u2028drei", "", "vier"]
    assert list(read_lines(tmp_path / "a.txt.gz")) == ["eins", "zwei\u2028drei", "", "vier"]


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_invalid_utf8_is_an_error_with_file_and_line(tmp_path: Path, suffix: str) -> None:
    raw = b"ok\n\xe2\x80\xa8\nM\xfcnchen\n"  # U+2028 does not end a line, so the error is in line 3
    path = tmp_path / f"latin1.txt{suffix}"
    path.write_bytes(gzip.compress(raw) if suffix else raw)
    with pytest.raises(ValueError, match=r"latin1\.txt.*, line 3: not UTF-8 \(byte 0xfc at position 2"):
        list(read_lines(path))


def test_a_zip_archive_is_refused_with_its_kind() -> None:
    archive = io.BytesIO()
    np.savez(archive, x=np.zeros(3))
    archive.seek(0)
    with pytest.raises(ValueError, match=r"standard input is a zip archive .* must be text"):
        list(iter_lines(archive, "standard input"))


def test_errors_name_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"missing\.txt"):
        list(read_lines(tmp_path / "missing.txt"))
    with pytest.raises(ValueError, match="is a folder"):
        list(read_lines(tmp_path))
    compressed = gzip.compress(b"some text\n" * 1000)
    for name, raw in {
        "cut": compressed[:-9],
        "plain": b"not packed\n",
        "flipped": compressed[:20] + b"\0\0\0" + compressed[23:],
    }.items():
        path = tmp_path / f"{name}.gz"
        path.write_bytes(raw)
        with pytest.raises(ValueError, match=rf"{name}\.gz: cannot be unpacked"):
            list(read_lines(path))


def test_carriage_returns_without_newlines_give_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    assert list(iter_lines(io.BytesIO(b"a\rb\rc\r"), "mac.txt")) == ["a\rb\rc"]
    assert "mac.txt: the first line has carriage returns" in caplog.text
    caplog.clear()
    assert list(iter_lines(io.BytesIO(b"a\r\nb\r\n"), "dos.txt")) == ["a", "b"]
    assert not caplog.text
