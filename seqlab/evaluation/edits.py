"""Word and character error rate, by the edit distance of hypothesis and reference (Levenshtein 1966).

Tokens are separated by whitespace: the words of a transcript, or the phones of a pronunciation, whose rate is the phone
error rate. The rate of a text is the total of the edits over the total length, as in jiwer and sclite.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
from rapidfuzz.distance import Levenshtein

from .score import LineStatistics, References, Score, num_references

T = TypeVar("T")


class Edits(NamedTuple):
    """Numbers of edits of a minimal edit sequence from a reference to a hypothesis."""

    substitutions: int
    deletions: int
    insertions: int
    length: int
    """Number of tokens of the reference."""

    @property
    def total(self) -> int:
        """Total number of edits."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def rate(self) -> float:
        """Edits per token of the reference; an empty reference counts as one token."""
        return self.total / max(1, self.length)


def count_edits(reference: Sequence[str], hypothesis: Sequence[str]) -> Edits:
    """Count the edits of a minimal alignment of two sequences; ties are broken as in jiwer."""
    steps = list(_align_indices(reference, hypothesis))
    substitutions = sum(i >= 0 and j >= 0 and reference[i] != hypothesis[j] for i, j in steps)
    return Edits(substitutions, sum(j < 0 for _, j in steps), sum(i < 0 for i, _ in steps), len(reference))


def align(reference: Sequence[T], hypothesis: Sequence[T]) -> list[tuple[T | None, T | None]]:
    """Pair the tokens of two sequences by the alignment of `count_edits`; None for an insertion or a deletion."""
    return [
        (reference[i] if i >= 0 else None, hypothesis[j] if j >= 0 else None)
        for i, j in _align_indices(reference, hypothesis)
    ]


def matching_tokens(reference: Sequence[T], hypothesis: Sequence[T]) -> list[bool]:
    """Return for each token of the hypothesis whether it equals the token of the reference it is aligned with."""
    found = [False] * len(hypothesis)
    for i, j in _align_indices(reference, hypothesis):
        if i >= 0 and j >= 0:
            found[j] = reference[i] == hypothesis[j]
    return found


def _align_indices(reference: Sequence[T], hypothesis: Sequence[T]) -> Iterator[tuple[int, int]]:
    """Yield the pairs of indices of a minimal alignment, -1 for no partner.

    Memory is linear in the length (Hirschberg 1975; Hyyrö 2004, in rapidfuzz).
    """
    ids: dict[T, int] = {}  # rapidfuzz compares hashes, and the hash of a small number is the number itself
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
    """An error rate: edits in percent of the tokens of the references."""

    name: str
    unit: str
    """Unit of the tokens, for the signature."""
    split: Callable[[str], list[str]]
    separator: str
    """String that joins tokens to a line."""

    def nearest(self, hypothesis: str, references: Sequence[str | None]) -> tuple[Edits, str]:
        """Return the edits to the nearest reference of a line, and that reference."""
        counted = [
            (count_edits(self.split(line), self.split(hypothesis)), line) for line in references if line is not None
        ]
        return min(counted, key=lambda each: (each[0].total, each[0].rate))

    def statistics(self, hypotheses: Sequence[str], references: References, norm: str) -> LineStatistics:
        """Count the edits of each line; `norm` names the normalization of the texts, for the signature."""
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
    """Compute the word error rate in percent: edits per token of the references, tokens separated by whitespace.

    Lower is better. Among several references the one with the fewest edits counts. Texts are not normalized here;
    `norm` names their normalization in the signature. For an empty reference the insertions are counted. If all
    references are empty, the rate is 100 for each insertion, as in jiwer.
    """
    return WER.statistics(hypotheses, references, norm)


def cer(hypotheses: Sequence[str], references: References, norm: str = "none") -> LineStatistics:
    """Compute the character error rate in percent, lower is better: like WER, over Unicode characters.

    Spaces count, except those at the ends of lines.
    """
    return CER.statistics(hypotheses, references, norm)
