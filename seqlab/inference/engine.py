"""Engine protocol: decode and score rows of ids with any model or program; batches by length. Imports no torch."""

from collections.abc import Iterator, Sequence
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


def length_batches(lengths: Sequence[int], batch_tokens: int) -> Iterator[list[int]]:
    """Group the indices of sequences into batches, longest first.

    The number of sequences times the longest length is at most `batch_tokens`; a longer sequence is a batch of its own.
    Sequences of equal length keep their order.
    """
    if batch_tokens < 1:
        raise ValueError(f"`batch_tokens` must be at least 1, but is {batch_tokens} instead.")
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    start = 0
    while start < len(order):
        count = max(1, batch_tokens // max(1, lengths[order[start]]))
        yield order[start : start + count]
        start += count
