"""One look at raw text, before any tokenizer exists: what becomes of each line."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from itertools import chain, compress

import numpy as np
from numpy.typing import NDArray

from seqlab.data.blocks import RawLines
from seqlab.data.column import Column
from seqlab.data.columns import parse_column
from seqlab.data.config import TextConfig
from seqlab.data.survey import Hashes, OnProgress, distinct, hash_lines, no_progress
from seqlab.data.workers import Workers

BLOCK_LINES = 10_000
"""A process works on so many at a time."""

Fates = NDArray[np.uint8]


class Fate(IntEnum):
    """What becomes of a line."""

    TRAIN = 0
    VALID = 1
    EMPTY = 2
    """Dropped: it is a document without a word."""
    VALID_COPY = 3
    """Dropped: it repeats a line that is validated on."""


@dataclass(frozen=True)
class Task:
    """A block of lines to encode."""

    lines: RawLines | list[str]
    fates: Fates
    numbers: NDArray[np.int64]  # (lines,): where each is in its file, from 1

    def decoded(self) -> list[str]:
        """Return the lines as text; raises ValueError where one is not UTF-8."""
        return _decoded(self.lines)


@dataclass(frozen=True)
class TextCorpus:
    """A corpus, and what becomes of its lines."""

    split: str
    column: Column
    hashes: Hashes  # (lines,), 0 where a line is empty
    fates: Fates  # (lines,)
    split_records: bool  # whether a record of a table that has newlines is several lines

    def tasks(self) -> Iterator[Task]:
        """Read a corpus again; raises ValueError where it no longer has as many lines as were surveyed."""
        start = 0
        for lines in self.column.blocks(BLOCK_LINES, split_records=self.split_records):
            fates = self.fates[start : start + len(lines)]
            if len(fates) == len(lines):
                yield Task(lines, fates, np.array(self.column.line_numbers(start, len(lines))))
            start += len(lines)
        if start != len(self.fates):
            raise ValueError(f"{self.column}: changed while it was being read.")


def training_lines_of_text(config: TextConfig, on_progress: OnProgress = no_progress) -> Iterator[str]:
    """Yield the lines that a tokenizer may learn from: the training text without what is held out of it.

    The text is read once before this returns, so that a corpus that cannot be read is an error here.
    """
    corpora = [corpus for corpus in survey_text(config, Workers(1), on_progress) if corpus.split == "train"]
    total = sum(len(corpus.fates) for corpus in corpora)

    def lines() -> Iterator[str]:
        done = 0
        for task in chain.from_iterable(corpus.tasks() for corpus in corpora):
            yield from compress(task.decoded(), (task.fates == Fate.TRAIN).tolist())
            done += len(task.fates)
            on_progress("lines learnt from", done, total)

    return lines()


def survey_text(config: TextConfig, workers: Workers, on_progress: OnProgress = no_progress) -> list[TextCorpus]:
    """Read all corpora once and decide what becomes of each line."""
    is_continuous = config.documents == "continuous"
    train, valid = (
        [(column, _hash(column, workers, is_continuous, on_progress)) for column in map(parse_column, specs)]
        for specs in (config.train, config.valid)
    )
    if is_continuous:
        fates = _fates_of_continuous([len(hashes) for _, hashes in train], 0 if valid else config.valid_fraction)
    else:
        fates = _fates_of_lines([hashes for _, hashes in train], None if valid else config.valid_fraction)
    corpora = [TextCorpus("train", *each, own, is_continuous) for each, own in zip(train, fates, strict=True)]
    for column, hashes in valid:
        own = np.full(len(hashes), Fate.VALID, np.uint8)
        if not is_continuous:
            own[hashes == 0] = Fate.EMPTY
        corpora.append(TextCorpus("valid", column, hashes, own, is_continuous))
    return corpora


def _hash(column: Column, workers: Workers, split_records: bool, on_progress: OnProgress) -> Hashes:
    parts: list[Hashes] = []
    for part in workers.map(_hash_block, column.blocks(BLOCK_LINES, split_records=split_records)):
        parts.append(part)
        on_progress(f"lines read of {column}", BLOCK_LINES * (len(parts) - 1) + len(part), None)
    if not parts:
        raise ValueError(f"{column}: is empty, it holds no line.")
    return np.concatenate(parts)


def _hash_block(lines: RawLines | list[str]) -> Hashes:
    return hash_lines(_decoded(lines))


def _fates_of_lines(hashes: list[Hashes], valid_fraction: float | None) -> list[Fates]:
    """Drop empty lines, and hold out some by their hash, so that the choice depends on the text alone."""
    every = np.concatenate(hashes)
    fates = np.where(every == 0, Fate.EMPTY, Fate.TRAIN).astype(np.uint8)
    if valid_fraction is not None:
        different = distinct(every[every != 0])
        if len(different) < 2:
            raise ValueError(
                f"A validation set cannot be split off {len(different)} different lines: give `data.valid`, or more "
                "text."
            )
        size = min(max(1, round(valid_fraction * len(different))), len(different) - 1)
        held_out = np.flatnonzero((every != 0) & (every <= different[size - 1]))
        _, first = np.unique(every[held_out], return_index=True)
        fates[held_out] = Fate.VALID_COPY
        fates[held_out[first]] = Fate.VALID
    return np.split(fates, np.cumsum([len(each) for each in hashes])[:-1])


def _fates_of_continuous(counts: list[int], valid_fraction: float) -> list[Fates]:
    """Hold out the last lines: what follows must not be known from what came before."""
    total = sum(counts)
    held_out = round(valid_fraction * total)
    if valid_fraction:
        if total < 2:
            raise ValueError("A validation set cannot be split off a single line: give `data.valid`, or more text.")
        held_out = min(max(1, held_out), total - 1)
    fates = np.full(total, Fate.TRAIN, np.uint8)
    fates[total - held_out :] = Fate.VALID
    return np.split(fates, np.cumsum(counts)[:-1])


def _decoded(lines: RawLines | list[str]) -> list[str]:
    return lines.decode() if isinstance(lines, RawLines) else lines
