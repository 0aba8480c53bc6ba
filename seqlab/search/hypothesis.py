"""What a search returns."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

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
    """(T, S) on the CPU, a row for each of `token_log_probs`; only if it was asked for."""

    @property
    def num_tokens(self) -> int:
        """Its length: ids, and eos if it is finished."""
        return len(self.ids) + self.finished
