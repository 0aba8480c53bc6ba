"""Exact match: the share of lines that are right to the last character."""

from collections.abc import Sequence

import numpy as np

from .references import References, num_references
from .score import LineStatistics, Score


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
