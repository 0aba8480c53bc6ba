"""Assignment of corpus rows, by their raw text, to training or validation; rows are dropped with a reason."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from seqlab.data.config import TokensConfig
from seqlab.data.corpus import Corpus
from seqlab.data.data_report import CorpusReport, TokenCounts
from seqlab.data.row_encoder import EncodeTask, RowStatus, Statuses
from seqlab.data.survey import RowMask, Survey


@dataclass
class RowAssignment:
    """The status of each row of one corpus: its split, or the reason to drop it."""

    split: str  # train or valid
    survey: Survey
    statuses: Statuses  # (rows,); updated when encoding drops rows
    kept: tuple[RowStatus, ...]  # TRAIN, VALID or both: the splits that can contain rows of this corpus
    counts: list[TokenCounts] = field(init=False)  # of each column

    def __post_init__(self) -> None:
        self.counts = [TokenCounts()] * len(self.corpus.columns)

    def __len__(self) -> int:
        return len(self.statuses)

    @property
    def corpus(self) -> Corpus:
        """The corpus of the rows."""
        return self.survey.corpus

    def tasks(self, offset: int, with_text: dict[RowStatus, bool]) -> Iterator[EncodeTask]:
        """Read the corpus again and yield the blocks from row `offset` on, which must be the first row of a block.

        `with_text` contains, by status, whether the raw text of the rows is kept, too.

        Raises:
            ValueError: the corpus changed since it was surveyed.
        """
        corpus, start = self.corpus, 0
        ratio = self.survey.chars_ratio if self.split == "train" else None
        kept = {status: with_text[status] for status in self.kept}
        for block in corpus.blocks():
            stop = start + len(block)
            if start < offset < stop:
                break
            statuses = self.statuses[start:stop]
            if start >= offset and len(statuses) == len(block):
                yield EncodeTask(block, statuses, corpus.specs, corpus.line_numbers(start, len(block)), ratio, kept)
            start = stop
        if start != len(self):
            raise ValueError(f"{corpus}: changed while it was being read.")

    def count(self, status: RowStatus) -> int:
        """Count the rows with a status."""
        return int((self.statuses == status).sum())

    def report(self, duplicates: RowMask | None) -> CorpusReport:
        """Create the report of the corpus, after all of its rows are encoded."""
        dropped = {status.reason: self.count(status) for status in RowStatus if status > RowStatus.VALID}
        return CorpusReport(
            split=self.split,
            columns=self.corpus.specs,
            rows=len(self),
            kept=self.count(RowStatus.TRAIN if self.split == "train" else RowStatus.VALID),
            split_off=self.count(RowStatus.VALID) if self.split == "train" else 0,
            dropped={reason: count for reason, count in dropped.items() if count},
            duplicates=None if duplicates is None else int(duplicates.sum()),
            copies=int(self.survey.copies.sum()),
            counts=tuple(self.counts),
        )


def assign_rows(config: TokensConfig, train: list[Survey], valid: list[Survey]) -> list[RowAssignment]:
    """Assign rows based on their surveys; without validation corpora, hold out a part of the training corpora."""
    assignments = []
    if valid:
        assignments = [
            RowAssignment("train", survey, np.full(len(survey), RowStatus.TRAIN, np.uint8), (RowStatus.TRAIN,))
            for survey in train
        ]
    else:
        split = config.hold_out(train)
        for survey, is_held_out, is_valid in zip(
            train, split.held_out_rows(train), split.validation_rows(train), strict=True
        ):
            statuses = np.where(is_held_out, RowStatus.VALID_SOURCE, RowStatus.TRAIN).astype(np.uint8)
            statuses[is_valid] = RowStatus.VALID
            assignments.append(RowAssignment("train", survey, statuses, (RowStatus.TRAIN, RowStatus.VALID)))
    assignments += [
        RowAssignment("valid", survey, np.full(len(survey), RowStatus.VALID, np.uint8), (RowStatus.VALID,))
        for survey in valid
    ]
    for assignment in assignments:
        if not config.is_continuous:
            assignment.statuses[assignment.survey.empty] = RowStatus.EMPTY
    return assignments
