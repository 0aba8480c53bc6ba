"""Shallow fusion with a language model: any one for autoregressive search, a Markov model for other searches.

Shapes: B sentences, K prefixes, C candidate ids; N sequences of at most T ids.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from seqlab.models.interfaces import FixedContextModel, State, Step
from seqlab.search.cuda_graph import static_state
from seqlab.search.protocols import Stepper


class FusionState:
    """The states of both models, with the same rows."""

    def __init__(self, translator: State, lm: State, lm_last_ids: Tensor | None = None) -> None:
        self.translator, self.lm = translator, lm
        self.lm_last_ids = lm_last_ids
        """(N,): ids that the language model reads in the first step; None after the first step."""

    def select(self, rows: Tensor) -> "FusionState":
        """Select the rows of both models."""
        lm_last_ids = None if self.lm_last_ids is None else self.lm_last_ids[rows]
        return FusionState(self.translator.select(rows), self.lm.select(rows), lm_last_ids)

    def fork(self) -> "FusionState":
        """Copy the states of both models."""
        return FusionState(self.translator.fork(), self.lm.fork(), self.lm_last_ids)


class WeightedLm:
    """A language model for shallow fusion: log p(y | x) + weight * log p(y) + length_reward * |y|.

    Shallow fusion is from Gulcehre et al. 2015 (arXiv:1503.03535). The reward for each token compensates for the
    language model's preference for short texts (Hannun et al. 2014, arXiv:1408.2873). The sum is an additive score,
    not a log-probability. The language model has its own start id, which may differ from the translator's `bos_id`;
    after it, both read the same ids.

    Args:
        lm: a language model over the translator's target vocabulary.
        weight: weight of the language model's log-probabilities, above 0.
        start_lm: function of a number of rows and a device that makes a batch for `lm.start`, in which each row is the
            language model's start id.
        length_reward: score added for each token except eos.

    Raises:
        ValueError: the weight is not above 0, or the reward is not finite.
    """

    def __init__(
        self, lm: Stepper, *, weight: float, start_lm: Callable[[int, torch.device], Any], length_reward: float = 0.0
    ) -> None:
        if not (math.isfinite(weight) and weight > 0):
            raise ValueError(
                f"`lm_weight` must be finite and above 0, but is {weight} instead. To search without the language "
                "model, leave it out."
            )
        if not math.isfinite(length_reward):
            raise ValueError(f"`length_reward` must be finite, but is {length_reward} instead.")
        self.lm, self.weight, self.length_reward = lm, weight, length_reward
        self.context_model = lm if isinstance(lm, FixedContextModel) else None
        """`lm` if it is a `FixedContextModel`, whose rows can be extended independently; otherwise None."""
        self._start_lm = start_lm
        self.eos_id = lm.eos_id

    def start(self, rows: int, device: torch.device) -> tuple[Tensor, State]:
        """Start the language model with `rows` rows.

        Raises:
            ValueError: the batch of `start_lm` has another number of rows.
        """
        last_ids, state = self.lm.start(self._start_lm(rows, device))
        if len(last_ids) != rows:
            raise ValueError(
                f"`start_lm` must make a batch of {rows} rows when it is called for {rows}, but made {len(last_ids)}."
            )
        return last_ids, state

    def contexts(self, rows: int, device: torch.device) -> Tensor:
        """Return the contexts of the language model after its start id: (rows, order)."""
        assert self.context_model is not None, "only a Markov model has contexts"
        return self.context_model.contexts_after(self._start_lm(rows, device))

    def read(self, ids: Tensor, contexts: Tensor) -> tuple[Tensor, Tensor]:
        """Read an id (...) after each context (..., order), as a `FixedContextModel` does.

        Returns:
            The score of each id (...) in fp64, weighted and with the length reward, and the new contexts.
        """
        assert self.context_model is not None, "only a Markov model has contexts"
        log_probs, next_contexts = self.context_model.read(ids, contexts)
        scores = self.weight * log_probs
        if self.length_reward:
            scores = scores + self.length_reward * (ids != self.eos_id).to(scores)
        return scores, next_contexts


class Fusion:
    """A translator with a language model as a single `Stepper`, whose scores are the sums of both.

    Raises:
        ValueError: the vocabularies differ.
    """

    def __init__(self, translator: Stepper, lm: WeightedLm) -> None:
        for name in ("vocab_size", "eos_id"):
            value, lm_value = getattr(translator, name), getattr(lm.lm, name)
            if value != lm_value:
                raise ValueError(
                    f"The translator and the language model must have the same `{name}`, but have {value} and "
                    f"{lm_value}. Train the language model with the translator's target tokenizer."
                )
        self.translator, self.lm = translator, lm
        self.vocab_size, self.eos_id = translator.vocab_size, translator.eos_id

    def start(self, batch: Any, need_attention: bool = False) -> tuple[Tensor, FusionState]:
        """Start the translator on the batch, and the language model with the same number of rows."""
        last_ids, state = self.translator.start(batch, need_attention)
        lm_last_ids, lm_state = self.lm.start(len(last_ids), last_ids.device)
        return last_ids, FusionState(state, lm_state, lm_last_ids)

    def step(self, last_ids: Tensor, state: FusionState) -> Step:
        """Step both models and add their scores; the attention is the translator's."""
        step = self.translator.step(last_ids, state.translator)
        lm_step = self.lm.lm.step(last_ids if state.lm_last_ids is None else state.lm_last_ids, state.lm)
        # Product and sum are separate: a compiler may fuse them in vectors but not in the remaining elements, and then
        # the rounding would depend on an element's position in the batch.
        scores = lm_step.scores.float() * self.lm.weight
        if self.lm.length_reward:
            eos_scores = scores[:, self.eos_id].clone()
            scores += self.lm.length_reward
            scores[:, self.eos_id] = eos_scores
        return Step(scores.add_(step.scores), FusionState(step.state, lm_step.state), step.attention)

    def static_state(self, state: FusionState, steps: int) -> FusionState | None:
        """Convert the states of both models to a fixed size; None if one of them does not support it."""
        translator, lm = (
            static_state(self.translator, state.translator, steps),
            static_state(self.lm.lm, state.lm, steps),
        )
        return None if translator is None or lm is None else FusionState(translator, lm)


