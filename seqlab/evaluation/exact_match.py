"""Exact match: the share of lines that are right to the last character."""

from collections.abc import Sequence

import numpy as np

from .score import LineStatistics, References, Score, num_references


def exact_match(hypotheses: Sequence[str], references: References) -> LineStatistics:
    """Exact match in percent of lines: a hypothesis counts if it equals one of its references as a whole.

    Strings are compared as they are, with no normalisation of case, space, punctuation or Unicode form.
    """
    rows = np.array(
        [[hypothesis in of_line, 1] for hypothesis, *of_line in zip(hypotheses, *references, strict=True)], dtype=int
    )
    signature = f"nrefs:{num_references(references)}|case:mixed|unit:line|norm:none"

    def score_of_sum(summed: np.ndarray) -> Score:
        correct, lines = summed.tolist()
        return Score("exact_match", 100 * correct / lines, signature, True, {"correct": correct, "lines": lines})

    return LineStatistics(rows, score_of_sum)


def contains(hypotheses: Sequence[str], references: References) -> LineStatistics:
    """Percent of lines whose hypothesis holds the words of one of its references, one behind the other.

    Words are compared as they are but for punctuation at their ends. Lines whose references have no word do not count.

    Raises:
        ValueError: there is no other line.
    """
    counts = []
    for hypothesis, *of_line in zip(hypotheses, *references, strict=True):
        words, wanted = _words(hypothesis), [found for each in of_line if (found := _words(each or ""))]
        counts.append([any(_holds(words, each) for each in wanted), bool(wanted)])
    rows = np.array(counts, dtype=int)
    if not rows[:, 1].any():
        raise ValueError("`contains` looks for the words of the references, but no line of them has a word.")
    signature = f"nrefs:{num_references(references)}|case:mixed|unit:line|norm:punctuation"

    def score_of_sum(summed: np.ndarray) -> Score:
        holding, lines = summed.tolist()
        return Score("contains", 100 * holding / max(1, lines), signature, True, {"holding": holding, "lines": lines})

    return LineStatistics(rows, score_of_sum)


def _words(line: str) -> list[str]:
    """Cut at spaces and take away what stands around a word; punctuation alone is no word."""
    stripped = (word.strip(_AROUND) for word in line.split())
    return [word for word in stripped if word]


_AROUND = ".,;:!?…\"'()[]{}«»„“”‚‘’"


def _holds(words: Sequence[str], wanted: Sequence[str]) -> bool:
    starts = range(len(words) - len(wanted) + 1)
    return any(list(words[start : start + len(wanted)]) == wanted for start in starts)
