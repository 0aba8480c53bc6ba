"""What text is translated with: the protocol between lines and the program that searches and scores."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from seqlab.base.world import OnRows
from seqlab.search.config import SearchConfig
from seqlab.search.hypothesis import Hypothesis


@dataclass(frozen=True)
class PairScore:
    """How probable a target is, given its source."""

    log_prob: float
    """The sum over `token_log_probs`, in nats."""
    num_tokens: int
    """Target tokens, the end of sentence counted."""
    token_log_probs: list[float]
    """In nats, the end of sentence last; several models average their probabilities token by token."""


class Engine(Protocol):
    """Id rows in, hypotheses or scores out, in the order of the rows; rows hold no special ids."""

    def decode(
        self,
        src_rows: Sequence[Sequence[int]],
        config: SearchConfig,
        *,
        prefixes: Sequence[Sequence[int]] | None = None,
        need_scores: bool = True,
        batch_tokens: int | None = None,
        progress: OnRows | None = None,
        need_attention: bool = False,
    ) -> list[list[Hypothesis]]:
        """Search the best hypotheses of each row, best first; an empty row gives the empty hypothesis.

        Args:
            src_rows: source ids.
            config: how to search.
            prefixes: ids that the hypotheses of each row must begin with.
            need_scores: whether scores and log-probabilities will be looked at: if not, they may be rough or NaN.
            batch_tokens: padded source tokens (eos counted) times `beam_size` that are searched together; None takes
                what is fast.
            progress: called after each batch with its number of rows.
            need_attention: whether hypotheses come with what they attended to; raises ValueError where there is none.
        """
        ...

    def score(
        self,
        src_rows: Sequence[Sequence[int]],
        tgt_rows: Sequence[Sequence[int]],
        *,
        batch_tokens: int | None = None,
        progress: OnRows | None = None,
    ) -> list[PairScore]:
        """Score each target given its source.

        Args:
            src_rows: source ids.
            tgt_rows: target ids, as many.
            batch_tokens: padded tokens of the longer side that are scored together; None takes what is fast.
            progress: called after each batch with its number of pairs.
        """
        ...
