"""Files that are not what their name says, and compressed files: unpacked, or refused with what they are."""

import bz2
import gzip
import io
import lzma
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from seqlab.base.raw_lines import LineLimit
from seqlab.data.blocks import read_blocks
from seqlab.data.columns import parse_column
from seqlab.data.readers import read_lines
from seqlab.data.tables import read_table

TEXT = "a,b\n1,zwei\u2028drei\n"


def zipped(*names: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name in names:
            archive.writestr(name, TEXT)
    return stream.getvalue()


PACKED: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zip": lambda raw: zipped("t.csv", "__MACOSX/._t.csv", ".DS_Store", "a/Thumbs.db"),
}


@pytest.mark.parametrize("suffix", PACKED)
def test_compressed_files_are_read_as_they_were(suffix: str, tmp_path: Path) -> None:
    raw = PACKED[suffix](TEXT.encode())
    (tmp_path / f"t.csv{suffix}").write_bytes(raw)
    (tmp_path / f"t.txt{suffix}").write_bytes(raw)
    header, rows = read_table(tmp_path / f"t.csv{suffix}")
    assert (header, list(rows)) == (["a", "b"], [(2, ["1", "zwei\u2028drei"])])
    assert list(parse_column(f"{tmp_path}/t.csv{suffix}#b").values()) == ["zwei\u2028drei"]
    lines = TEXT.split("\n")[:-1]
    assert list(read_lines(tmp_path / f"t.txt{suffix}")) == lines
    assert [
        line for block in read_blocks(tmp_path / f"t.txt{suffix}", 1, LineLimit()) for line in block.decode()
    ] == lines


@pytest.mark.parametrize("suffix", PACKED)
def test_damaged_compressed_files_are_refused(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"t.csv{suffix}"
    path.write_bytes(PACKED[suffix](TEXT.encode() * 100)[:-12])
    with pytest.raises(ValueError, match=r"t\.csv.*: cannot be unpacked, the file is damaged or incomplete"):
        list(read_lines(path))
    path.write_bytes(b"a,b\n1,2\n")
    with pytest.raises((ValueError, OSError), match=r"t\.csv"):
        list(read_lines(path))


@pytest.mark.parametrize(("names", "found"), [(("a.csv", "b.csv"), r"2 files \(a.csv, b.csv\)"), ((), "no file")])
def test_a_zip_archive_must_hold_one_file(names: tuple[str, ...], found: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv.zip").write_bytes(zipped(*names))
    with pytest.raises(ValueError, match=rf"t\.csv\.zip: a zip archive .* must hold one file, but holds {found}"):
        read_table(tmp_path / "t.csv.zip")


WRONG: dict[str, tuple[bytes, str]] = {
    "zip": (zipped("t.csv"), r"is a zip archive .*its name ends in \.zip"),
    "gzip": (gzip.compress(TEXT.encode()), r"is compressed by gzip.* a name that ends in \.gz"),
    "bzip2": (bz2.compress(TEXT.encode()), r"is compressed by bzip2"),
    "xz": (lzma.compress(TEXT.encode()), r"is compressed by xz"),
    "Zstandard": (b"\x28\xb5\x2f\xfd\x04\x00", r"is compressed by Zstandard.*`zstd -d`"),
    "UTF-16": (TEXT.encode("utf-16"), r"is UTF-16, .*`iconv -f UTF-16 -t UTF-8`"),
    "UTF-16 without a mark": (("name,value\n" + TEXT).encode("utf-16-le"), r"is UTF-16, but this input must be UTF-8"),
    "UTF-16 from the other end": (
        ("name,value\n" + TEXT).encode("utf-16-be"),
        r"is UTF-16, but this input must be UTF-8",
    ),
    "parquet": (b"PAR1\x15\x04", r"is a parquet file.*a name that ends in \.parquet"),
    "an old workbook": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", r"is an old Excel or Word file.*save the sheet as \.csv"),
    "a pointer of git-lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", r"git-lfs.*`git lfs pull`"),
    "Latin-1": ("a,b\n1,Köln\n".encode("latin-1"), r"line 2: not UTF-8 \(byte 0xf6"),
}


@pytest.mark.parametrize("case", WRONG)
@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_files_with_a_wrong_suffix_are_refused_by_what_they_are(case: str, suffix: str, tmp_path: Path) -> None:
    raw, message = WRONG[case]
    path = tmp_path / f"t{suffix}"
    path.write_bytes(raw)
    for read in (
        lambda: list(read_table(path)[1]),
        lambda: list(read_lines(path)),
        lambda: list(parse_column(f"{path}#a").cells()),
    ):
        with pytest.raises(
            ValueError, match=rf"t\{suffix}.*{message}" if suffix == ".csv" or case != "Latin-1" else "t"
        ):
            read()


@pytest.mark.parametrize(
    "line", ["PAR1 is a gene", "BZh is a word", "version https://example.org", "%PDF- in a text", "PK"]
)
def test_texts_that_start_like_other_files_are_read(line: str, tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text(f"{line}\nmore\n", "utf-8")
    assert list(read_lines(tmp_path / "t.txt")) == [line, "more"]


def test_workbooks_are_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"t\.xlsx: is not a table: .* Of a workbook, save the sheet as \.csv"):
        read_table(tmp_path / "t.xlsx")