class PrefixLmScores:
    """Language model scores and contexts of the prefixes in a beam (Hannun et al. 2014, arXiv:1408.2873).

    For each position or frame call `extend`, then `keep`.
    """

    def __init__(self, lm: WeightedLm, sentences: int, beam_size: int, device: torch.device) -> None:
        """Start with empty prefixes."""
        self.lm, self.beam_size = lm, beam_size
        self.contexts = lm.contexts(sentences, device)[:, None].expand(-1, beam_size, -1)
        """(B, K, order); between `extend` and `keep`, contexts and scores are those of all (B, K + KC) candidates."""
        self.scores = torch.zeros(sentences, beam_size, dtype=torch.float64, device=device)
        """(B, K): weighted log-probabilities plus length rewards."""

    def extend(self, ids: Tensor) -> Tensor:
        """Score the unchanged prefixes, and each prefix extended by each of ids (B, C): (B, K + KC)."""
        assert self.scores.size(1) == self.beam_size, "call `keep` after each `extend`"
        ids = ids[:, None].expand(-1, self.beam_size, -1)
        id_scores, contexts = self.lm.read(ids, self.contexts[:, :, None])
        self.contexts = torch.cat((self.contexts, contexts.flatten(1, 2)), 1)
        self.scores = torch.cat((self.scores, (self.scores[..., None] + id_scores).flatten(1)), 1)
        return self.scores

    def keep(self, indices: Tensor) -> None:
        """Keep the candidates of these indices (B, K)."""
        self.contexts = self.contexts.gather(1, indices[..., None].expand(-1, -1, self.contexts.size(2)))
        self.scores = self.scores.gather(1, indices)

    def final_scores(self) -> Tensor:
        """Return the scores of the prefixes followed by eos: (B, K)."""
        ends = torch.full_like(self.contexts[..., 0], self.lm.eos_id)
        return self.scores + self.lm.read(ends, self.contexts)[0]


def lm_token_scores(lm: WeightedLm, ids: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the language model's score of each token of sequences, ids (N, T) with lengths (N,).

    Returns:
        The scores of the tokens (N, T), 0 for padding, and those of eos (N,).
    """
    contexts, scores = lm.contexts(len(ids), ids.device), []
    for position, tokens in enumerate(ids.unbind(1)):
        is_token = position < lengths
        token_scores, next_contexts = lm.read(torch.where(is_token, tokens, lm.eos_id), contexts)
        contexts = torch.where(is_token[:, None], next_contexts, contexts)
        scores.append(token_scores.masked_fill(~is_token, 0.0))
    eos_scores, _ = lm.read(torch.full_like(lengths, lm.eos_id), contexts)
    return torch.stack(scores, 1) if scores else eos_scores.new_zeros(ids.shape), eos_scores
