"""Word and character error rate: how many edits make a hypothesis its reference (Levenshtein 1966).

Tokens are what stands between whitespace: the words of speech, or the sounds of a pronunciation, whose rate is the
phone error rate.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeVar

import numpy as np

from .references import References, num_references
from .score import LineStatistics, Score

T = TypeVar("T")


class Edits(NamedTuple):
    """What turns a reference into a hypothesis at the least cost, each edit costing 1."""

    substitutions: int
    deletions: int
    insertions: int
    length: int
    """Tokens of the reference."""

    @property
    def total(self) -> int:
        """All edits."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def rate(self) -> float:
        """Edits for each token of the reference, which counts as one token where it is empty."""
        return self.total / max(1, self.length)


def count_edits(reference: Sequence[str], hypothesis: Sequence[str]) -> Edits:
    """Align two sequences; where several alignments cost the least, substitutions come before deletions."""
    steps = list(_aligned(reference, hypothesis))
    substitutions = sum(i >= 0 and j >= 0 and reference[i] != hypothesis[j] for i, j in steps)
    return Edits(substitutions, sum(j < 0 for _, j in steps), sum(i < 0 for i, _ in steps), len(reference))


def matches(reference: Sequence[T], hypothesis: Sequence[T]) -> list[bool]:
    """Tell of each token of the hypothesis whether it is the one of the reference that it is aligned with."""
    found = [False] * len(hypothesis)
    for i, j in _aligned(reference, hypothesis):
        if i >= 0 and j >= 0:
            found[j] = reference[i] == hypothesis[j]
    return found


def _aligned(reference: Sequence[T], hypothesis: Sequence[T]) -> Iterator[tuple[int, int]]:
    """Yield which token stands for which from the end on, -1 for none, by an alignment of the least cost."""
    costs = _costs(reference, hypothesis)
    i, j = len(reference), len(hypothesis)
    while i or j:
        if i and j and costs[i, j] == costs[i - 1, j - 1] + (reference[i - 1] != hypothesis[j - 1]):
            i, j = i - 1, j - 1
            yield i, j
        elif i and costs[i, j] == costs[i - 1, j] + 1:
            i -= 1
            yield i, -1
        else:
            j -= 1
            yield -1, j


def _costs(reference: Sequence[T], hypothesis: Sequence[T]) -> np.ndarray:
    """Give the edit distance of every pair of beginnings: (len(reference) + 1, len(hypothesis) + 1)."""
    places = np.arange(len(hypothesis) + 1, dtype=np.int32)
    costs = np.empty((len(reference) + 1, len(places)), dtype=np.int32)
    costs[0] = places
    tokens = np.array(list(hypothesis), dtype=object)
    for i, token in enumerate(reference, start=1):
        row = costs[i]
        row[:] = costs[i - 1] + 1
        np.minimum(row[1:], costs[i - 1, :-1] + (tokens != token), out=row[1:])
        row[:] = np.minimum.accumulate(row - places) + places  # insertions
    return costs


def wer(hypotheses: Sequence[str], references: References) -> LineStatistics:
    """WER in percent, lower is better: edits for each token of the references, tokens divided by whitespace.

    Of several references the one that takes the fewest edits counts. Nothing is normalised.
    """
    return _error_rate("wer", str.split, "token", hypotheses, references)


def cer(hypotheses: Sequence[str], references: References) -> LineStatistics:
    """CER in percent, lower is better: as WER over Unicode characters, spaces counted."""
    return _error_rate("cer", list, "character", hypotheses, references)


def _error_rate(
    name: str,
    split: Callable[[str], list[str]],
    unit: str,
    hypotheses: Sequence[str],
    references: References,
) -> LineStatistics:
    rows = np.array(
        [
            min(
                (count_edits(split(line), split(hypothesis)) for line in of_line if line is not None),
                key=lambda edits: (edits.total, edits.rate),
            )
            for hypothesis, *of_line in zip(hypotheses, *references, strict=True)
        ]
    )
    signature = f"nrefs:{num_references(references)}|case:mixed|unit:{unit}|norm:none"

    def score_of_sum(summed: np.ndarray) -> Score:
        edits = Edits(*summed.tolist())
        return Score(name, 100 * edits.rate, signature, False, edits._asdict())

    return LineStatistics(rows, score_of_sum)
