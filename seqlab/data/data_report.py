"""Data report: counts of kept and dropped rows, reasons, and overlap of the splits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from seqlab.base.atomic_io import sync
from seqlab.base.named_files import open_for_writing
from seqlab.data.column import row_location
from seqlab.data.corpus import row_unit
from seqlab.data.ragged import resume_file
from seqlab.data.survey import Survey, occur_in

REASONS = {
    "empty": "with an empty side",
    "length_ratio": "with an unlikely length ratio",
    "too_long": "longer than `max_length`",
    "valid_source": "with the source of a validation pair",
}
"""Reasons to drop pairs, and their descriptions."""
MONOLINGUAL_REASONS = {"empty": "(empty)", "valid_source": "(repeat a validation line)"}
"""Reasons to drop lines of monolingual text, and their descriptions."""

EXAMPLES_PER_REASON = 3


@dataclass(frozen=True)
class DroppedRow:
    """A dropped row and the reason."""

    reason: str  # a key of REASONS
    columns: tuple[str, ...]  # path specs
    lines: tuple[int, ...]
    detail: str

    @property
    def location(self) -> str:
        """Location of the row: files and lines."""
        return row_location(self.columns, self.lines)


@dataclass(frozen=True)
class TokenCounts:
    """Numbers of tokens and of unknown tokens in the kept rows of a column; monolingual text includes eos."""

    tokens: int = 0
    unknown: int = 0

    def __add__(self, other: TokenCounts) -> TokenCounts:
        return TokenCounts(self.tokens + other.tokens, self.unknown + other.unknown)


@dataclass(frozen=True)
class CorpusReport:
    """Counts of rows in one corpus."""

    split: str  # train or valid
    columns: tuple[str, ...]  # path specs
    rows: int
    kept: int
    split_off: int  # held out for validation
    dropped: dict[str, int]  # by reason
    duplicates: int | None  # kept pairs that repeat an earlier one of the same split; None for monolingual text
    copies: int  # kept pairs with equal source and target
    counts: tuple[TokenCounts, ...]  # of each column


@dataclass(frozen=True)
class Overlap:
    """Counts of lines of a held-out set that occur verbatim in the training corpora."""

    split: str  # valid or test
    columns: tuple[str, ...]  # path specs
    rows: int  # rows without an empty side
    in_train: tuple[int, ...]  # lines of each column that occur in training
    rows_in_train: int


@dataclass(frozen=True)
class DataReport:
    """Report of the data before training, convertible to JSON."""

    corpora: list[CorpusReport]
    overlaps: list[Overlap]
    examples: list[DroppedRow] = field(default_factory=list)  # the first rows of each reason
    dropped_file: str = ""  # file that lists all dropped rows
    valid_file: str = ""  # file of the pairs held out for validation; "" for none
    valid_bytes: int = 0  # size of `valid_file`
    reading: list[dict[str, Any]] = field(default_factory=list)  # `ReadingNotes` as JSON values

    def to_json(self) -> dict[str, Any]:
        """Convert the report to JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Any) -> DataReport:
        """Parse the value that `to_json` returned; raises ValueError for any other."""
        return TypeAdapter(cls).validate_python(value)

    def lines(self) -> list[str]:
        """Render the report as lines of text."""
        text: list[str] = []
        for corpus in self.corpora:
            text += _corpus_lines(corpus)
        text += self._advice()
        if self.valid_file:
            text.append(f"Held out for validation: {self.valid_file}, columns src and tgt")
        text += [_overlap_line(overlap) for overlap in self.overlaps]
        if self.examples:
            text.append(f"Examples of dropped rows (full list: {self.dropped_file}):")
            text += [f"  {row.location}: {row.detail}" for row in self.examples]
        return text

    def _advice(self) -> list[str]:
        """Return a warning if the validation text has unknown tokens, but the training text has none."""
        unknown = dict.fromkeys(("train", "valid"), 0)
        for corpus in self.corpora:
            unknown[corpus.split] += corpus.counts[0].unknown if len(corpus.columns) == 1 else 0
        if unknown["train"] or not unknown["valid"]:
            return []
        return [
            f"valid: {unknown['valid']:,} tokens are unknown, but none in training: the model cannot learn to predict "
            "<unk>; with a `words` tokenizer, set `data.tokenizer.min_count` to 2"
        ]


