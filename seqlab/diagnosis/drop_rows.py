"""Copies of training files without some rows: same format, same order, parallel files stay parallel."""

import bz2
import gzip
import lzma
import os
import re
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

from seqlab.base.atomic_io import rename, sync_folder, temporary_path, write_json
from seqlab.data.columns import FileColumn
from seqlab.data.delimited import open_table
from seqlab.data.readers import open_binary
from seqlab.data.tables import table_kind
from seqlab.diagnosis.array_rows import ArrayRows
from seqlab.diagnosis.data_findings import KINDS
from seqlab.diagnosis.inspection import Inspection
from seqlab.diagnosis.text_rows import TextRows

REPORT_FILE = "dropped.json"
LINE_KINDS, TABLE_KINDS = ("text", "jsonl"), ("tsv", "csv")
SENTENCE_KINDS = ("conll", "conllu")
"""Formats in which an empty line ends a row."""
ROW_OF_TABLE = re.compile(r"(.+), line (\d+)")
Lines = set[int]
"""Line numbers from 1."""


def write_rest(inspection: Inspection, out: Path) -> str:
    """Write the training files without the rows of all findings into a new folder; return a summary.

    `dropped.json` in this folder counts the rows by kind, and has the location of each.

    Raises:
        FileExistsError: the folder exists.
        ValueError: the rows are not lines of text files or tables, or no rows remain.
    """
    if out.exists():
        raise FileExistsError(f"{out} exists: name a new folder.")
    train = inspection.splits.get("train")
    if train is None:
        raise ValueError("This data has no rows that can be left out.")
    rows = inspection.findings.rows("train").tolist()
    if len(rows) == len(train):
        raise ValueError(f"All {len(train):,} training rows have findings: choose some kinds by `--kinds`.")
    dropped = _lines_of_texts(train, rows) if isinstance(train, TextRows) else _lines_of_tables(train, rows)
    names = _file_names(dropped)
    temporary = temporary_path(out)
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        for path, name in names.items():
            _copy(path, temporary / name, dropped[path])
        write_json(temporary / REPORT_FILE, _report(inspection, train, rows, names))
        sync_folder(temporary)
        rename(temporary, out)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return f"{out}: {len(train) - len(rows):,} of {len(train):,} training rows, in {', '.join(names.values())}"


def _report(
    inspection: Inspection, train: TextRows | ArrayRows, rows: list[int], names: Mapping[Path, str]
) -> dict[str, Any]:
    kinds: dict[int, list[str]] = {row: [] for row in rows}
    for kind in KINDS:
        for hits in inspection.findings.hits:
            if hits.kind == kind and hits.split == "train":
                for row in hits.rows.tolist():
                    kinds[row].append(kind)
    return {
        "rows": len(train),
        "kept": len(train) - len(rows),
        "dropped": len(rows),
        "by_kind": dict(Counter(kind for row_kinds in kinds.values() for kind in row_kinds)),
        "files": {str(path): name for path, name in names.items()},
        "dropped_rows": [{"location": train.locate(row), "kinds": kinds[row]} for row in rows],
    }


def _lines_of_texts(train: TextRows, rows: Iterable[int]) -> dict[Path, Lines]:
    """Return the lines to leave out of each file."""
    for corpus in train.corpora:
        for column in corpus.columns:
            if not isinstance(column, FileColumn) or column.kind not in (*LINE_KINDS, *TABLE_KINDS, *SENTENCE_KINDS):
                raise ValueError(f"{column}: cannot be written without the found rows: convert it to .jsonl or text.")
    dropped: dict[Path, Lines] = {
        column.path: set() for corpus in train.corpora for column in corpus.columns if isinstance(column, FileColumn)
    }
    by_corpus: list[list[int]] = [[] for _ in train.corpora]
    for number, index in map(train.position, rows):
        by_corpus[number].append(index)
    for corpus, size, indices in zip(train.corpora, train.sizes, by_corpus, strict=True):
        for column in corpus.columns:
            numbers = np.asarray(column.line_numbers(0, size))
            starts = numbers
            if column.kind in TABLE_KINDS:  # the number of a record of several lines is that of its last line
                starts = np.concatenate([[1 + column.has_header], numbers[:-1] + 1])
            for index in indices:
                dropped[cast(FileColumn, column).path] |= set(range(int(starts[index]), int(numbers[index]) + 1))
    return dropped


def _lines_of_tables(train: ArrayRows, rows: Iterable[int]) -> dict[Path, Lines]:
    """Return the lines to leave out of each table, whose rows are located by the number of their last line."""
    matches = [ROW_OF_TABLE.fullmatch(train.locate(row)) for row in range(len(train))]
    located = [(Path(match[1]), int(match[2])) for match in matches if match]
    if len(located) < len(matches) or not all(table_kind(path) for path, _ in located):
        raise ValueError(
            f"{train.locate(0)}: only rows of tables (.csv, .tsv, .jsonl) and lines of text can be left out: remove "
            "the listed rows from the data yourself."
        )
    dropped: dict[Path, Lines] = {path: set() for path, _ in located}
    firsts = {path: _first_lines(path) for path in dropped}
    for path, last in (located[row] for row in rows):
        dropped[path] |= set(range(firsts[path].get(last, last), last + 1))
    return dropped


def _first_lines(path: Path) -> dict[int, int]:
    """Return the first line of each row of a table by its last one; cells in quotation marks may hold several lines."""
    if table_kind(path) == ".jsonl":
        return {}
    table = open_table(path)
    before, firsts = table.lines.number, {}
    for last, _ in table.rows(lambda message: None):
        firsts[last], before = before + 1, last
    return firsts


def _file_names(paths: Iterable[Path]) -> dict[Path, str]:
    """Return a distinct name for each file: its own, with a number before it if another file has it."""
    names: dict[Path, str] = {}
    for path in paths:
        name = path.name if path.name not in {*names.values(), REPORT_FILE} else f"{len(names) + 1}.{path.name}"
        names[path] = name
    return names


def _copy(path: Path, target: Path, dropped: Lines) -> None:
    """Copy all lines but some; of a file of sentences, all sentences without one of these lines."""
    is_sentences = FileColumn(path, "0").kind in SENTENCE_KINDS
    with open_binary(path) as source, closing(_open(target)) as file:
        lines = enumerate(source, start=1)
        for block in _sentences(lines) if is_sentences else ([line] for line in lines):
            if not any(number in dropped for number, _ in block):
                file.writelines(line for _, line in block)


def _sentences(lines: Iterable[tuple[int, bytes]]) -> Iterator[list[tuple[int, bytes]]]:
    """Yield numbered lines in blocks that end with an empty line."""
    block: list[tuple[int, bytes]] = []
    for number, line in lines:
        block.append((number, line))
        if not line.strip():
            yield block
            block = []
    yield block


def _open(path: Path) -> IO[bytes]:
    """Open a file for writing, compressed as its name says."""
    match path.suffix.lower():
        case ".gz":
            return cast(IO[bytes], gzip.GzipFile(os.fspath(path), "wb", mtime=0))
        case ".bz2":
            return bz2.open(path, "wb")
        case ".xz":
            return lzma.open(path, "wb")
        case ".zip":
            raise ValueError(f"{path.name}: unpack the zip archive before rows are left out of it.")
    return path.open("wb")
