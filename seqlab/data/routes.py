"""Where each row of each corpus goes, as the raw text decides it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from seqlab.data.config import TokensConfig
from seqlab.data.corpus import Corpus
from seqlab.data.encode import EncodeTask, Fate, Fates
from seqlab.data.report import CorpusReport, TokenCounts
from seqlab.data.survey import Mask, Survey


@dataclass
class Route:
    """The rows of one corpus and what becomes of them."""

    split: str  # train or valid
    survey: Survey
    fates: Fates  # (rows,); encoding changes those that are dropped
    kept: tuple[Fate, ...]  # the fates that the corpus has rows for
    counts: list[TokenCounts] = field(init=False)  # of each column

    def __post_init__(self) -> None:
        self.counts = [TokenCounts()] * len(self.corpus.columns)

    def __len__(self) -> int:
        return len(self.fates)

    @property
    def corpus(self) -> Corpus:
        return self.survey.corpus

    def tasks(self, offset: int, with_text: dict[Fate, bool]) -> Iterator[EncodeTask]:
        """Read the corpus again and yield its blocks from row `offset` on, at which a block starts.

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
                yield EncodeTask(block, fates, corpus.specs, corpus.line_numbers(start, len(block)), ratio, kept)
            start = stop
        if start != len(self):
            raise ValueError(f"{corpus}: changed while it was being read.")

    def count(self, fate: Fate) -> int:
        return int((self.fates == fate).sum())

    def report(self, duplicates: Mask | None) -> CorpusReport:
        """Summarise what happened, once everything is encoded."""
        dropped = {fate.reason: self.count(fate) for fate in Fate if fate > Fate.VALID}
        return CorpusReport(
            split=self.split,
            columns=self.corpus.specs,
            rows=len(self),
            kept=self.count(Fate.TRAIN if self.split == "train" else Fate.VALID),
            split_off=self.count(Fate.VALID) if self.split == "train" else 0,
            dropped={reason: count for reason, count in dropped.items() if count},
            duplicates=None if duplicates is None else int(duplicates.sum()),
            copies=int(self.survey.copies.sum()),
            counts=tuple(self.counts),
        )


def make_routes(config: TokensConfig, train: list[Survey], valid: list[Survey]) -> list[Route]:
    """Decide by the surveys; without a validation corpus, a part of the training corpora is held out."""
    routes = []
    if valid:
        routes = [Route("train", each, np.full(len(each), Fate.TRAIN, np.uint8), (Fate.TRAIN,)) for each in train]
    else:
        split = config.hold_out(train)
        for each, held_out, validated in zip(train, split.held_out(train), split.validated(train), strict=True):
            fates = np.where(held_out, Fate.VALID_SOURCE, Fate.TRAIN).astype(np.uint8)
            fates[validated] = Fate.VALID
            routes.append(Route("train", each, fates, (Fate.TRAIN, Fate.VALID)))
    routes += [Route("valid", each, np.full(len(each), Fate.VALID, np.uint8), (Fate.VALID,)) for each in valid]
    for route in routes:
        if not config.is_continuous:
            route.fates[route.survey.empty] = Fate.EMPTY
    return routes
