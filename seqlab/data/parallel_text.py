"""Layouts of parallel text other than one sentence on each line of two files: refused, or noted in the report."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path

from seqlab.base.reading_notes import ReadingNotes
from seqlab.data.column import Column
from seqlab.data.columns import SCANNED_KINDS, FileColumn
from seqlab.data.corpus import Corpus
from seqlab.data.file_types import refuse_lines_of_other_formats
from seqlab.data.markup import MARKUP
from seqlab.text.normalization import has_invisible

SAMPLE_LINES = 1000
"""Number of lines at the start of a file in which markup is looked for."""
MIN_LINES, MAX_SAMPLE = 2, 10
"""Minimum and maximum number of lines that show the layout of a file."""
_DOCUMENT = re.compile(r"\s*<(url>|doc (doc)?id|seg id|chapter id|speaker id)", re.IGNORECASE)
"""Start of a document of WMT, WikiExtractor or Europarl, or of the files `train.tags.*` of IWSLT."""
_NUMBERED = re.compile(r"\s*(\d+)\t")
COLUMNS = (
    "texts have a tab in each line, which is learned as text: for one of several columns, such as the text after its "
    "number, name the file .tsv and the column"
)
TABS = "targets have a tab, which is learned as text: for one of several columns, name the file .tsv and the column"

INVISIBLE = "have invisible characters, such as a byte order mark or a control character, which are learned as text"
"""Sources are read without them."""


def refuse_other_layouts(corpus: Corpus) -> None:
    """Raise ValueError if a side of a parallel corpus is markup, or holds both texts on each line.

    Sources of some tasks may have tabs, which start tags or separate two texts, unless both sides are the same file.
    Subtitles and catalogs of messages are refused for all text.
    """
    is_same = len({column.source for column in corpus.columns}) == 1
    for column in corpus.columns:
        lines = sample_lines(column, MAX_SAMPLE)
        if column.kind != "text" or not lines:
            continue
        refuse_lines_of_other_formats(lines, str(column))
        if len(corpus.columns) < 2:
            continue
        if _DOCUMENT.match(lines[0]):
            raise ValueError(
                f"{column}, line 1: is markup ({lines[0].strip():.40}), but must be a sentence: convert the file to "
                "plain text, with a sentence on each line."
            )
        if len(lines) >= MIN_LINES:
            reads_tabs = not is_same and (corpus.reads_tabs or column is corpus.columns[-1])
            _refuse_several_columns(column, lines, reads_tabs=reads_tabs, is_same=is_same)


def _refuse_several_columns(column: Column, lines: Sequence[str], *, reads_tabs: bool, is_same: bool) -> None:
    stem = Path(column.source).stem
    if are_numbered(lines):
        raise ValueError(
            f"{column}: each line has its number and a tab before the text: name the file {stem}.tsv and its column by "
            f"{stem}.tsv#1."
        )
    separator = next(
        (candidate for candidate in (" ||| ", "\t") if all(_has_two(line, candidate) for line in lines)), None
    )
    if separator is None or (separator == "\t" and reads_tabs):
        return
    raise ValueError(
        f"{column}: each line has {separator!r}, which separates two texts: write the source and the target to two "
        f"files, or separate them by tabs and name the columns {stem}.tsv#0 and {stem}.tsv#1."
        + " Tags after a tab need `data.tokenizer.tags`."
        * (separator == "\t" and not is_same)
    )


def _has_two(line: str, separator: str) -> bool:
    """Return whether a line has several texts, which are not empty, with a separator between them."""
    return sum(bool(text.strip()) for text in line.split(separator)) > 1


def are_numbered(lines: Sequence[str]) -> bool:
    """Return whether each line begins with a tab after its number, which is one more than that of the line before."""
    matches = [_NUMBERED.match(line) for line in lines]
    numbers = [int(match[1]) for match in matches if match]
    return len(numbers) == len(lines) and numbers == list(range(numbers[0], numbers[0] + len(lines)))


def has_tabs(column: Column) -> bool:
    """Return whether all lines at the start of a column have a tab."""
    lines = sample_lines(column, MAX_SAMPLE)
    return len(lines) >= MIN_LINES and all(_has_two(line, "\t") for line in lines)


def sample_lines(column: Column, count: int) -> list[str]:
    """Return the first lines of a column that are not empty; none of a stream, which can be read only once."""
    if column.is_stream:
        return []
    return list(islice((line for line in islice(column.values(), SAMPLE_LINES) if line.strip()), count))


def note_text(corpora: Iterable[Corpus]) -> ReadingNotes:
    """Note markup in the first lines of texts, and what was left out or converted in their columns of tables."""
    notes = ReadingNotes()
    corpora = list(corpora)
    columns = {str(column): column for corpus in corpora for column in corpus.columns}
    targets = {str(corpus.columns[-1]): len(corpus.columns) > 1 for corpus in corpora}
    for column in columns.values():
        if targets.get(str(column)) is False and column.kind == "text" and has_tabs(column):
            notes.add(COLUMNS, location_in(column, 0))
        for number, line in enumerate(islice(column.values(), SAMPLE_LINES)):
            for name, (pattern, advice) in MARKUP.items():
                if pattern.search(line):
                    text = f"of the first {SAMPLE_LINES:,} lines have {name}, read as text: {advice}"
                    notes.add(text, location_in(column, number))
            if targets.get(str(column)) and "\t" in line:
                notes.add(TABS, location_in(column, number))
            if str(column) in targets and has_invisible(line):
                text = f"of the first {SAMPLE_LINES:,} lines {INVISIBLE}"
                notes.add(text, location_in(column, number))
        if isinstance(column, FileColumn) and column.kind in SCANNED_KINDS:
            notes.update(column.scan().notes)
    return notes


def location_in(column: Column, number: int) -> str:
    """Return the location of a value of a column, by its number from 0."""
    return f"{column}, line {column.line_numbers(number, 1)[0]}"
