"""Blocks of raw pairs -> encoded pairs, with a reason for each that is left out: what each process does."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from seqlab.data.encoded import EncodedRows
from seqlab.data.parallel import PairBlock
from seqlab.data.report import DroppedPair, SideCounts
from seqlab.data.rows import Rows
from seqlab.data.survey import char_lengths, ratio_outliers
from seqlab.text import Tokenizer, encode_unknown, unknown_of

Fates = NDArray[np.uint8]


class Fate(IntEnum):
    """What becomes of a pair; the values above VALID are reasons to drop it."""

    TRAIN = 0
    VALID = 1
    EMPTY = 2
    LENGTH_RATIO = 3
    TOO_LONG = 4
    VALID_SOURCE = 5


@dataclass(frozen=True)
class Task:
    """A block to encode."""

    block: PairBlock
    fates: Fates  # (pairs,): what the survey decided
    src: str  # path specs of the corpus
    tgt: str
    lines: NDArray[np.int64]  # (pairs, 2): where each is in either file, from 1
    chars_ratio: float | None  # of the corpus; None where no pair is dropped for its own
    with_text: dict[Fate, bool]  # for the fates that are kept: whether raw text is needed


@dataclass
class EncodedBlock:
    """What is to be written."""

    fates: Fates  # (pairs,): what became of them
    kept: dict[Fate, EncodedRows] = field(default_factory=dict)
    src_counts: SideCounts = field(default_factory=SideCounts)
    tgt_counts: SideCounts = field(default_factory=SideCounts)
    dropped: list[DroppedPair] = field(default_factory=list)

    def add(self, fate: Fate, pairs: EncodedRows, encoder: Encoder) -> None:
        """Keep pairs of one fate and count their tokens."""
        self.kept[fate] = pairs
        self.src_counts += _count(pairs.columns[0], encoder.src_tokenizer)
        self.tgt_counts += _count(pairs.columns[1], encoder.tgt_tokenizer)


@dataclass(frozen=True)
class Encoder:
    """Encode blocks with a pair of tokenizers and the limits of the config."""

    src_tokenizer: Tokenizer
    tgt_tokenizer: Tokenizer
    max_length: int  # tokens
    max_length_ratio: float
    copy_unknown: bool = False

    def encode(self, src: list[str], tgt: list[str]) -> tuple[Rows, Rows]:
        """Give the ids of both sides."""
        if not self.copy_unknown:
            return Rows.from_flat(*self.src_tokenizer.encode_flat(src)), Rows.from_flat(
                *self.tgt_tokenizer.encode_flat(tgt)
            )
        unknown = unknown_of(self.src_tokenizer, src)
        sides = ((self.src_tokenizer, src), (self.tgt_tokenizer, tgt))
        rows = [Rows.from_lists(encode_unknown(tokenizer, lines, unknown)) for tokenizer, lines in sides]
        return rows[0], rows[1]

    @property
    def vocab_sizes(self) -> tuple[int, int]:
        """How many ids either side may have, those of unknown words counted."""
        more = self.max_length if self.copy_unknown else 0
        return self.src_tokenizer.vocab_size + more, self.tgt_tokenizer.vocab_size + more

    def __call__(self, task: Task) -> EncodedBlock:
        lines = task.block.lines()
        fates = task.fates.copy()
        if task.chars_ratio is not None:
            src_chars, tgt_chars = map(char_lengths, lines)
            outliers = ratio_outliers(src_chars, tgt_chars, task.chars_ratio, self.max_length_ratio)
            fates[outliers & (fates <= Fate.VALID)] = Fate.LENGTH_RATIO
        candidates = np.flatnonzero(fates <= Fate.VALID)
        src, tgt = self.encode(*([side[place] for place in candidates] for side in lines))
        lengths = np.zeros((len(fates), 2), np.int64)
        lengths[candidates] = np.stack([src.lengths, tgt.lengths], 1)
        # Where normalisation removes all that a line has, it is empty too.
        fates[candidates[lengths[candidates].min(1) == 0]] = Fate.EMPTY
        fates[lengths.max(1) > self.max_length] = Fate.TOO_LONG
        encoded = EncodedBlock(fates)
        for fate, with_text in task.with_text.items():
            picked = np.flatnonzero(fates[candidates] == fate)
            places = candidates[picked]
            texts = [Rows.from_texts([side[place] for place in places]) for side in lines if with_text]
            encoded.add(fate, EncodedRows([src.take(picked), tgt.take(picked)], texts, task.lines[places]), self)
        for place in np.flatnonzero(fates > Fate.VALID).tolist():
            fate, pair = Fate(fates[place]), (lines[0][place], lines[1][place])
            detail = self._explain(fate, pair, lengths[place].tolist())
            src_line, tgt_line = task.lines[place].tolist()
            encoded.dropped.append(DroppedPair(fate.name.lower(), task.src, task.tgt, src_line, tgt_line, detail))
        return encoded

    def _explain(self, fate: Fate, pair: tuple[str, str], tokens: list[int]) -> str:
        src, tgt = pair
        if fate == Fate.EMPTY:
            sides = [name for name, line in (("source", src), ("target", tgt)) if not line.strip()]
            return f"{' and '.join(sides) or 'one side'} empty"
        if fate == Fate.LENGTH_RATIO:
            return f"{len(src)} and {len(tgt)} characters"
        if fate == Fate.TOO_LONG:
            return f"{tokens[0]} and {tokens[1]} tokens, `max_length` is {self.max_length}"
        return "source is in the validation set"


def _count(rows: Rows, tokenizer: Tokenizer) -> SideCounts:
    is_unknown = (rows.values == tokenizer.unk_id) | (rows.values >= tokenizer.vocab_size)
    for unknown_tag in tokenizer.tag_ids[:1]:
        is_unknown |= rows.values == unknown_tag
    return SideCounts(len(rows.values), int(is_unknown.sum()))
