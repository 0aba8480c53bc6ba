"""Blocks of raw rows -> encoded rows, with a reason for each that is left out: what each process does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from seqlab.data.corpus import RowBlock
from seqlab.data.encoded import EncodedRows
from seqlab.data.ragged import RaggedArray, append_eos
from seqlab.data.readers import LinePart
from seqlab.data.report import EXAMPLES_PER_REASON, DroppedRow, TokenCounts
from seqlab.data.survey import char_lengths, ratio_outliers
from seqlab.text import Tokenizer, encode_unknown, find_unknown

Statuses = NDArray[np.uint8]
ColumnLines = Sequence[list[str]]
"""Of each column."""


class RowStatus(IntEnum):
    """What becomes of a row; the values above VALID are reasons to drop it."""

    TRAIN = 0
    VALID = 1
    EMPTY = 2
    LENGTH_RATIO = 3
    TOO_LONG = 4
    VALID_SOURCE = 5

    @property
    def reason(self) -> str:
        """The name of a reason to drop a row."""
        return self.name.lower()


@dataclass(frozen=True)
class EncodeTask:
    """A block to encode."""

    block: RowBlock
    statuses: Statuses  # (rows,): what the survey decided
    columns: tuple[str, ...]  # path specs of the corpus
    lines: NDArray[np.int64]  # (rows, columns): where each is in its file, from 1
    chars_ratio: float | None  # of the corpus; None where no row is dropped for its own
    with_text: dict[RowStatus, bool]  # for the statuses that are kept: whether raw text is needed


@dataclass
class EncodedBlock:
    """What is to be written."""

    statuses: Statuses  # (rows,): what became of them
    counts: list[TokenCounts]  # of each column
    kept: dict[RowStatus, EncodedRows] = field(default_factory=dict)
    dropped: bytes = b""  # lines of the file of dropped rows
    examples: list[DroppedRow] = field(default_factory=list)  # a few of them


@dataclass(frozen=True)
class RowEncoder:
    """Encode blocks of text without a second side, each line of which ends with eos."""

    tokenizers: Sequence[Tokenizer]
    """Of each column."""

    @property
    def vocab_sizes(self) -> list[int]:
        """How many ids each column may have."""
        return [tokenizer.vocab_size for tokenizer in self.tokenizers]

    def encode(self, columns: ColumnLines) -> list[RaggedArray]:
        """Give the ids of the lines of each column."""
        return [encode_text(*each) for each in zip(self.tokenizers, columns, strict=True)]

    def drop_by_text(self, statuses: Statuses, columns: ColumnLines, chars_ratio: float | None) -> None:
        """Change the statuses of rows that are dropped for their text."""

    def drop_by_length(self, statuses: Statuses, candidates: NDArray[np.int64], lengths: NDArray[np.int64]) -> None:
        """Change the statuses of candidates that are dropped for their lengths in tokens (rows, columns)."""

    def explain(self, status: RowStatus, row: Sequence[str], lengths: list[int]) -> str:
        """Say why a row is dropped."""
        return "empty" if status == RowStatus.EMPTY else "repeats a validation line"

    def __call__(self, task: EncodeTask) -> EncodedBlock:
        columns = task.block.lines()
        statuses = task.statuses.copy()
        self.drop_by_text(statuses, columns, task.chars_ratio)
        candidates = np.flatnonzero(statuses <= RowStatus.VALID)
        ids = self.encode([[lines[place] for place in candidates] for lines in columns])
        lengths = np.zeros((len(statuses), len(columns)), np.int64)
        lengths[candidates] = np.stack([rows.lengths for rows in ids], 1)
        self.drop_by_length(statuses, candidates, lengths)
        encoded = EncodedBlock(statuses, [TokenCounts()] * len(columns))
        for status, with_text in task.with_text.items():
            picked = np.flatnonzero(statuses[candidates] == status)
            places = candidates[picked]
            texts = [RaggedArray.from_texts([lines[place] for place in places]) for lines in columns if with_text]
            kept = EncodedRows([rows.take(picked) for rows in ids], texts, task.lines[places])
            encoded.kept[status] = kept
            found = map(_count_tokens, kept.columns, self.tokenizers)
            encoded.counts = [before + more for before, more in zip(encoded.counts, found, strict=True)]
        self._drop(encoded, task, columns, lengths)
        return encoded

    def _drop(self, encoded: EncodedBlock, task: EncodeTask, columns: ColumnLines, lengths: NDArray[np.int64]) -> None:
        """List the rows that are dropped: as text, as a large corpus has many."""
        places = np.flatnonzero(encoded.statuses > RowStatus.VALID)
        numbers, tokens = task.lines[places].tolist(), lengths[places].tolist()
        written, seen = [], Counter[RowStatus]()
        for place, row_numbers, row_lengths in zip(places.tolist(), numbers, tokens, strict=True):
            status = RowStatus(encoded.statuses[place])
            detail = self.explain(status, [lines[place] for lines in columns], row_lengths)
            seen[status] += 1
            if seen[status] <= EXAMPLES_PER_REASON:
                encoded.examples.append(DroppedRow(status.reason, task.columns, tuple(row_numbers), detail))
            located = "\t".join([f"{name}\t{number}" for name, number in zip(task.columns, row_numbers, strict=True)])
            written.append(f"{status.reason}\t{located}\t{detail}\n")
        encoded.dropped = "".join(written).encode()


@dataclass(frozen=True)
class PairEncoder(RowEncoder):
    """Encode blocks of pairs, of which unlikely ones are dropped."""

    max_length: int  # tokens
    max_length_ratio: float
    copy_unknown: bool = False

    @property
    def vocab_sizes(self) -> list[int]:
        """How many ids either side may have, those of unknown words counted."""
        more = self.max_length if self.copy_unknown else 0
        return [size + more for size in super().vocab_sizes]

    def encode(self, columns: ColumnLines) -> list[RaggedArray]:
        """Give the ids of both sides."""
        sides = list(zip(self.tokenizers, columns, strict=True))
        if not self.copy_unknown:
            return [RaggedArray.from_flat(*tokenizer.encode_flat(lines)) for tokenizer, lines in sides]
        unknown = find_unknown(*sides[0])
        return [RaggedArray.from_lists(encode_unknown(tokenizer, lines, unknown)) for tokenizer, lines in sides]

    def drop_by_text(self, statuses: Statuses, columns: ColumnLines, chars_ratio: float | None) -> None:
        """Drop pairs with an unlikely length ratio."""
        if chars_ratio is not None:
            src_chars, tgt_chars = map(char_lengths, columns)
            outliers = ratio_outliers(src_chars, tgt_chars, chars_ratio, self.max_length_ratio)
            statuses[outliers & (statuses <= RowStatus.VALID)] = RowStatus.LENGTH_RATIO

    def drop_by_length(self, statuses: Statuses, candidates: NDArray[np.int64], lengths: NDArray[np.int64]) -> None:
        """Drop pairs that are too long, or empty once normalisation has removed all that a line has."""
        statuses[candidates[lengths[candidates].min(1) == 0]] = RowStatus.EMPTY
        statuses[lengths.max(1) > self.max_length] = RowStatus.TOO_LONG

    def explain(self, status: RowStatus, row: Sequence[str], lengths: list[int]) -> str:
        """Say why a pair is dropped."""
        if status == RowStatus.EMPTY:
            sides = [name for name, line in zip(("source", "target"), row, strict=True) if not line.strip()]
            return f"{' and '.join(sides) or 'one side'} empty"
        if status == RowStatus.LENGTH_RATIO:
            return f"{len(row[0])} and {len(row[1])} characters"
        if status == RowStatus.TOO_LONG:
            return f"{lengths[0]} and {lengths[1]} tokens, `max_length` is {self.max_length}"
        return "source is in the validation set"


def encode_text(tokenizer: Tokenizer, lines: Sequence[str]) -> RaggedArray:
    """Encode lines with eos after each; the parts of a line together get the ids of the whole line."""
    goes_on = np.fromiter((isinstance(line, LinePart) for line in lines), np.bool_, len(lines))
    if goes_on.any() and _joins_with_spaces(tokenizer):
        lines = [line.removesuffix(" ") if is_part else line for line, is_part in zip(lines, goes_on, strict=True)]
    return append_eos(*tokenizer.encode_flat(lines), tokenizer.eos_id, goes_on)


def _joins_with_spaces(tokenizer: Tokenizer) -> bool:
    """Tell whether joining two texts by a space concatenates their ids, as with words and subwords."""
    whole, first, second = tokenizer.encode(["a a", "a", "a"])
    return whole == first + second


def _count_tokens(rows: RaggedArray, tokenizer: Tokenizer) -> TokenCounts:
    is_unknown = (rows.values == tokenizer.unk_id) | (rows.values >= tokenizer.vocab_size)
    for unknown_tag in tokenizer.tag_ids[:1]:
        is_unknown |= rows.values == unknown_tag
    return TokenCounts(len(rows.values), int(is_unknown.sum()))
