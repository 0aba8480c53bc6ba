"""A translator and a language model that decide together: shallow fusion is itself a `Stepper`."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from seqlab.models.interfaces import State, Step, Stepper


class FusionState:
    """The states of both models, with the same rows."""

    def __init__(self, translator: State, lm: State, lm_last_ids: Tensor | None = None) -> None:
        self.translator, self.lm = translator, lm
        self.lm_last_ids = lm_last_ids
        """(N,): what the language model reads in the first step; None after it."""

    def select(self, rows: Tensor) -> "FusionState":
        """Select the rows of both models."""
        first = None if self.lm_last_ids is None else self.lm_last_ids[rows]
        return FusionState(self.translator.select(rows), self.lm.select(rows), first)

    def fork(self) -> "FusionState":
        """Copy the states of both models."""
        return FusionState(self.translator.fork(), self.lm.fork(), self.lm_last_ids)


class Fusion:
    """Add the scores of a translator and of a language model: log p(y | x) + weight * log p(y) + length_reward * |y|.

    Shallow fusion (Gulcehre et al. 2015, arXiv:1503.03535), with a reward for each symbol, as the language model makes
    longer texts less likely (Hannun et al. 2014, arXiv:1408.2873). The sum is an additive score, not a log-probability.
    The language model begins with its own start, which need not be the translator's `bos_id`, and reads the same ids
    from then on.

    Args:
        translator: reads the batch; the attention is its.
        lm: a language model over the translator's target vocabulary.
        weight: of the language model's log-probabilities, above 0.
        start_lm: makes a batch for `lm.start` from a number of rows and a device: that many times the language model's
            start alone.
        length_reward: what is added for each symbol but eos.

    Raises:
        ValueError: the vocabularies differ, the weight is not above 0, or the reward is not finite.
    """

    def __init__(
        self,
        translator: Stepper,
        lm: Stepper,
        *,
        weight: float,
        start_lm: Callable[[int, torch.device], Any],
        length_reward: float = 0.0,
    ) -> None:
        for name in ("vocab_size", "eos_id"):
            ours, theirs = getattr(translator, name), getattr(lm, name)
            if ours != theirs:
                raise ValueError(
                    f"The translator and the language model must have the same `{name}`, but theirs are {ours} and "
                    f"{theirs}. Train the language model with the translator's target tokenizer."
                )
        if not (math.isfinite(weight) and weight > 0):
            raise ValueError(
                f"`weight` must be finite and above 0, but is {weight} instead. At 0 the translator decides alone: "
                "search without the language model."
            )
        if not math.isfinite(length_reward):
            raise ValueError(f"`length_reward` must be finite, but is {length_reward} instead.")
        self.translator, self.lm = translator, lm
        self.weight, self.start_lm, self.length_reward = weight, start_lm, length_reward
        self.vocab_size, self.eos_id = translator.vocab_size, translator.eos_id

    def start(self, batch: Any, need_attention: bool = False) -> tuple[Tensor, FusionState]:
        """Start the translator on the batch, and the language model on as many rows.

        Raises:
            ValueError: `start_lm` gave another number of rows.
        """
        last_ids, state = self.translator.start(batch, need_attention)
        lm_last_ids, lm_state = self.lm.start(self.start_lm(len(last_ids), last_ids.device))
        if len(lm_last_ids) != len(last_ids):
            raise ValueError(
                f"`start_lm` must give a batch of {len(last_ids)} rows when it is asked for as many, but gave "
                f"{len(lm_last_ids)}."
            )
        return last_ids, FusionState(state, lm_state, lm_last_ids)

    def step(self, last_ids: Tensor, state: FusionState) -> Step:
        """Step both models and add their scores; the attention is the translator's."""
        step = self.translator.step(last_ids, state.translator)
        lm_step = self.lm.step(last_ids if state.lm_last_ids is None else state.lm_last_ids, state.lm)
        # Product and sum apart: a compiler may fuse them in vectors and not in the elements that are left over, so that
        # an element's place in the batch would round it.
        scores = lm_step.scores.float() * self.weight
        if self.length_reward:
            of_end = scores[:, self.eos_id].clone()
            scores += self.length_reward
            scores[:, self.eos_id] = of_end
        return Step(scores.add_(step.scores), FusionState(step.state, lm_step.state), step.attention)
