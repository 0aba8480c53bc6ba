"""Protocol of inference engines, which decode and score rows of ids, and batching by length. Imports no torch."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from seqlab.base.world import ProgressCallback
from seqlab.search.config import SearchConfig
from seqlab.search.hypothesis import Hypothesis


@dataclass(frozen=True)
class PairScore:
    """Log-probability of a target given its source."""

    log_prob: float
    """Sum of `token_log_probs`, in nats; -inf for a target that the model can never output."""
    num_tokens: int
    """Number of target tokens, eos included."""
    token_log_probs: list[float]
    """Log-probability of each token in nats, eos last; an ensemble averages the probabilities of each token."""


class Engine(Protocol):
    """Protocol of inference engines. Rows hold ids without special ids; results are in the order of the rows."""

    def decode(
        self,
        src_rows: Sequence[Sequence[int]],
        config: SearchConfig,
        *,
        prefixes: Sequence[Sequence[int]] | None = None,
        need_scores: bool = True,
        batch_tokens: int | None = None,
        progress: ProgressCallback | None = None,
        need_attention: bool = False,
    ) -> list[list[Hypothesis]]:
        """Search for the best hypotheses of each row; return them best first. An empty row gives the empty hypothesis.

        Args:
            src_rows: source ids.
            config: search config.
            prefixes: forced prefix of each row's hypotheses, as ids.
            need_scores: whether scores and log-probabilities must be exact; if not, they may be approximate or NaN.
            batch_tokens: batch size in padded source tokens (eos included) times `beam_size`; None for the engine's
                default.
            progress: called after each batch with its number of rows.
            need_attention: whether to return the attention weights of each hypothesis.

        Raises:
            ValueError: the engine does not support an option, such as `need_attention`.
        """
        ...

    def score(
        self,
        src_rows: Sequence[Sequence[int]],
        tgt_rows: Sequence[Sequence[int]],
        *,
        batch_tokens: int | None = None,
        progress: ProgressCallback | None = None,
    ) -> list[PairScore]:
        """Compute the log-probability of each target given its source.

        Args:
            src_rows: source ids.
            tgt_rows: target ids, one row for each source.
            batch_tokens: batch size in padded tokens of the source or the target, the longer of the two; None for the
                engine's default.
            progress: called after each batch with its number of pairs.
        """
        ...


def length_batches(lengths: Sequence[int], batch_tokens: int) -> Iterator[list[int]]:
    """Group the indices of sequences into batches, longest first.

    The number of sequences times the longest length is at most `batch_tokens`. A longer sequence is in a separate
    batch. Sequences of equal length keep their order.
    """
    if batch_tokens < 1:
        raise ValueError(f"`batch_tokens` must be at least 1, but is {batch_tokens} instead.")
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    start = 0
    while start < len(order):
        count = max(1, batch_tokens // max(1, lengths[order[start]]))
        yield order[start : start + count]
        start += count
