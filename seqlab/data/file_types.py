"""Recognition of files that are not text by their first bytes, and decompression by the suffix of the name."""

from __future__ import annotations

import bz2
import gzip
import lzma
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO, cast
from zipfile import ZipFile

from seqlab.data.folders import is_hidden

TEXT_ADVICE = "export or unpack it first"
SHEET_ADVICE = "save the sheet as .csv (UTF-8)"
SIGNATURES: tuple[tuple[bytes, str, str], ...] = (
    (
        rb"PK\x03\x04",
        "a zip archive (such as .npz, .xlsx or .docx)",
        f"{TEXT_ADVICE}; of a workbook, {SHEET_ADVICE}. A zipped text or table is read if its name ends in .zip. "
        "Arrays (.npz) are read by their path: `seqlab predict RUN --input FILE.npz`",
    ),
    (rb"\x1f\x8b", "compressed by gzip", "give it a name that ends in .gz"),
    (rb"BZh[1-9]1AY&SY", "compressed by bzip2", "give it a name that ends in .bz2"),
    (rb"\xfd7zXZ\0", "compressed by xz", "give it a name that ends in .xz"),
    (rb"\x28\xb5\x2f\xfd", "compressed by Zstandard", "unpack it by `zstd -d`"),
    (rb"\xff\xfe", "UTF-16", "convert it to UTF-8: `iconv -f UTF-16 -t UTF-8`"),
    (rb"\xfe\xff", "UTF-16", "convert it to UTF-8: `iconv -f UTF-16 -t UTF-8`"),
    (rb"PAR1\x15", "a parquet file", "give it a name that ends in .parquet"),
    (rb"ARROW1\0", "an Arrow file", "give it a name that ends in .arrow"),
    (rb"\xd0\xcf\x11\xe0", "an old Excel or Word file", SHEET_ADVICE),
    (rb"%PDF-[0-9]", "a PDF file", TEXT_ADVICE),
    (rb"SQLite format 3\0", "a SQLite data base", TEXT_ADVICE),
    (rb"\x89HDF\r\n", "an HDF5 file", TEXT_ADVICE),
    (rb"\x80\x04\x95", "a Python pickle", TEXT_ADVICE),
    (rb"version https://git-lfs.github.com/spec/", "a pointer of git-lfs", "get the file itself by `git lfs pull`"),
)
"""Patterns of the first bytes, what a file is that begins with them, and what to do."""
COMPRESSED_SUFFIXES = (".gz", ".bz2", ".xz", ".zip")
"""Suffixes of compressed files, which are decompressed while they are read; a zip archive must hold one file."""
TRANSLATION_MEMORY_SUFFIXES = (".tmx", ".xlf", ".xliff", ".sgm", ".sgml")
"""Suffixes of translation memories and test sets with markup."""
_TRANSLATION_MEMORY = re.compile(
    r"\s*(<\?xml[^>]*>\s*)?<(!doctype\s+)?(tmx|xliff|mteval|srcset|refset|tstset)\b", re.IGNORECASE
)
_PAGE = re.compile(r"\s*<(!doctype html\b|\?xml\b|html(\s[^>]*)?>\s*(<head\b|$))", re.IGNORECASE)
"""First line of a page; a sentence may have the tag `html`, too, but not alone or before `head`."""
_SUBTITLE_HEADING = re.compile(r"\s*(WEBVTT|\[Script Info\])\s*$")
_TIMED_LINE = re.compile(r"\s*(\{\d+\}\{\d+\}|\[\d\d:\d\d\.\d\d+\])|\d*:?\d\d:\d\d[.,]\d+( --> |,\d+:\d\d:\d\d\.)")
"""Start of a line with times of MicroDVD, LRC, SubRip, WebVTT or SBV."""
_CATALOG_LINE = re.compile(r'msg(id|str|ctxt) "')
SUBTITLE_SUFFIXES = (".srt", ".vtt", ".ass", ".ssa", ".lrc", ".sub", ".sbv")
CATALOG_SUFFIXES = (".po", ".pot")
"""Suffixes of message catalogs (gettext)."""
MIN_SHARE = 0.3
"""Minimum share of the first lines with times (every third line of SubRip) or of a catalog, to refuse a text."""
UTF16_SAMPLE = 12
"""Number of bytes in which UTF-16 without a byte order mark is recognized: every second one is 0."""


