"""The limits and constraints of one search, as tensors over the sentences of its batch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from seqlab.models.interfaces import Stepper
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


@dataclass(frozen=True)
class Rules:
    """What the hypotheses of each sentence may be; a forced prefix wins over every other constraint."""

    eos_id: int
    shortest: Tensor
    """(B,) int64: the shortest allowed length, eos included."""
    longest: Tensor
    """(B,) int64: the longest allowed length, eos included."""
    max_length: int
    """The largest of `longest`."""
    max_min_length: int
    """The largest of `shortest`."""
    penalties: Tensor
    """(max_length + 1,) float32: the length penalty of each length."""
    prefixes: Tensor
    """(B, longest prefix) int64, padded with `NOT_FORCED`."""
    banned_ids: Tensor
    """(any,) int64."""
    max_step_gain: float
    """The most that a step can add to a score: 0 for log-probabilities, which a reward may lift."""
    no_repeat_ngram_size: int

    def apply(self, scores: Tensor, sentences: Tensor, ids: Tensor, position: int) -> Tensor:
        """Set the scores (N, W) of what is not allowed at this position (from 0) to -inf.

        sentences: (N,) int64, the sentence of each row. ids: (N, position), read only for repeated n-grams. Writes into
        `scores`.
        """
        is_forced = position < self.prefixes.shape[1]
        free = scores.clone() if is_forced else scores
        allowed = scores
        if len(self.banned_ids):
            allowed = ban_ids(allowed, self.banned_ids)
        if position + 1 < self.max_min_length:
            allowed = ban_early_end(allowed, position + 1 < self.shortest[sentences], self.eos_id)
        if self.no_repeat_ngram_size:
            allowed = ban_repeated_ngrams(allowed, ids, self.no_repeat_ngram_size)
        if is_forced:
            allowed = force_ids(allowed, free, self.prefixes[sentences, position])
        return allowed

    def best_penalty(self, sentences: Tensor, length: int) -> Tensor:
        """Give the most favourable penalty for each sentence (A,) of all lengths that can still be reached.

        Reachable are the allowed lengths from `length` on. Log-probabilities are not positive, so the largest divisor
        is the best; both formulas are monotonic in the length, so it is at one of the ends, whatever the sign of alpha.
        """
        return torch.maximum(*self._penalties_at_ends(sentences, length))

    def best_score(self, log_probs: Tensor, sentences: Tensor, length: int) -> Tensor:
        """Bound what hypotheses of `length` ids and these log-probabilities (A,), one a sentence, can still score.

        Where a reward may make them positive, of these the smallest divisor is the best.
        """
        most = log_probs + self.max_step_gain * (self.longest[sentences] - length)
        smallest = torch.minimum(*self._penalties_at_ends(sentences, length + 1))
        return most / torch.where(most > 0, smallest, self.best_penalty(sentences, length + 1))

    def _penalties_at_ends(self, sentences: Tensor, length: int) -> tuple[Tensor, Tensor]:
        longest = self.longest[sentences]
        nearest = torch.minimum(self.shortest[sentences].clamp(min=length), longest)
        return self.penalties[nearest], self.penalties[longest]


def make_rules(
    stepper: Stepper,
    batch: Any,
    config: SearchConfig,
    last_ids: Tensor,
    prefixes: Sequence[Sequence[int]] | None,
    banned_ids: Sequence[int],
) -> Rules:
    """Check what the caller asks for, and write it down for the sentences of this batch.

    Source lengths are read from `batch.src_lengths` (B,); where a batch has none, `config.max_length` is the limit.

    Raises:
        ValueError: for a prefix or a banned id that cannot be, or where `config` asks for what no such search does.
    """
    config.check_autoregressive()
    if stepper.eos_id in banned_ids:
        raise ValueError(f"`banned_ids` must not contain `eos_id` ({stepper.eos_id}): no hypothesis could end.")
    for unknown in (n for n in banned_ids if not 0 <= n < stepper.vocab_size):
        raise ValueError(f"`banned_ids` must be from 0 to {stepper.vocab_size - 1}, but one is {unknown}.")
    src_lengths: Tensor | None = getattr(batch, "src_lengths", None)
    source = None if src_lengths is None else src_lengths.tolist()
    shortest, longest = length_limits(source, len(last_ids), config)
    device = last_ids.device
    src: Tensor | None = getattr(batch, "src", None)
    sources = None if prefixes is None or src is None else src.tolist()
    max_length = max(longest, default=0)
    return Rules(
        eos_id=stepper.eos_id,
        shortest=torch.tensor(shortest, dtype=torch.int64, device=device),
        longest=torch.tensor(longest, dtype=torch.int64, device=device),
        max_length=max_length,
        max_min_length=max(shortest, default=0),
        penalties=penalty_table(max_length, config, device),
        prefixes=prefix_table(prefixes, longest, stepper.vocab_size, stepper.eos_id, sources).to(device),
        banned_ids=torch.tensor(list(banned_ids), dtype=torch.int64, device=device),
        no_repeat_ngram_size=config.no_repeat_ngram_size,
        max_step_gain=max(0.0, stepper.lm.length_reward) if isinstance(stepper, Fusion) else 0.0,
    )


def refuse_nan(log_probs: Tensor, where: str) -> None:
    """Stop if the best scores of a step are not numbers: comparing them would give an arbitrary hypothesis.

    `where`: names the step.

    Raises:
        ValueError: if one is NaN.
    """
    if log_probs.isnan().any():
        raise ValueError(nan_message(where))


def nan_message(where: str) -> str:
    """Say that scores are not numbers; `where`: names the step."""
    return (
        f"The model gave scores that are not numbers (NaN) {where}. Its weights are damaged, or its precision is too "
        "low for them."
    )
