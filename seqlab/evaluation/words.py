"""What is said twice in a row, what is left out, and how wrong lengths are: the faults of translators that predict all
words at once.

Words are what stands between whitespace, compared as they are.
"""

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from .score import LineStatistics, References, Score, num_references


def repeated(hypotheses: Sequence[str], references: References) -> LineStatistics:
    """Percent of words that are the same as the word before them, lower is better; beside it the references' percent.

    Of several references the first counts.
    """
    lines = zip(hypotheses, references[0], strict=True)
    rows = np.array([[*_repetitions(hypothesis), *_repetitions(first or "")] for hypothesis, first in lines])
    signature = f"nrefs:{num_references(references)}|case:mixed|unit:token|norm:none"

    def score_of_sum(summed: np.ndarray) -> Score:
        repetitions, length, of_references, reference_length = summed.tolist()
        extra = {"repeated": repetitions, "length": length, "of_references": _percent(of_references, reference_length)}
        return Score("repeated", _percent(repetitions, length), signature, False, extra)

    return LineStatistics(rows, score_of_sum)


def missing(hypotheses: Sequence[str], references: References) -> LineStatistics:
    """Percent of the references' words that the hypotheses lack, each as often as it stands there; lower is better.

    The order counts for nothing. Of several references the one that least is missing of counts.
    """

    def lacking(hypothesis: Counter[str], reference: str) -> tuple[int, int]:
        words = Counter(reference.split())
        return (words - hypothesis).total(), words.total()

    rows = []
    for line, *of_line in zip(hypotheses, *references, strict=True):
        found = [lacking(Counter(line.split()), each) for each in of_line if each is not None]
        rows.append(min(found, key=lambda counts: (_percent(*counts), counts)))
    signature = f"nrefs:{num_references(references)}|case:mixed|unit:token|norm:none"

    def score_of_sum(summed: np.ndarray) -> Score:
        lacked, length = summed.tolist()
        return Score("missing", _percent(lacked, length), signature, False, {"missing": lacked, "length": length})

    return LineStatistics(np.array(rows), score_of_sum)


def length_error(hypotheses: Sequence[str], references: References) -> LineStatistics:
    """Percent of the references' words by which hypotheses are too long or too short, line by line; lower is better.

    Of several references the one of the nearest length counts.
    """
    rows = []
    for line, *of_line in zip(hypotheses, *references, strict=True):
        length = len(line.split())
        lengths = [len(each.split()) for each in of_line if each is not None]
        nearest = min(lengths, key=lambda each: (abs(each - length), each))
        rows.append((max(0, length - nearest), max(0, nearest - length), nearest))
    signature = f"nrefs:{num_references(references)}|case:mixed|unit:token|norm:none"

    def score_of_sum(summed: np.ndarray) -> Score:
        longer, shorter, total = summed.tolist()
        extra = {"too_many": longer, "too_few": shorter, "length": total}
        return Score("length_error", _percent(longer + shorter, total), signature, False, extra)

    return LineStatistics(np.array(rows), score_of_sum)


def _repetitions(line: str) -> tuple[int, int]:
    """Count the words that repeat the one before them, and all."""
    words = line.split()
    return sum(word == before for before, word in pairwise(words)), len(words)


def _percent(count: int, length: int) -> float:
    """Give the share of a length, which counts as one word where it is 0."""
    return 100 * count / max(1, length)
