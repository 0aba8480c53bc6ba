"""The data report: what the corpora hold, what is left out and why, before the first step."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from seqlab.data.column import place_of
from seqlab.data.rows import resume_file
from seqlab.data.survey import Survey, occur_in

REASONS = {
    "empty": "with an empty side",
    "length_ratio": "with an unlikely length ratio",
    "too_long": "longer than `max_length`",
    "valid_source": "with the source of a validation pair",
}
"""Why pairs are dropped."""

EXAMPLES_PER_REASON = 3


@dataclass(frozen=True)
class DroppedPair:
    """A pair that is left out, and why."""

    reason: str  # a key of REASONS
    src: str  # path spec
    tgt: str
    src_line: int
    tgt_line: int
    detail: str

    @property
    def place(self) -> str:
        """Name the files and the lines."""
        return place_of((self.src, self.tgt), (self.src_line, self.tgt_line))


@dataclass(frozen=True)
class SideCounts:
    """Tokens of the kept pairs' side, ends of sentence not counted."""

    tokens: int = 0
    unknown: int = 0

    def __add__(self, other: SideCounts) -> SideCounts:
        return SideCounts(self.tokens + other.tokens, self.unknown + other.unknown)


@dataclass(frozen=True)
class CorpusReport:
    """Counts of pairs in one corpus."""

    split: str  # train or valid
    src: str
    tgt: str
    pairs: int
    kept: int
    split_off: int  # kept for validation
    dropped: dict[str, int]  # by reason
    duplicates: int  # repeat an earlier pair of the same split; kept
    copies: int  # source equal to target; kept
    src_counts: SideCounts
    tgt_counts: SideCounts


@dataclass(frozen=True)
class Overlap:
    """How much of a held-out set the training pairs hold word for word."""

    split: str  # valid or test
    src: str
    tgt: str
    pairs: int
    src_in_train: int
    tgt_in_train: int
    pair_in_train: int


@dataclass(frozen=True)
class DataReport:
    """Everything that is known of the data before training; JSON-able."""

    corpora: list[CorpusReport]
    overlaps: list[Overlap]
    examples: list[DroppedPair] = field(default_factory=list)  # the first few of each reason
    dropped_file: str = ""  # lists all of them
    valid_file: str = ""  # holds the pairs that were split off for validation, where there are any
    valid_bytes: int = 0  # its size

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Any) -> DataReport:
        """Read what `to_json` gave; raise ValueError when it is something else."""
        return TypeAdapter(cls).validate_python(value)

    def lines(self) -> list[str]:
        """Render the report for people, a few lines per corpus."""
        text: list[str] = []
        for corpus in self.corpora:
            text += _corpus_lines(corpus)
        if self.valid_file:
            text.append(f"Split off for validation: {self.valid_file}, columns src and tgt")
        text += [_overlap_line(overlap) for overlap in self.overlaps]
        if self.examples:
            text.append(f"Dropped, for example (all in {self.dropped_file}):")
            text += [f"  {pair.place}: {pair.detail}" for pair in self.examples]
        return text


def _corpus_lines(corpus: CorpusReport) -> list[str]:
    kept = f"{corpus.split}: {corpus.src} and {corpus.tgt}: {corpus.pairs:,} pairs, {corpus.kept:,} kept"
    if corpus.split_off:
        kept += f", {corpus.split_off:,} split off for validation"
    text = [kept]
    text += [f"  {count:,} dropped {REASONS[reason]}" for reason, count in corpus.dropped.items()]
    if corpus.duplicates:
        text.append(f"  {corpus.duplicates:,} repeat an earlier pair (kept)")
    if corpus.copies:
        text.append(f"  {corpus.copies:,} have a target equal to the source (kept)")
    for name, side in (("src", corpus.src_counts), ("tgt", corpus.tgt_counts)):
        average = side.tokens / max(corpus.kept + corpus.split_off, 1)
        unknown = side.unknown / max(side.tokens, 1)
        text.append(f"  {name}: {side.tokens:,} tokens, {average:.1f} per line, {unknown:.3%} unknown")
    return text


def _overlap_line(overlap: Overlap) -> str:
    return (
        f"{overlap.split}: {overlap.src} and {overlap.tgt}: of {overlap.pairs:,} pairs, training holds "
        f"{overlap.src_in_train:,} sources, {overlap.tgt_in_train:,} targets, {overlap.pair_in_train:,} whole pairs"
    )


def measure_overlap(split: str, held_out: Survey, train: list[Survey]) -> Overlap:
    """Count the lines of a held-out set that occur in the training surveys; empty sides do not count."""
    filled = held_out.select(~held_out.empty)
    known = [each.select(~each.empty) for each in train]

    def seen(attribute: str) -> int:
        return int(occur_in(getattr(filled, attribute), [getattr(each, attribute) for each in known]).sum())

    return Overlap(
        split=split,
        src=str(held_out.corpus.src),
        tgt=str(held_out.corpus.tgt),
        pairs=len(held_out),
        src_in_train=seen("src_hashes"),
        tgt_in_train=seen("tgt_hashes"),
        pair_in_train=seen("pair_hashes"),
    )


@dataclass(frozen=True)
class DropLogState:
    """How far the file of dropped pairs is written."""

    size: int  # bytes
    examples: list[DroppedPair]


class DropLog:
    """Write every dropped pair to a tab-separated file and remember the first few; a state is as in `ArrayWriter`."""

    def __init__(self, path: Path, state: DropLogState | None = None) -> None:
        self.examples: list[DroppedPair] = [] if state is None else list(state.examples)
        self._file = path.open("wb") if state is None else resume_file(path, state.size)
        if state is None:
            self._file.write(b"reason\tsrc\tsrc_line\ttgt\ttgt_line\tdetail\n")

    def add(self, pair: DroppedPair) -> None:
        fields = (pair.reason, pair.src, pair.src_line, pair.tgt, pair.tgt_line, pair.detail)
        self._file.write(("\t".join(map(str, fields)) + "\n").encode())
        if sum(example.reason == pair.reason for example in self.examples) < EXAMPLES_PER_REASON:
            self.examples.append(pair)

    def save(self) -> DropLogState:
        self._file.flush()
        os.fsync(self._file.fileno())
        return DropLogState(self._file.tell(), list(self.examples))

    def close(self) -> None:
        self.save()
        self._file.close()
