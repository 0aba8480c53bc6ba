"""Word and character error rate: how many edits make a hypothesis its reference (Levenshtein 1966).

Tokens are what stands between whitespace: the words of speech, or the sounds of a pronunciation, whose rate is the
phone error rate. Counts and rates of a text are those of its lines in sum, as in jiwer and sclite.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
from rapidfuzz.distance import Levenshtein

from .score import LineStatistics, References, Score, num_references

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
    """Align two sequences at the least cost; ties are broken as in jiwer."""
    steps = list(_aligned(reference, hypothesis))
    substitutions = sum(i >= 0 and j >= 0 and reference[i] != hypothesis[j] for i, j in steps)
    return Edits(substitutions, sum(j < 0 for _, j in steps), sum(i < 0 for i, _ in steps), len(reference))


def align(reference: Sequence[T], hypothesis: Sequence[T]) -> list[tuple[T | None, T | None]]:
    """Pair the tokens of two sequences by the alignment that `count_edits` counts; None faces what has no partner."""
    return [
        (reference[i] if i >= 0 else None, hypothesis[j] if j >= 0 else None)
        for i, j in _aligned(reference, hypothesis)
    ]


def matching_tokens(reference: Sequence[T], hypothesis: Sequence[T]) -> list[bool]:
    """Tell of each token of the hypothesis whether it is the one of the reference that it is aligned with."""
    found = [False] * len(hypothesis)
    for i, j in _aligned(reference, hypothesis):
        if i >= 0 and j >= 0:
            found[j] = reference[i] == hypothesis[j]
    return found


def _aligned(reference: Sequence[T], hypothesis: Sequence[T]) -> Iterator[tuple[int, int]]:
    """Yield which token stands for which, -1 for none, by an alignment of the least cost.

    Memory grows with the length, not with its square (Hirschberg 1975; Hyyrö 2004, in rapidfuzz).
    """
    ids: dict[T, int] = {}  # rapidfuzz compares hashes: those of small numbers are themselves
    sides = ([ids.setdefault(token, len(ids)) for token in side] for side in (reference, hypothesis))
    for step in Levenshtein.opcodes(*sides):
        if step.tag == "delete":
            yield from ((i, -1) for i in range(step.src_start, step.src_end))
        elif step.tag == "insert":
            yield from ((-1, j) for j in range(step.dest_start, step.dest_end))
        else:
            yield from zip(range(step.src_start, step.src_end), range(step.dest_start, step.dest_end), strict=True)


@dataclass(frozen=True)
class ErrorRate:
    """A rate of edits, in percent of the tokens of the references."""

    name: str
    unit: str
    """What is counted, for the signature."""
    split: Callable[[str], list[str]]
    separator: str
    """What joins tokens to a line again."""

    def nearest(self, hypothesis: str, references: Sequence[str | None]) -> tuple[Edits, str]:
        """Return the fewest edits from a reference of the line, and that reference."""
        counted = [
            (count_edits(self.split(line), self.split(hypothesis)), line) for line in references if line is not None
        ]
        return min(counted, key=lambda each: (each[0].total, each[0].rate))

    def statistics(self, hypotheses: Sequence[str], references: References, norm: str) -> LineStatistics:
        """Count the edits of each line; `norm` is how the texts were normalised before, for the signature."""
        rows = np.array(
            [self.nearest(line, of_line)[0] for line, *of_line in zip(hypotheses, *references, strict=True)]
        )
        signature = f"nrefs:{num_references(references)}|case:mixed|unit:{self.unit}|norm:{norm}"

        def score_of_sum(summed: np.ndarray) -> Score:
            edits = Edits(*summed.tolist())
            return Score(self.name, 100 * edits.rate, signature, False, edits._asdict())

        return LineStatistics(rows, score_of_sum)


WER = ErrorRate("wer", "token", str.split, " ")
CER = ErrorRate("cer", "character", lambda line: list(line.strip()), "")
ERROR_RATES: Mapping[str, ErrorRate] = {rate.name: rate for rate in (WER, CER)}


def wer(hypotheses: Sequence[str], references: References, norm: str = "none") -> LineStatistics:
    """WER in percent, lower is better: edits for each token of the references, tokens divided by whitespace.

    Of several references the one that takes the fewest edits counts. Nothing is normalised here; `norm` says in the
    signature how the texts were. An empty reference counts what was inserted. Where all references are empty, the rate
    is 100 for each insertion, as in jiwer.
    """
    return WER.statistics(hypotheses, references, norm)


def cer(hypotheses: Sequence[str], references: References, norm: str = "none") -> LineStatistics:
    """CER in percent, lower is better: as WER over Unicode characters, spaces counted but those at the ends."""
    return CER.statistics(hypotheses, references, norm)