def refuse_other_types(head: bytes, name: str) -> None:
    """Raise ValueError if the first line of a file is not that of a text in UTF-8; the message says what to do."""
    for signature, kind, advice in SIGNATURES:
        if re.match(signature, head):
            raise ValueError(f"{name} is {kind}, but this input must be text: {advice}.")
    sample = head[:UTF16_SAMPLE]
    halves = sample[::2], sample[1::2]
    if len(sample) == UTF16_SAMPLE and any(not any(one) and all(other) for one, other in (halves, halves[::-1])):
        raise ValueError(
            f"{name} is UTF-16, but this input must be UTF-8: convert it: `iconv -f UTF-16LE -t UTF-8` (or UTF-16BE)."
        )


def refuse_markup(first: str, name: str) -> None:
    """Raise ValueError if the first line is that of a page, or it or the suffix is that of TMX, XLIFF or SGM files."""
    suffix = Path(uncompressed_name(Path(name))).suffix
    if _TRANSLATION_MEMORY.match(first) or (suffix in TRANSLATION_MEMORY_SUFFIXES and first.lstrip().startswith("<")):
        raise ValueError(
            f"{name} is a file of segments with markup (TMX, XLIFF or SGM), but this input must be text: write the "
            "segments of each language to a file of their own, one on each line."
        )
    if _PAGE.match(first):
        raise ValueError(
            f"{name}: is an HTML or XML page, not a table or text ({first.strip():.40}): was it downloaded completely? "
            "Convert a page to plain text."
        )


def refuse_subtitles_and_catalogs(first: str, name: str) -> None:
    """Raise ValueError for subtitles and catalogs of messages, by the suffix and first line of the file.

    Without such a suffix only the headings of subtitles are refused, since a sentence may look like their other lines.
    """
    suffix = Path(uncompressed_name(Path(name))).suffix
    is_timed = bool(_TIMED_LINE.match(first)) or first.strip().isdecimal()
    if _SUBTITLE_HEADING.match(first) or (suffix in SUBTITLE_SUFFIXES and is_timed):
        raise _subtitles_error(name)
    if suffix in CATALOG_SUFFIXES and (_CATALOG_LINE.match(first) or first.startswith("#")):
        raise _catalog_error(name)


def refuse_lines_of_other_formats(lines: Sequence[str], name: str) -> None:
    """Raise ValueError if many of the first lines of a text are those of subtitles or of a catalog of messages."""
    if sum(map(bool, map(_TIMED_LINE.match, lines))) >= max(2, MIN_SHARE * len(lines)):
        raise _subtitles_error(name)
    keywords = [match[1] for match in map(_CATALOG_LINE.match, lines) if match]
    if {"id", "str"} <= {*keywords} and len(keywords) >= MIN_SHARE * len(lines):
        raise _catalog_error(name)


def _subtitles_error(name: str) -> ValueError:
    return ValueError(
        f"{name} has subtitles with their times, but this input must be text: write the text of each subtitle to one "
        "line. Subtitles in two languages are parallel text only if they have the same times."
    )


def _catalog_error(name: str) -> ValueError:
    return ValueError(
        f"{name} is a catalog of messages and their translations (gettext), but this input must be text: write the "
        "messages to one file and their translations to another, one on each line."
    )


def uncompressed_name(path: Path) -> str:
    """Return the name of a file in lower case, without the suffix of its compression."""
    name = path.name.lower()
    return name.removesuffix(next((suffix for suffix in COMPRESSED_SUFFIXES if name.endswith(suffix)), ""))


def open_decompressed(source: Path | BinaryIO, path: Path) -> BinaryIO | None:
    """Open the decompressed stream of a file, which is `source` or is named by it; None if its name has no such suffix.

    Raises:
        ValueError: a zip archive holds no file, or several.
        BadZipFile: the file is not a zip archive.
    """
    openers: dict[str, Callable[[Any], Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
    if path.suffix.lower() == ".zip":
        return _open_only_member(source, path)
    opener = openers.get(path.suffix.lower())
    return None if opener is None else cast(BinaryIO, opener(source))


def _open_only_member(source: Path | BinaryIO, path: Path) -> BinaryIO:
    archive = ZipFile(source)
    names = [name for name in archive.namelist() if not any(map(is_hidden, name.split("/")))]
    names = [name for name in names if not name.endswith("/")]
    if len(names) != 1:
        listed = f"{len(names)} files ({', '.join(names[:5])})" if names else "no file"
        raise ValueError(f"{path}: a zip archive that is read must hold one file, but holds {listed}: unpack it.")
    return cast(BinaryIO, archive.open(names[0]))
