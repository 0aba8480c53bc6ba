"""Encoding of blocks of raw rows in worker processes, with a reason for each dropped row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from seqlab.base.reading_notes import ReadingNotes
from seqlab.data.column import row_location
from seqlab.data.corpus import RowBlock
from seqlab.data.data_report import EXAMPLES_PER_REASON, DroppedRow, TokenCounts
from seqlab.data.encoded import EncodedRows
from seqlab.data.ragged import RaggedArray, append_eos
from seqlab.data.readers import LinePart
from seqlab.data.survey import char_lengths, ratio_outliers
from seqlab.text import Tokenizer, encode_unknown, find_unknown
from seqlab.text.normalization import is_single_spaced

Statuses = NDArray[np.uint8]
OTHER_SPACES = (
    "sources have other white space than single spaces, or invisible characters, and are read without them "
    "(`data.src_spaces: single`)"
)
"""Text of a `ReadingNote`."""
ColumnLines = Sequence[list[str]]
"""Lines of each column."""


class RowStatus(IntEnum):
    """Status of a row: its split; or, for values above VALID, the reason to drop it."""

    TRAIN = 0
    VALID = 1
    EMPTY = 2
    LENGTH_RATIO = 3
    TOO_LONG = 4
    VALID_SOURCE = 5

    @property
    def reason(self) -> str:
        """Name of the reason in reports."""
        return self.name.lower()


@dataclass(frozen=True)
class EncodeTask:
    """A block to encode."""

    block: RowBlock
    statuses: Statuses  # (rows,): assigned by the survey
    columns: tuple[str, ...]  # path specs of the corpus
    lines: NDArray[np.int64]  # (rows, columns): line of each row in its file, from 1
    chars_ratio: float | None  # of the corpus; None if no row is dropped for its length ratio
    with_text: dict[RowStatus, bool]  # kept status -> whether raw text is kept too


@dataclass
class EncodedBlock:
    """An encoded block, ready to be written."""

    statuses: Statuses  # (rows,): final
    counts: list[TokenCounts]  # of each column
    kept: dict[RowStatus, EncodedRows] = field(default_factory=dict)
    dropped: bytes = b""  # lines of the file of dropped rows
    examples: list[DroppedRow] = field(default_factory=list)  # the first dropped rows of each reason
    reading: ReadingNotes = field(default_factory=ReadingNotes)


@dataclass(frozen=True)
class RowEncoder:
    """Encoder of blocks of monolingual text; each line ends with eos."""

    tokenizers: Sequence[Tokenizer]
    """Tokenizer of each column."""

    @property
    def vocab_sizes(self) -> list[int]:
        """Number of possible ids of each column."""
        return [tokenizer.vocab_size for tokenizer in self.tokenizers]

    def encode(self, columns: ColumnLines) -> list[RaggedArray]:
        """Return the ids of the lines of each column."""
        return [encode_text(*pair) for pair in zip(self.tokenizers, columns, strict=True)]

    def drop_by_text(self, statuses: Statuses, columns: ColumnLines, chars_ratio: float | None) -> None:
        """Set the status of rows that are dropped because of their text."""

    def drop_by_length(self, statuses: Statuses, candidates: NDArray[np.int64], lengths: NDArray[np.int64]) -> None:
        """Set the status of candidates that are dropped because of their `lengths` (rows, columns) in tokens."""

    def explain(self, status: RowStatus, row: Sequence[str], lengths: list[int]) -> str:
        """Return a detailed reason why a row is dropped."""
        return "empty" if status == RowStatus.EMPTY else "repeats a validation line"

    def __call__(self, task: EncodeTask) -> EncodedBlock:
        columns = task.block.lines()
        statuses = task.statuses.copy()
        self.drop_by_text(statuses, columns, task.chars_ratio)
        candidates = np.flatnonzero(statuses <= RowStatus.VALID)
        ids = self.encode([[lines[row] for row in candidates] for lines in columns])
        lengths = np.zeros((len(statuses), len(columns)), np.int64)
        lengths[candidates] = np.stack([rows.lengths for rows in ids], 1)
        self.drop_by_length(statuses, candidates, lengths)
        encoded = EncodedBlock(statuses, [TokenCounts()] * len(columns))
        for status, with_text in task.with_text.items():
            picked = np.flatnonzero(statuses[candidates] == status)
            kept_rows = candidates[picked]
            texts = [RaggedArray.from_texts([lines[row] for row in kept_rows]) for lines in columns if with_text]
            kept = EncodedRows([rows.take(picked) for rows in ids], texts, task.lines[kept_rows])
            encoded.kept[status] = kept
            more_counts = map(_count_tokens, kept.columns, self.tokenizers)
            encoded.counts = [before + more for before, more in zip(encoded.counts, more_counts, strict=True)]
        self._list_dropped(encoded, task, columns, lengths)
        return encoded

    def _list_dropped(
        self, encoded: EncodedBlock, task: EncodeTask, columns: ColumnLines, lengths: NDArray[np.int64]
    ) -> None:
        """Set the lines of the file of dropped rows, as text, which is compact for large corpora."""
        rows = np.flatnonzero(encoded.statuses > RowStatus.VALID)
        numbers, tokens = task.lines[rows].tolist(), lengths[rows].tolist()
        written, seen = [], Counter[RowStatus]()
        for row, row_numbers, row_lengths in zip(rows.tolist(), numbers, tokens, strict=True):
            status = RowStatus(encoded.statuses[row])
            detail = self.explain(status, [lines[row] for lines in columns], row_lengths)
            seen[status] += 1
            if seen[status] <= EXAMPLES_PER_REASON:
                encoded.examples.append(DroppedRow(status.reason, task.columns, tuple(row_numbers), detail))
            location = "\t".join([f"{name}\t{number}" for name, number in zip(task.columns, row_numbers, strict=True)])
            written.append(f"{status.reason}\t{location}\t{detail}\n")
        encoded.dropped = "".join(written).encode()


@dataclass(frozen=True)
class PairEncoder(RowEncoder):
    """Encoder of blocks of pairs; drops pairs that are too long or have an unlikely length ratio."""

    max_length: int  # tokens
    max_length_ratio: float
    copy_unknown: bool = False
    has_single_spaces: bool = False
    """Whether the tokenizer of the source reads runs of white space as one space."""

    @property
    def vocab_sizes(self) -> list[int]:
        """Number of possible ids of each side, including those of unknown words."""
        more = self.max_length if self.copy_unknown else 0
        return [size + more for size in super().vocab_sizes]

    def encode(self, columns: ColumnLines) -> list[RaggedArray]:
        """Return the ids of both sides."""
        sides = list(zip(self.tokenizers, columns, strict=True))
        if not self.copy_unknown:
            return [RaggedArray.from_flat(*tokenizer.encode_flat(lines)) for tokenizer, lines in sides]
        unknown = find_unknown(*sides[0])
        return [RaggedArray.from_lists(encode_unknown(tokenizer, lines, unknown)) for tokenizer, lines in sides]

    def __call__(self, task: EncodeTask) -> EncodedBlock:
        """Encode a block."""
        columns = task.block.lines()
        encoded = super().__call__(replace(task, block=RowBlock(columns)))
        self.note_spaces(encoded, task, columns[0])
        return encoded

    def note_spaces(self, encoded: EncodedBlock, task: EncodeTask, sources: Sequence[str]) -> None:
        """Note the kept sources with other white space than single spaces between words."""
        if self.has_single_spaces:
            for row in np.flatnonzero(encoded.statuses <= RowStatus.VALID).tolist():
                if not is_single_spaced(sources[row]):
                    encoded.reading.add(OTHER_SPACES, row_location(task.columns[:1], task.lines[row, :1].tolist()))

    def drop_by_text(self, statuses: Statuses, columns: ColumnLines, chars_ratio: float | None) -> None:
        """Drop pairs with an unlikely length ratio."""
        if chars_ratio is not None:
            src_chars, tgt_chars = map(char_lengths, columns)
            outliers = ratio_outliers(src_chars, tgt_chars, chars_ratio, self.max_length_ratio)
            statuses[outliers & (statuses <= RowStatus.VALID)] = RowStatus.LENGTH_RATIO

    def drop_by_length(self, statuses: Statuses, candidates: NDArray[np.int64], lengths: NDArray[np.int64]) -> None:
        """Drop pairs that are too long, or have a side without tokens after normalization."""
        statuses[candidates[lengths[candidates].min(1) == 0]] = RowStatus.EMPTY
        statuses[lengths.max(1) > self.max_length] = RowStatus.TOO_LONG

    def explain(self, status: RowStatus, row: Sequence[str], lengths: list[int]) -> str:
        """Return a detailed reason why a pair is dropped."""
        if status == RowStatus.EMPTY:
            sides = [name for name, line in zip(("source", "target"), row, strict=True) if not line.strip()]
            return f"{' and '.join(sides) or 'one side'} empty"
        if status == RowStatus.LENGTH_RATIO:
            return f"{len(row[0])} and {len(row[1])} characters"
        if status == RowStatus.TOO_LONG:
            return f"{lengths[0]} and {lengths[1]} tokens, `max_length` is {self.max_length}"
        return "source is in the validation set"


def encode_text(tokenizer: Tokenizer, lines: Sequence[str]) -> RaggedArray:
    """Encode lines with eos after each; the parts of a long line get the same ids as the undivided line."""
    is_partial = np.fromiter((isinstance(line, LinePart) for line in lines), np.bool_, len(lines))
    if is_partial.any() and _joins_with_spaces(tokenizer):
        lines = [line.removesuffix(" ") if partial else line for line, partial in zip(lines, is_partial, strict=True)]
    return append_eos(*tokenizer.encode_flat(lines), tokenizer.eos_id, is_partial)


def _joins_with_spaces(tokenizer: Tokenizer) -> bool:
    """Return whether the ids of two texts joined by a space are their concatenated ids, as for words and subwords."""
    joined, first, second = tokenizer.encode(["a a", "a", "a"])
    return joined == first + second


def _count_tokens(rows: RaggedArray, tokenizer: Tokenizer) -> TokenCounts:
    is_unknown = (rows.values == tokenizer.unk_id) | (rows.values >= tokenizer.vocab_size)
    for unknown_tag in tokenizer.tag_ids[:1]:
        is_unknown |= rows.values == unknown_tag
    return TokenCounts(len(rows.values), int(is_unknown.sum()))
