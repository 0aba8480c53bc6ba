"""Which rows of the training corpora are held out of training, to validate on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from seqlab.data.survey import LineHashes, RowMask, Survey, sort_unique, split_by_corpus


class HeldOut(Protocol):
    """What is held out, for each corpus."""

    def held_out_rows(self, surveys: Sequence[Survey]) -> list[RowMask]:
        """Return which rows leave the training set."""
        ...

    def validation_rows(self, surveys: Sequence[Survey]) -> list[RowMask]:
        """Return which of these are validated on."""
        ...


@dataclass(frozen=True)
class HeldOutSources:
    """Rows whose first column has a hash in a range, so that the choice depends on the text alone.

    All rows of such a source leave the training set, so neither a duplicate nor another translation of a validation
    source is trained on; the first of them is validated on.
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
        """Hold out a fraction of the different sources: `max_rows` at most, or all of the `fold`-th such part.

        `advice` is what to give instead.

        Raises:
            ValueError: there are not two different sources.
        """
        sources = sort_unique(np.concatenate([each.hashes[0][~each.empty] for each in surveys]))
        if len(sources) < 2:
            names = ", ".join(str(each.corpus.columns[0]) for each in surveys)
            raise ValueError(
                f"{names}: to split a validation set off, at least 2 different lines are needed, but there "
                f"{'is' if len(sources) == 1 else 'are'} {len(sources)}: give {advice}, or more text."
            )
        number = fold or 1
        start = min(round((number - 1) * fraction * len(sources)), len(sources) - 1)
        size = min(max(1, round(number * fraction * len(sources)) - start), len(sources) - 1)
        if fold is None and max_rows is not None:
            size = min(size, max_rows)
        return cls(sources[start - 1] if start else np.uint64(0), sources[min(start + size, len(sources)) - 1])

    def held_out_rows(self, surveys: Sequence[Survey]) -> list[RowMask]:
        """Return which rows have a source of the range."""
        return [self.contains(each.hashes[0]) for each in surveys]

    def contains(self, sources: LineHashes) -> RowMask:
        """Return which lines of the first column are in the range."""
        return np.asarray((sources > self.above) & (sources <= self.last))

    def validation_rows(self, surveys: Sequence[Survey]) -> list[RowMask]:
        """Return which rows are the first whole one of their source."""
        sources = np.concatenate([each.hashes[0] for each in surveys])
        empty = np.concatenate([each.empty for each in surveys])
        candidates = np.flatnonzero(np.concatenate(self.held_out_rows(surveys)) & ~empty)
        _, first = np.unique(sources[candidates], return_index=True)
        chosen = np.zeros(len(sources), np.bool_)
        chosen[candidates[first]] = True
        return split_by_corpus(chosen, surveys)


@dataclass(frozen=True)
class HeldOutEnd:
    """The last rows of a continuous text: what follows must not be known from what came before."""

    fraction: float

    def held_out_rows(self, surveys: Sequence[Survey]) -> list[RowMask]:
        """Return which rows are the last ones; raises ValueError for a single row."""
        total = sum(map(len, surveys))
        if total < 2:
            raise ValueError(
                "To split a validation set off, at least 2 lines are needed, but there is 1: give `data.valid`, or "
                "more text."
            )
        size = min(max(1, round(self.fraction * total)), total - 1)
        return split_by_corpus(np.arange(total) >= total - size, surveys)

    def validation_rows(self, surveys: Sequence[Survey]) -> list[RowMask]:
        """Return the same rows."""
        return self.held_out_rows(surveys)
