"""What a search returns."""

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
    """One output sequence of one sentence."""

    ids: list[int]
    """The ids without eos; a forced prefix is included."""
    score: float
    """`log_prob` after the length penalty, and in a beam with the coverage penalty: higher is better."""
    log_prob: float
    """The sum of the step scores of its tokens, in nats."""
    finished: bool
    """Whether eos was found; if not, the maximum length or the constraints ended the hypothesis."""
    token_log_probs: list[float]
    """The step score of each id, and of eos if the hypothesis is finished, in nats; none if they were not kept."""
    attention: "Tensor | None" = None
    """(T, S) on the CPU, a row for each id, and for the end where it is said as a symbol; only if it was asked for."""

    @property
    def num_tokens(self) -> int:
        """Its length: ids, and eos if it is finished."""
        return len(self.ids) + self.finished


def combined_score(log_prob: float, num_tokens: int, parts: Sequence[Hypothesis], config: SearchConfig) -> float:
    """Give the score of what was made of hypotheses, as by joining them: their coverage penalties are its own."""
    score = log_prob / length_penalty(num_tokens, config)
    if config.coverage_penalty == 0:
        return score
    return score + math.fsum(part.score - part.log_prob / length_penalty(part.num_tokens, config) for part in parts)
