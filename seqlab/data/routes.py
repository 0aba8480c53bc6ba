"""Where each pair of each corpus goes, as the raw text decides it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from seqlab.data.config import PairsConfig
from seqlab.data.encode import Fate, Fates, Task
from seqlab.data.parallel import ParallelCorpus
from seqlab.data.report import CorpusReport, SideCounts
from seqlab.data.survey import Mask, Survey, ValidationSplit


@dataclass
class Route:
    """The pairs of one corpus and what becomes of them."""

    split: str  # train or valid
    survey: Survey
    fates: Fates  # (pairs,); encoding changes those that are dropped
    kept: tuple[Fate, ...]  # the fates that the corpus has pairs for
    src_counts: SideCounts = field(default_factory=SideCounts)
    tgt_counts: SideCounts = field(default_factory=SideCounts)

    def __len__(self) -> int:
        return len(self.fates)

    @property
    def corpus(self) -> ParallelCorpus:
        return self.survey.corpus

    def tasks(self, offset: int, with_text: dict[Fate, bool]) -> Iterator[Task]:
        """Read the corpus again and yield its blocks from pair `offset` on, at which a block starts.

        Raises:
            ValueError: it is not the text that was surveyed.
        """
        corpus, start = self.corpus, 0
        ratio = self.survey.chars_ratio if self.split == "train" else None
        kept = {fate: with_text[fate] for fate in self.kept}
        for block in corpus.blocks():
            stop = start + len(block)
            if start < offset < stop:
                break
            fates = self.fates[start:stop]
            if start >= offset and len(fates) == len(block):
                lines = np.array([side.line_numbers(start, len(block)) for side in (corpus.src, corpus.tgt)]).T
                yield Task(block, fates, str(corpus.src), str(corpus.tgt), lines, ratio, kept)
            start = stop
        if start != len(self):
            raise ValueError(f"{corpus.src} and {corpus.tgt}: changed while they were being read.")

    def count(self, fate: Fate) -> int:
        return int((self.fates == fate).sum())

    def report(self, duplicates: Mask) -> CorpusReport:
        """Summarise what happened, once everything is encoded."""
        dropped = {fate.name.lower(): self.count(fate) for fate in Fate if fate > Fate.VALID}
        return CorpusReport(
            split=self.split,
            src=str(self.corpus.src),
            tgt=str(self.corpus.tgt),
            pairs=len(self),
            kept=self.count(Fate.TRAIN if self.split == "train" else Fate.VALID),
            split_off=self.count(Fate.VALID) if self.split == "train" else 0,
            dropped={reason: count for reason, count in dropped.items() if count},
            duplicates=int(duplicates.sum()),
            copies=int(self.survey.copies.sum()),
            src_counts=self.src_counts,
            tgt_counts=self.tgt_counts,
        )


def make_routes(config: PairsConfig, train: list[Survey], valid: list[Survey]) -> list[Route]:
    """Decide by the surveys; without a validation corpus, a part of the training corpora is held out."""
    routes = []
    if valid:
        for each in train:
            fates = np.where(each.empty, Fate.EMPTY, Fate.TRAIN).astype(np.uint8)
            routes.append(Route("train", each, fates, (Fate.TRAIN,)))
    else:
        split = ValidationSplit.choose(train, config.valid_fraction, config.valid_max_pairs, config.valid_fold)
        for each, first in zip(train, split.first_of_each(train), strict=True):
            fates = np.where(split.holds(each.src_hashes), Fate.VALID_SOURCE, Fate.TRAIN).astype(np.uint8)
            fates[first] = Fate.VALID
            fates[each.empty] = Fate.EMPTY
            routes.append(Route("train", each, fates, (Fate.TRAIN, Fate.VALID)))
    for each in valid:
        fates = np.where(each.empty, Fate.EMPTY, Fate.VALID).astype(np.uint8)
        routes.append(Route("valid", each, fates, (Fate.VALID,)))
    return routes
