"""Blocks of lines, compared with reading line by line."""

import gzip
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqlab.base.raw_lines import LineLimit
from seqlab.data.blocks import read_blocks
from seqlab.data.corpus import Corpus
from seqlab.data.readers import read_lines

pieces = st.lists(st.sampled_from(["a", "é", "\ufeff", "\r", "\n", "\r\n", "\u2028", "\x85", "\0", "𝄞"]), max_size=30)


@given(pieces=pieces, size=st.integers(1, 5), is_gzipped=st.booleans())
def test_blocks_contain_all_lines_in_order(pieces: list[str], size: int, is_gzipped: bool) -> None:
    raw = "".join(pieces).encode()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / ("x.gz" if is_gzipped else "x")
        path.write_bytes(gzip.compress(raw) if is_gzipped else raw)
        blocks = list(read_blocks(path, size, LineLimit()))
        assert [line for block in blocks for line in block.decode()] == list(read_lines(path))
        assert all(len(block) == size for block in blocks[:-1])
        assert [len(block.decode()) for block in blocks] == [len(block) for block in blocks]
        if blocks:
            assert blocks[-1].end_fraction == 1
            assert blocks[-1].first == 1 + size * (len(blocks) - 1)


def test_invalid_utf8_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"a\nb\nc\r\nd\xff\ne\n")
    first, second, third = read_blocks(path, 2, LineLimit())
    assert first.decode() == ["a", "b"]
    with pytest.raises(ValueError, match=r"x, line 4: not UTF-8 \(byte 0xff at position 2"):
        second.decode()
    assert third.decode() == ["e"]


def test_a_truncated_gzip_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.gz"
    path.write_bytes(gzip.compress(bytes(1000))[:-9])
    with pytest.raises(ValueError, match=r"x\.gz: cannot be unpacked"):
        list(read_blocks(path, 2, LineLimit()))


@pytest.mark.parametrize(("src", "tgt"), [(3, 5), (5, 3), (0, 4), (4, 2), (7, 0)])
def test_errors_for_sides_of_unequal_length_name_both_counts(
    tmp_path: Path, src: int, tgt: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("seqlab.data.corpus.BLOCK_ROWS", 2)
    (tmp_path / "src").write_text("line\n" * src)
    (tmp_path / "tgt.jsonl").write_text('{"text": "line"}\n' * tgt)
    corpus = Corpus.from_specs(str(tmp_path / "src"), str(tmp_path / "tgt.jsonl#text"))
    for read in (lambda: list(corpus.blocks()), lambda: list(corpus.rows())):
        with pytest.raises(ValueError, match=rf"src has {src} lines but .*#text has {tgt}:"):
            read()


def test_the_size_of_a_corpus_is_estimated_from_the_first_blocks(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text("line\n" * 100_000)
    (tmp_path / "c.tsv").write_text("line\n" * 100_000)
    rows_read = 0
    for block in Corpus.from_specs(str(tmp_path / "a"), str(tmp_path / "b")).blocks():
        rows_read += len(block)
        estimate = block.corpus_size(rows_read)
        assert estimate is not None
        assert abs(estimate - 100_000) < 5_000
    assert estimate == rows_read
    table = Corpus.from_specs(str(tmp_path / "c.tsv#0"), str(tmp_path / "a"))
    assert next(table.blocks()).corpus_size(10_000) is None
