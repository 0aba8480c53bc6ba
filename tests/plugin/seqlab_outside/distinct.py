"""Distinct-2, a metric of diversity: the share of different bigrams (Li et al. 2016, N16-1014)."""

from collections.abc import Sequence
from itertools import chain, pairwise

import numpy as np

from seqlab.evaluation.score import LineStatistics, References, Score


def distinct(hypotheses: Sequence[str], references: References) -> LineStatistics:
    """Compute the percentage of different bigrams among all word bigrams of the hypotheses; references are ignored."""
    bigrams_by_line = [list(pairwise(line.split())) for line in hypotheses]
    indices = {bigram: index for index, bigram in enumerate(dict.fromkeys(chain(*bigrams_by_line)))}
    counts = np.zeros((len(bigrams_by_line), len(indices)), np.int64)  # (lines, different bigrams)
    for line_counts, bigrams in zip(counts, bigrams_by_line, strict=True):
        np.add.at(line_counts, [indices[bigram] for bigram in bigrams], 1)

    def score_of_sum(summed: np.ndarray) -> Score:
        total, different = int(summed.sum()), int(np.count_nonzero(summed))
        extra = {"different": different, "bigrams": total}
        return Score("distinct", 100 * different / max(1, total), "n:2|case:mixed|unit:token", True, extra)

    return LineStatistics(counts, score_of_sum)
