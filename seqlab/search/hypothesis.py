"""Hypotheses: the results of a search."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from seqlab.search.config import SearchConfig
from seqlab.search.length import length_penalty

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Hypothesis:
    """One output sequence of a sentence, with its scores."""

    ids: list[int]
    """Token ids, including the forced prefix, without eos."""
    score: float
    """`log_prob` divided by the length penalty, plus the coverage penalty if there is one; higher is better."""
    log_prob: float
    """Sum of the step scores, in nats."""
    finished: bool
    """Whether the hypothesis ends with eos; otherwise the maximum length or the constraints ended it."""
    token_log_probs: list[float]
    """Step score of each id, and of eos if finished, in nats; empty if they were not kept."""
    attention: "Tensor | None" = None
    """(T, S) on the CPU: attention weights of each id, and of eos if predicted as a token; only on request."""

    @property
    def num_tokens(self) -> int:
        """Length of the hypothesis: ids, and eos if finished."""
        return len(self.ids) + self.finished


def combined_score(log_prob: float, num_tokens: int, segments: Sequence[Hypothesis], config: SearchConfig) -> float:
    """Compute the score of a hypothesis; its coverage penalty is the sum over the hypotheses of its `segments`."""
    score = log_prob / length_penalty(num_tokens, config)
    if config.coverage_penalty == 0:
        return score
    return score + math.fsum(
        segment.score - segment.log_prob / length_penalty(segment.num_tokens, config) for segment in segments
    )
