"""Raw pairs of one corpus -> encoded pairs on the disk, with a reason for each that is left out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from seqlab.data.encoded import PairsWriter
from seqlab.data.parallel import in_batches
from seqlab.data.report import CorpusReport, DropLog, DroppedPair, SideCounts
from seqlab.data.survey import READ_LINES, Mask, Survey, char_lengths
from seqlab.text import Tokenizer

T = TypeVar("T")


class Fate(IntEnum):
    """What becomes of a pair; the values above VALID are reasons to drop it."""

    TRAIN = 0
    VALID = 1
    EMPTY = 2
    LENGTH_RATIO = 3
    TOO_LONG = 4
    VALID_SOURCE = 5


@dataclass
class Route:
    """Where the pairs of one corpus go."""

    split: str  # train or valid
    survey: Survey
    fates: NDArray[np.uint8]  # (pairs,); encoding changes those that are dropped
    writers: dict[Fate, PairsWriter]
    src_counts: SideCounts = field(default_factory=SideCounts)
    tgt_counts: SideCounts = field(default_factory=SideCounts)

    def count(self, fate: Fate) -> int:
        return int((self.fates == fate).sum())

    def report(self, duplicates: Mask) -> CorpusReport:
        """Summarise what happened, once everything is encoded."""
        dropped = {fate.name.lower(): self.count(fate) for fate in Fate if fate > Fate.VALID}
        return CorpusReport(
            split=self.split,
            src=str(self.survey.corpus.src),
            tgt=str(self.survey.corpus.tgt),
            pairs=len(self.survey),
            kept=self.count(Fate.TRAIN if self.split == "train" else Fate.VALID),
            split_off=self.count(Fate.VALID) if self.split == "train" else 0,
            dropped={reason: count for reason, count in dropped.items() if count},
            duplicates=int(duplicates.sum()),
            copies=int(self.survey.copies.sum()),
            src_counts=self.src_counts,
            tgt_counts=self.tgt_counts,
        )


@dataclass(frozen=True)
class Encoder:
    """Encode corpora with a pair of tokenizers and the limits of the config."""

    src_tokenizer: Tokenizer
    tgt_tokenizer: Tokenizer
    max_length: int  # tokens
    max_length_ratio: float
    log: DropLog

    def encode_corpus(self, route: Route) -> Iterator[int]:
        """Read the corpus again and write what is kept; yield the number of pairs of each batch when it is done."""
        corpus = route.survey.corpus
        for writer in route.writers.values():
            writer.start_corpus(str(corpus.src), str(corpus.tgt))
        start = 0
        for batch in in_batches(corpus.pairs(), READ_LINES):
            if start + len(batch) > len(route.survey):
                break
            self._encode_batch(route, start, batch)
            start += len(batch)
            yield len(batch)
        if start != len(route.survey):
            raise ValueError(f"{corpus.src} and {corpus.tgt}: changed while they were being read.")

    def _encode_batch(self, route: Route, start: int, batch: list[tuple[str, str]]) -> None:
        src_lines, tgt_lines = [src for src, _ in batch], [tgt for _, tgt in batch]
        fates = route.fates[start : start + len(batch)]  # a view: what is written here stays
        if route.split == "train":
            chars = char_lengths(src_lines), char_lengths(tgt_lines)
            outliers = route.survey.ratio_outliers(*chars, self.max_length_ratio)
            fates[outliers & (fates <= Fate.VALID)] = Fate.LENGTH_RATIO
        candidates = np.flatnonzero(fates <= Fate.VALID)
        src_ids = self.src_tokenizer.encode([src_lines[index] for index in candidates])
        tgt_ids = self.tgt_tokenizer.encode([tgt_lines[index] for index in candidates])
        lengths = np.zeros((len(batch), 2), np.int64)
        lengths[candidates] = np.array([[*map(len, src_ids)], [*map(len, tgt_ids)]], np.int64).T
        # Where normalisation removes all that a line has, it is empty too.
        fates[candidates[lengths[candidates].min(1) == 0]] = Fate.EMPTY
        fates[lengths.max(1) > self.max_length] = Fate.TOO_LONG
        numbers = np.array([route.survey.corpus.src.line_number(start + index) for index in range(len(batch))])
        for fate, writer in route.writers.items():
            picked = np.flatnonzero(fates[candidates] == fate)
            rows = candidates[picked]
            ids = _pick(src_ids, picked), _pick(tgt_ids, picked)
            writer.extend(ids, (_pick(src_lines, rows), _pick(tgt_lines, rows)), numbers[rows])
            route.src_counts += _count(ids[0], self.src_tokenizer)
            route.tgt_counts += _count(ids[1], self.tgt_tokenizer)
        for index in np.flatnonzero(fates > Fate.VALID):
            self._log_dropped(route, Fate(fates[index]), int(numbers[index]), batch[index], lengths[index].tolist())

    def _log_dropped(self, route: Route, fate: Fate, number: int, pair: tuple[str, str], tokens: list[int]) -> None:
        src, tgt = pair
        if fate == Fate.EMPTY:
            sides = [name for name, line in (("source", src), ("target", tgt)) if not line.strip()]
            detail = f"{' and '.join(sides) or 'one side'} empty"
        elif fate == Fate.LENGTH_RATIO:
            detail = f"{len(src)} and {len(tgt)} characters"
        elif fate == Fate.TOO_LONG:
            detail = f"{tokens[0]} and {tokens[1]} tokens, `max_length` is {self.max_length}"
        else:
            detail = "source is in the validation set"
        corpus = route.survey.corpus
        self.log.add(DroppedPair(fate.name.lower(), str(corpus.src), str(corpus.tgt), number, detail))


def _pick(items: Sequence[T], indices: NDArray[np.int64]) -> list[T]:
    return [items[index] for index in indices]


def _count(rows: list[list[int]], tokenizer: Tokenizer) -> SideCounts:
    return SideCounts(sum(map(len, rows)), sum(row.count(tokenizer.unk_id) for row in rows))
