"""Distinct-2: how varied some lines are (Li et al. 2016, N16-1014)."""

from collections.abc import Sequence
from itertools import chain, pairwise

import numpy as np

from seqlab.evaluation.score import LineStatistics, References, Score


def distinct(hypotheses: Sequence[str], references: References) -> LineStatistics:
    """Percent of the hypotheses' bigrams of words that are different ones; the references count for nothing."""
    of_lines = [list(pairwise(line.split())) for line in hypotheses]
    numbers = {bigram: number for number, bigram in enumerate(dict.fromkeys(chain(*of_lines)))}
    rows = np.zeros((len(of_lines), len(numbers)), np.int64)  # (lines, bigrams)
    for row, bigrams in zip(rows, of_lines, strict=True):
        np.add.at(row, [numbers[bigram] for bigram in bigrams], 1)

    def score_of_sum(summed: np.ndarray) -> Score:
        total, different = int(summed.sum()), int(np.count_nonzero(summed))
        extra = {"different": different, "bigrams": total}
        return Score("distinct", 100 * different / max(1, total), "n:2|case:mixed|unit:token", True, extra)

    return LineStatistics(rows, score_of_sum)