def _corpus_lines(corpus: CorpusReport) -> list[str]:
    is_text = len(corpus.columns) == 1
    names, unit = " and ".join(corpus.columns), row_unit(len(corpus.columns))
    kept = f"{corpus.split}: {names}: {corpus.rows:,} {unit}, {corpus.kept:,} kept"
    if corpus.split_off:
        kept += f", {corpus.split_off:,} held out for validation"
    reasons = MONOLINGUAL_REASONS if is_text else REASONS
    text = [kept, *(f"  {count:,} dropped {reasons[reason]}" for reason, count in corpus.dropped.items())]
    if corpus.duplicates:
        text.append(f"  {corpus.duplicates:,} repeat an earlier pair (kept)")
    if corpus.copies:
        text.append(f"  {corpus.copies:,} have a target equal to the source (kept)")
    if corpus.copies and corpus.copies == corpus.rows:
        text.append("  all targets equal their sources: is one of the files named twice?")
    for name, column in zip(("",) if is_text else ("src: ", "tgt: "), corpus.counts, strict=True):
        average = column.tokens / max(corpus.kept + corpus.split_off, 1)
        unknown = column.unknown / max(column.tokens, 1)
        ends = ", including ends of line" if is_text else ""
        text.append(f"  {name}{column.tokens:,} tokens{ends}, {average:.1f} per line, {unknown:.3%} unknown")
    return text


def _overlap_line(overlap: Overlap) -> str:
    shared = f"{overlap.rows_in_train:,}"
    if len(overlap.columns) > 1:
        src, tgt = overlap.in_train
        shared = f"{src:,} sources, {tgt:,} targets, {shared} pairs"
    rows = f"{overlap.rows:,} {row_unit(len(overlap.columns))}"
    return f"{overlap.split}: {' and '.join(overlap.columns)}: of {rows}, training contains {shared}"


def measure_overlap(split: str, held_out: Survey, train: list[Survey]) -> Overlap:
    """Count the lines of a held-out set that occur in training; `train` must not have rows with an empty side."""
    filled = held_out.select(~held_out.empty)
    in_train = [
        int(occur_in(hashes, [survey.hashes[column] for survey in train]).sum())
        for column, hashes in enumerate(filled.hashes)
    ]
    rows_in_train = in_train[0]
    if len(in_train) > 1:
        rows_in_train = int(occur_in(filled.row_hashes, [survey.row_hashes for survey in train]).sum())
    return Overlap(split, held_out.corpus.specs, len(filled), tuple(in_train), rows_in_train)


@dataclass(frozen=True)
class DropLogState:
    """State of a partially written file of dropped rows, for resuming."""

    size: int  # bytes
    examples: list[DroppedRow]


class DropLog:
    """Writer of a tab-separated file of all dropped rows, which keeps the first rows of each reason in memory.

    It is resumable like `ArrayWriter`.
    """

    def __init__(self, path: Path, num_columns: int, state: DropLogState | None = None) -> None:
        self.examples: list[DroppedRow] = [] if state is None else list(state.examples)
        self._path = path
        self._file = open_for_writing(path) if state is None else resume_file(path, state.size)
        if state is None:
            names = ["text", "text_line"] if num_columns == 1 else ["src", "src_line", "tgt", "tgt_line"]
            self._file.write(("\t".join(["reason", *names, "detail"]) + "\n").encode())

    def add(self, lines: bytes, examples: Sequence[DroppedRow]) -> None:
        """Append lines to the file, and keep the first examples of each reason."""
        self._file.write(lines)
        for row in examples:
            if sum(example.reason == row.reason for example in self.examples) < EXAMPLES_PER_REASON:
                self.examples.append(row)

    def save(self) -> DropLogState:
        """Flush the file to disk, and return the state from which another writer can resume."""
        sync(self._file, self._path)
        return DropLogState(self._file.tell(), list(self.examples))

    def close(self) -> None:
        """Flush and close the file."""
        self.save()
        self._file.close()
