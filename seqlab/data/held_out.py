"""Selection of the rows held out of the training corpora for validation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from seqlab.data.survey import LineHashes, RowMask, Survey, sort_unique, split_by_corpus


class HeldOut(Protocol):
    """Protocol of a selection of held-out rows."""

    def held_out_rows(self, surveys: Sequence[Survey]) -> list[RowMask]:
        """Return a mask of the rows that are removed from the training set, for each corpus."""
        ...

    def validation_rows(self, surveys: Sequence[Survey]) -> list[RowMask]:
        """Return a mask of the held-out rows that form the validation set, for each corpus."""
        ...


@dataclass(frozen=True)
class HeldOutSources:
    """Rows with a source hash in the range (above, last]: the choice depends only on the text.

    All rows of such a source are removed from the training set, so that neither a duplicate nor another translation of
    a validation source is used in training. The first row of each source is in the validation set.
    """

    above: np.uint64
    last: np.uint64

    @classmethod
    def choose(
        cls,
        surveys: Sequence[Survey],
        fraction: float,
        max_rows: int | None = None,
        fold: int | None = None,
        *,
        advice: str,
    ) -> HeldOutSources:
        """Hold out a fraction of the distinct sources, at most `max_rows`; or, with `fold`, all sources of that fold.

        `advice` names the options for a separate validation set, for the error message.

        Raises:
            ValueError: there are fewer than two distinct sources.
        """
        sources = sort_unique(np.concatenate([survey.hashes[0][~survey.empty] for survey in surveys]))
        if len(sources) < 2:
            names = ", ".join(str(survey.corpus.columns[0]) for survey in surveys)
            raise ValueError(
                f"{names}: to hold out a validation set, at least 2 different lines are needed, but there "
                f"{'is' if len(sources) == 1 else 'are'} {len(sources)}: set {advice}, or add text."
            )
        number = fold or 1
        start = min(round((number - 1) * fraction * len(sources)), len(sources) - 1)
        size = min(max(1, round(number * fraction * len(sources)) - start), len(sources) - 1)
        if fold is None and max_rows is not None:
            size = min(size, max_rows)
        return cls(sources[start - 1] if start else np.uint64(0), sources[min(start + size, len(sources)) - 1])

    def held_out_rows(self, surveys: Sequence[Survey]) -> list[RowMask]:
        """Return a mask of the rows with a source hash in the range, for each corpus."""
        return [self.contains(survey.hashes[0]) for survey in surveys]

    def contains(self, sources: LineHashes) -> RowMask:
        """Return a mask of the source hashes in the range."""
        return np.asarray((sources > self.above) & (sources <= self.last))

    def validation_rows(self, surveys: Sequence[Survey]) -> list[RowMask]:
        """Return a mask of the first row without an empty side of each held-out source, for each corpus."""
        sources = np.concatenate([survey.hashes[0] for survey in surveys])
        empty = np.concatenate([survey.empty for survey in surveys])
        candidates = np.flatnonzero(np.concatenate(self.held_out_rows(surveys)) & ~empty)
        _, first = np.unique(sources[candidates], return_index=True)
        is_held_out = np.zeros(len(sources), np.bool_)
        is_held_out[candidates[first]] = True
        return split_by_corpus(is_held_out, surveys)


@dataclass(frozen=True)
class HeldOutEnd:
    """The last rows of a continuous text, so that no training text follows validation text."""

    fraction: float

    def held_out_rows(self, surveys: Sequence[Survey]) -> list[RowMask]:
        """Return a mask of the last rows, for each corpus; raises ValueError for a single row."""
        total = sum(map(len, surveys))
        if total < 2:
            raise ValueError(
                "To hold out a validation set, at least 2 lines are needed, but there is 1: set `data.valid`, or "
                "add text."
            )
        size = min(max(1, round(self.fraction * total)), total - 1)
        return split_by_corpus(np.arange(total) >= total - size, surveys)

    def validation_rows(self, surveys: Sequence[Survey]) -> list[RowMask]:
        """Return the held-out rows."""
        return self.held_out_rows(surveys)
