"""Repeated words, missing words and length errors, which are typical of non-autoregressive translation.

Words are separated by whitespace and compared without normalization.
"""

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from .score import LineStatistics, References, Score, num_references


def repeated(hypotheses: Sequence[str], references: References) -> LineStatistics:
    """Compute the percentage of words that equal the previous word; lower is better.

    The score's details include the percentage for the first reference of each line.
    """
    lines = zip(hypotheses, references[0], strict=True)
    rows = np.array([[*_repetitions(hypothesis), *_repetitions(first or "")] for hypothesis, first in lines])
    signature = f"nrefs:{num_references(references)}|case:mixed|unit:token|norm:none"

    def score_of_sum(summed: np.ndarray) -> Score:
        repetitions, length, reference_repetitions, reference_length = summed.tolist()
        percent_of_references = _percent(reference_repetitions, reference_length)
        extra = {"repeated": repetitions, "length": length, "of_references": percent_of_references}
        return Score("repeated", _percent(repetitions, length), signature, False, extra)

    return LineStatistics(rows, score_of_sum)


def missing(hypotheses: Sequence[str], references: References) -> LineStatistics:
    """Compute the percentage of the references' words that are missing from the hypotheses, lower is better.

    Repeated words count repeatedly, and the order of words is ignored. Of several references the one with the lowest
    percentage is used.
    """

    def count_missing(hypothesis: Counter[str], reference: str) -> tuple[int, int]:
        words = Counter(reference.split())
        return (words - hypothesis).total(), words.total()

    rows = []
    for line, *line_refs in zip(hypotheses, *references, strict=True):
        by_reference = [
            count_missing(Counter(line.split()), line_ref) for line_ref in line_refs if line_ref is not None
        ]
        rows.append(min(by_reference, key=lambda counts: (_percent(*counts), counts)))
    signature = f"nrefs:{num_references(references)}|case:mixed|unit:token|norm:none"

    def score_of_sum(summed: np.ndarray) -> Score:
        count, length = summed.tolist()
        return Score("missing", _percent(count, length), signature, False, {"missing": count, "length": length})

    return LineStatistics(np.array(rows), score_of_sum)


def length_error(hypotheses: Sequence[str], references: References) -> LineStatistics:
    """Compute the sum of the length differences of all lines, in percent of the references' words; lower is better.

    Of several references the one with the nearest length is used.
    """
    rows = []
    for line, *line_refs in zip(hypotheses, *references, strict=True):
        length = len(line.split())
        lengths = [len(line_ref.split()) for line_ref in line_refs if line_ref is not None]
        nearest = min(lengths, key=lambda candidate: (abs(candidate - length), candidate))
        rows.append((max(0, length - nearest), max(0, nearest - length), nearest))
    signature = f"nrefs:{num_references(references)}|case:mixed|unit:token|norm:none"

    def score_of_sum(summed: np.ndarray) -> Score:
        longer, shorter, total = summed.tolist()
        extra = {"too_many": longer, "too_few": shorter, "length": total}
        return Score("length_error", _percent(longer + shorter, total), signature, False, extra)

    return LineStatistics(np.array(rows), score_of_sum)


def _repetitions(line: str) -> tuple[int, int]:
    """Return the number of words that equal the previous word, and the number of all words."""
    words = line.split()
    return sum(word == previous for previous, word in pairwise(words)), len(words)


def _percent(count: int, length: int) -> float:
    """Return a count in percent of a length; a length of 0 counts as 1."""
    return 100 * count / max(1, length)
