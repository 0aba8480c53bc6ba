"""Limits and constraints of a search, as tensors over the sentences of a batch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from seqlab.search.config import SearchConfig
from seqlab.search.constraints import (
    ban_early_end,
    ban_ids,
    ban_repeated_ngrams,
    force_ids,
    prefix_table,
)
from seqlab.search.fusion import Fusion
from seqlab.search.length import length_limits, penalty_table
from seqlab.search.protocols import Stepper


@dataclass(frozen=True)
class Rules:
    """Limits and constraints of the hypotheses of each sentence; a forced prefix overrides every other constraint."""

    eos_id: int
    min_lengths: Tensor
    """(B,) int64: minimum length, eos included."""
    max_lengths: Tensor
    """(B,) int64: maximum length, eos included."""
    max_length: int
    """Maximum of `max_lengths`: the maximum number of steps."""
    max_min_length: int
    """Maximum of `min_lengths`."""
    penalties: Tensor
    """(max_length + 1,) float32: length penalty of each length."""
    prefixes: Tensor
    """(B, longest prefix) int64, padded with `NOT_FORCED`."""
    banned_ids: Tensor
    """1D int64: ids that no hypothesis may contain."""
    max_step_gain: float
    """Upper bound of a step score: 0 for log-probabilities, above 0 with a length reward."""
    no_repeat_ngram_size: int

    def apply(self, scores: Tensor, sentences: Tensor, ids: Tensor, position: int) -> Tensor:
        """Set the scores (N, W) of ids that are not allowed at this position (from 0) to -inf; may change `scores`.

        sentences: (N,) int64, the sentence of each row. ids: (N, position), needed only for `no_repeat_ngram_size`.
        """
        is_forced = position < self.prefixes.shape[1]
        free = scores.clone() if is_forced else scores
        allowed = scores
        if len(self.banned_ids):
            allowed = ban_ids(allowed, self.banned_ids)
        if position + 1 < self.max_min_length:
            allowed = ban_early_end(allowed, position + 1 < self.min_lengths[sentences], self.eos_id)
        if self.no_repeat_ngram_size:
            allowed = ban_repeated_ngrams(allowed, ids, self.no_repeat_ngram_size)
        if is_forced:
            allowed = force_ids(allowed, free, self.prefixes[sentences, position])
        return allowed

    def best_penalty(self, sentences: Tensor, length: int) -> Tensor:
        """Return the most favorable length penalty of each sentence (A,), over the allowed lengths from `length` up.

        Log-probabilities are at most 0, so the largest divisor is the best. Both formulas are monotonic in the length
        for any alpha, so the largest divisor is that of the smallest or of the largest length.
        """
        return torch.maximum(*self._penalties_at_ends(sentences, length))

    def best_score(self, log_probs: Tensor, sentences: Tensor, length: int) -> Tensor:
        """Return an upper bound of the scores of all extensions of hypotheses of `length` ids.

        log_probs: (A,), one hypothesis for each of the sentences (A,). For sums above 0, which a length reward allows,
        the smallest divisor is the best.
        """
        best = log_probs + self.max_step_gain * (self.max_lengths[sentences] - length)
        smallest = torch.minimum(*self._penalties_at_ends(sentences, length + 1))
        return best / torch.where(best > 0, smallest, self.best_penalty(sentences, length + 1))

    def _penalties_at_ends(self, sentences: Tensor, length: int) -> tuple[Tensor, Tensor]:
        """Return the penalties of the smallest allowed length from `length` up, and of the maximum length."""
        longest = self.max_lengths[sentences]
        shortest = torch.minimum(self.min_lengths[sentences].clamp(min=length), longest)
        return self.penalties[shortest], self.penalties[longest]


def make_rules(
    stepper: Stepper,
    batch: Any,
    config: SearchConfig,
    last_ids: Tensor,
    prefixes: Sequence[Sequence[int]] | None,
    banned_ids: Sequence[int],
) -> Rules:
    """Check the limits and constraints, and convert them to tensors for the sentences of a batch.

    Source lengths are read from `batch.src_lengths` (B,); if the batch has none, `config.max_length` is the limit.

    Raises:
        ValueError: a prefix or a banned id is invalid, or a field of `config` does not apply to autoregressive models.
    """
    config.check_autoregressive()
    if stepper.eos_id in banned_ids:
        raise ValueError(f"`banned_ids` must not contain `eos_id` ({stepper.eos_id}): no hypothesis could end.")
    for invalid in (n for n in banned_ids if not 0 <= n < stepper.vocab_size):
        raise ValueError(f"`banned_ids` must be from 0 to {stepper.vocab_size - 1}, but one is {invalid}.")
    src_lengths: Tensor | None = getattr(batch, "src_lengths", None)
    source = None if src_lengths is None else src_lengths.tolist()
    min_lengths, max_lengths = length_limits(source, len(last_ids), config)
    device = last_ids.device
    src: Tensor | None = getattr(batch, "src", None)
    sources = None if prefixes is None or src is None else src.tolist()
    max_length = max(max_lengths, default=0)
    return Rules(
        eos_id=stepper.eos_id,
        min_lengths=torch.tensor(min_lengths, dtype=torch.int64, device=device),
        max_lengths=torch.tensor(max_lengths, dtype=torch.int64, device=device),
        max_length=max_length,
        max_min_length=max(min_lengths, default=0),
        penalties=penalty_table(max_length, config, device),
        prefixes=prefix_table(prefixes, max_lengths, stepper.vocab_size, stepper.eos_id, sources).to(device),
        banned_ids=torch.tensor(list(banned_ids), dtype=torch.int64, device=device),
        no_repeat_ngram_size=config.no_repeat_ngram_size,
        max_step_gain=max(0.0, stepper.lm.length_reward) if isinstance(stepper, Fusion) else 0.0,
    )


def refuse_nan(log_probs: Tensor, location: str) -> None:
    """Raise ValueError if a score is NaN, because comparisons with NaN would select an arbitrary hypothesis.

    `location`: for the message, such as `at position 3`.
    """
    if log_probs.isnan().any():
        raise ValueError(nan_message(location))


def nan_message(location: str) -> str:
    """Return the message for scores that are NaN; `location`: such as `at position 3`."""
    return (
        f"The model gave scores that are not numbers (NaN) {location}. Its weights are damaged, or its precision is "
        "too low for them."
    )
