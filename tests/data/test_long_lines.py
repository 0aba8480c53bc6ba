"""Lines longer than the limit: refused with file and line, discarded and counted, or read in parts."""

import gzip
import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from reference.processes import FORKSERVER

from seqlab.base.raw_lines import DISCARDED, DiscardedLines, LineLimit, PartialLine
from seqlab.data.blocks import read_blocks
from seqlab.data.columns import parse_column
from seqlab.data.readers import DiscardedLine, LinePart, iter_lines, read_lines
from seqlab.data.row_encoder import encode_text
from seqlab.text import BpeConfig, CharactersConfig, SentencePieceBpeConfig, WordsConfig, train_tokenizer

texts = st.lists(st.text(st.sampled_from("ab é\r"), max_size=12), max_size=6).map("\n".join)


@given(texts, st.integers(1, 8), st.booleans())
@example("aaa\r\nb", 3, True)
def test_long_lines_are_discarded_and_counted(text: str, max_bytes: int, ends_with_newline: bool) -> None:
    content = (text + "\n" * ends_with_newline).encode()
    discarded = DiscardedLines()
    found = list(LineLimit(max_bytes, discarded).read(io.BytesIO(content), "f"))
    lines = content.removesuffix(b"\n").split(b"\n") if content else []
    is_long = [len(line.removesuffix(b"\r")) > max_bytes for line in lines]
    assert [raw is DISCARDED for raw in found] == is_long
    assert discarded.locations == [("f", number) for number, too_long in enumerate(is_long, start=1) if too_long]
    kept = [raw.removesuffix(b"\n") for raw in found if raw is not DISCARDED]
    assert kept == [line for line, too_long in zip(lines, is_long, strict=True) if not too_long]


@given(texts, st.integers(4, 9), st.booleans())
def test_parts_of_lines_concatenate_to_the_text(text: str, max_bytes: int, ends_with_newline: bool) -> None:
    content = (text + "\n" * ends_with_newline).encode()
    found = list(LineLimit(max_bytes, splits_lines=True).read(io.BytesIO(content), "f"))
    assert all(len(raw) <= max_bytes for raw in found)
    assert b"".join(found) in (content, content + b"\n")
    assert not found or not isinstance(found[-1], PartialLine)
    for raw in found:
        raw.decode()  # no character is split


def test_a_line_that_is_too_long_is_an_error_with_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("short\n" + "x" * 11 + "\n")
    for read in (
        lambda limit: list(parse_column(str(path), limit).values()),
        lambda limit: list(parse_column(str(path), limit).blocks(10)),
    ):
        assert len(read(LineLimit(11))) > 0
        with pytest.raises(ValueError, match=r"a.txt, line 2: is longer than 10 bytes \(`--max_line_bytes`\)"):
            read(LineLimit(10))


def test_a_discarded_line_becomes_an_empty_line() -> None:
    limit = LineLimit(3, DiscardedLines())
    lines = list(iter_lines(io.BytesIO(b"ab\nabcd\nabc"), "f", limit))
    assert lines == ["ab", "", "abc"]
    assert [isinstance(line, DiscardedLine) for line in lines] == [False, True, False]


@pytest.mark.parametrize(
    "config",
    [
        CharactersConfig(),
        WordsConfig(),
        BpeConfig(vocab_size=300),
        SentencePieceBpeConfig(vocab_size=280),
    ],
    ids=lambda config: config.kind,
)
def test_lines_read_in_parts_have_the_ids_of_complete_lines(config, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    words = ["der", "Mann", "läuft", "schnell", "am", "Ufer"]
    lines = [" ".join(rng.choice(words, size)) for size in (5, 400, 0, 90, 1)]
    path = tmp_path / "text.txt"
    path.write_text("".join(f"{line}\n" for line in lines))
    tokenizer = train_tokenizer(config, lines)
    found = []
    for limit in (LineLimit(), LineLimit(64, splits_lines=True)):
        blocks = [block.decode() for block in read_blocks(path, 3, limit)]
        found.append(np.concatenate([encode_text(tokenizer, block).values for block in blocks]))
    assert sum(isinstance(line, LinePart) for block in blocks for line in block) > 20
    assert np.array_equal(*found)


def peak_kilobytes() -> int:
    """Return the largest resident memory of this process so far."""
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])


def read_and_measure_memory(path: Path) -> tuple[list[str], int]:
    """Return the lines of a file without long ones, and the memory in kB that reading them took."""
    before = peak_kilobytes()
    lines = list(read_lines(path, LineLimit(discarded=DiscardedLines())))
    return lines, peak_kilobytes() - before


def test_a_very_long_compressed_line_takes_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "huge.txt.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(b"short\n")
        for _ in range(200):
            file.write(b"x" * (1 << 20))
        file.write(b"\nlast\n")
    with FORKSERVER.Pool(1) as pool:
        lines, kilobytes = pool.apply(read_and_measure_memory, (path,))
    assert lines == ["short", "", "last"]
    assert kilobytes * 1024 < 64 << 20
