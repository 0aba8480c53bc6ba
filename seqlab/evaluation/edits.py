"""Word and character error rate, by the edit distance of hypothesis and reference (Levenshtein 1966).

Tokens are separated by whitespace: the words of a transcript, or the phones of a pronunciation (phone error rate). The
rate of a text is the total number of edits divided by the total length of the references, as in jiwer and sclite.
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
    pairs = list(_align_indices(reference, hypothesis))
    substitutions = sum(i >= 0 and j >= 0 and reference[i] != hypothesis[j] for i, j in pairs)
    return Edits(substitutions, sum(j < 0 for _, j in pairs), sum(i < 0 for i, _ in pairs), len(reference))


def align(reference: Sequence[T], hypothesis: Sequence[T]) -> list[tuple[T | None, T | None]]:
    """Pair the tokens of two sequences by the alignment of `count_edits`; None for an insertion or a deletion."""
    return [
        (reference[i] if i >= 0 else None, hypothesis[j] if j >= 0 else None)
        for i, j in _align_indices(reference, hypothesis)
    ]


def matching_tokens(reference: Sequence[T], hypothesis: Sequence[T]) -> list[bool]:
    """Return for each token of the hypothesis whether it equals the token of the reference that it is aligned with."""
    is_match = [False] * len(hypothesis)
    for i, j in _align_indices(reference, hypothesis):
        if i >= 0 and j >= 0:
            is_match[j] = reference[i] == hypothesis[j]
    return is_match


def _align_indices(reference: Sequence[T], hypothesis: Sequence[T]) -> Iterator[tuple[int, int]]:
    """Yield the pairs of indices of a minimal alignment, -1 for an insertion or a deletion.

    Memory is linear in the length (Hirschberg 1975; Hyyrö 2004, in rapidfuzz).
    """
    ids: dict[T, int] = {}  # rapidfuzz compares hashes, and the hash of a small number is the number itself
    sequences = ([ids.setdefault(token, len(ids)) for token in tokens] for tokens in (reference, hypothesis))
    for operation in Levenshtein.opcodes(*sequences):
        src_range = range(operation.src_start, operation.src_end)
        dest_range = range(operation.dest_start, operation.dest_end)
        if operation.tag == "delete":
            yield from ((i, -1) for i in src_range)
        elif operation.tag == "insert":
            yield from ((-1, j) for j in dest_range)
        else:
            yield from zip(src_range, dest_range, strict=True)


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
        """Return the edits and the text of the nearest reference of a line."""
        counted = [
            (count_edits(self.split(line), self.split(hypothesis)), line) for line in references if line is not None
        ]
        return min(counted, key=lambda candidate: (candidate[0].total, candidate[0].rate))

    def statistics(self, hypotheses: Sequence[str], references: References, norm: str) -> LineStatistics:
        """Count the edits of each line; `norm` names the normalization of the texts, for the signature."""
        rows = np.array(
            [self.nearest(line, line_refs)[0] for line, *line_refs in zip(hypotheses, *references, strict=True)]
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

    Lower is better. Of several references the one with the fewest edits is used. Texts are not normalized here; `norm`
    names their normalization in the signature. With an empty reference all tokens of the hypothesis are insertions. If
    all references are empty, the rate is 100 per insertion, as in jiwer.
    """
    return WER.statistics(hypotheses, references, norm)


def cer(hypotheses: Sequence[str], references: References, norm: str = "none") -> LineStatistics:
    """Compute the character error rate in percent, lower is better: like WER, over Unicode characters.

    Spaces count, except those at the ends of lines.
    """
    return CER.statistics(hypotheses, references, norm)
