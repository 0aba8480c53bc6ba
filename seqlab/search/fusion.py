"""A translator and a language model that decide together; from left to right they are themselves a `Stepper`."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from seqlab.models.interfaces import FixedContextModel, State, Step, Stepper
from seqlab.search.cuda_graph import static_state


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


class WeightedLm:
    """A language model that decides with a translator: log p(y | x) + weight * log p(y) + length_reward * |y|.

    Shallow fusion (Gulcehre et al. 2015, arXiv:1503.03535), with a reward for each symbol, as the language model makes
    longer texts less likely (Hannun et al. 2014, arXiv:1408.2873). The sum is an additive score, not a log-probability.
    The language model begins with its own start, which need not be the translator's `bos_id`, and reads the same ids
    from then on.

    Args:
        lm: a language model over the translator's target vocabulary.
        weight: of the language model's log-probabilities, above 0.
        start_lm: makes a batch for `lm.start` from a number of rows and a device: that many times the language model's
            start alone.
        length_reward: what is added for each symbol but eos.

    Raises:
        ValueError: the weight is not above 0, or the reward is not finite.
    """

    def __init__(
        self, lm: Stepper, *, weight: float, start_lm: Callable[[int, torch.device], Any], length_reward: float = 0.0
    ) -> None:
        if not (math.isfinite(weight) and weight > 0):
            raise ValueError(
                f"`lm_weight` must be finite and above 0, but is {weight} instead. At 0 the model decides alone: "
                "search without the language model."
            )
        if not math.isfinite(length_reward):
            raise ValueError(f"`length_reward` must be finite, but is {length_reward} instead.")
        self.lm, self.weight, self.length_reward = lm, weight, length_reward
        self.context_model = lm if isinstance(lm, FixedContextModel) else None
        """The same where it knows of a text no more than some numbers, so that rows need not all go on at once."""
        self._start_lm = start_lm
        self.eos_id = lm.eos_id

    def start(self, rows: int, device: torch.device) -> tuple[Tensor, State]:
        """Start the language model on as many rows.

        Raises:
            ValueError: `start_lm` gave another number of rows.
        """
        last_ids, state = self.lm.start(self._start_lm(rows, device))
        if len(last_ids) != rows:
            raise ValueError(
                f"`start_lm` must give a batch of {rows} rows when it is asked for as many, but gave {len(last_ids)}."
            )
        return last_ids, state

    def contexts(self, rows: int, device: torch.device) -> Tensor:
        """Give what a `FixedContextModel` knows behind its start: (rows, order)."""
        assert self.context_model is not None, "others would have to read all prefixes at once"
        return self.context_model.contexts_after(self._start_lm(rows, device))

    def read(self, ids: Tensor, contexts: Tensor) -> tuple[Tensor, Tensor]:
        """Read an id (...) behind each context (..., order), as a `FixedContextModel` does.

        Returns:
            What is added for each id (...), in fp64, and the contexts behind them.
        """
        assert self.context_model is not None, "others would have to read all prefixes at once"
        log_probs, behind = self.context_model.read(ids, contexts)
        shares = self.weight * log_probs
        return shares + self.length_reward * (ids != self.eos_id).to(shares) if self.length_reward else shares, behind


class Fusion:
    """A translator and a language model that decide together from left to right.

    Raises:
        ValueError: the vocabularies differ.
    """

    def __init__(self, translator: Stepper, lm: WeightedLm) -> None:
        for name in ("vocab_size", "eos_id"):
            ours, theirs = getattr(translator, name), getattr(lm.lm, name)
            if ours != theirs:
                raise ValueError(
                    f"The translator and the language model must have the same `{name}`, but theirs are {ours} and "
                    f"{theirs}. Train the language model with the translator's target tokenizer."
                )
        self.translator, self.lm = translator, lm
        self.vocab_size, self.eos_id = translator.vocab_size, translator.eos_id

    def start(self, batch: Any, need_attention: bool = False) -> tuple[Tensor, FusionState]:
        """Start the translator on the batch, and the language model on as many rows."""
        last_ids, state = self.translator.start(batch, need_attention)
        lm_last_ids, lm_state = self.lm.start(len(last_ids), last_ids.device)
        return last_ids, FusionState(state, lm_state, lm_last_ids)

    def step(self, last_ids: Tensor, state: FusionState) -> Step:
        """Step both models and add their scores; the attention is the translator's."""
        step = self.translator.step(last_ids, state.translator)
        lm_step = self.lm.lm.step(last_ids if state.lm_last_ids is None else state.lm_last_ids, state.lm)
        # Product and sum apart: a compiler may fuse them in vectors and not in the elements that are left over, so that
        # an element's place in the batch would round it.
        scores = lm_step.scores.float() * self.lm.weight
        if self.lm.length_reward:
            of_end = scores[:, self.eos_id].clone()
            scores += self.lm.length_reward
            scores[:, self.eos_id] = of_end
        return Step(scores.add_(step.scores), FusionState(step.state, lm_step.state), step.attention)

    def static_state(self, state: FusionState, steps: int) -> FusionState | None:
        """Give the states of both models a fixed size, if both can have one."""
        translator, lm = (
            static_state(self.translator, state.translator, steps),
            static_state(self.lm.lm, state.lm, steps),
        )
        return None if translator is None or lm is None else FusionState(translator, lm)


class PrefixLmScores:
    """What a language model adds to the prefixes in a beam, and knows of them (Hannun et al. 2014, arXiv:1408.2873)."""

    def __init__(self, lm: WeightedLm, sentences: int, beam_size: int, device: torch.device) -> None:
        """Begin with prefixes that say nothing."""
        self.lm, self.beam_size = lm, beam_size
        self.contexts = lm.contexts(sentences, device)[:, None].expand(-1, beam_size, -1)
        """(B, K, order); between `choices` and `keep` those of all choices, as what is added."""
        self.added = torch.zeros(sentences, beam_size, dtype=torch.float64, device=device)
        """(B, K): its weighted log-probabilities, and the rewards of the symbols."""

    def choices(self, ids: Tensor) -> Tensor:
        """Give what is added to the prefixes as they are, and to each with one more of ids (B, C): (B, K + KC)."""
        assert self.added.size(1) == self.beam_size, "`keep` has to follow"
        ids = ids[:, None].expand(-1, self.beam_size, -1)
        shares, contexts = self.lm.read(ids, self.contexts[:, :, None])
        self.contexts = torch.cat((self.contexts, contexts.flatten(1, 2)), 1)
        self.added = torch.cat((self.added, (self.added[..., None] + shares).flatten(1)), 1)
        return self.added

    def keep(self, places: Tensor) -> None:
        """Keep those of the choices that stand at these places (B, K)."""
        self.contexts = self.contexts.gather(1, places[..., None].expand(-1, -1, self.contexts.size(2)))
        self.added = self.added.gather(1, places)

    def whole(self) -> Tensor:
        """Give what is added to prefixes that end here: (B, K)."""
        ends = torch.full_like(self.contexts[..., 0], self.lm.eos_id)
        return self.added + self.lm.read(ends, self.contexts)[0]


def lm_token_scores(lm: WeightedLm, ids: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Give what a language model adds for each symbol of texts, ids (N, T) of which the first `lengths` (N,) are read.

    Returns:
        Of each symbol (N, T), 0 behind the last; and of each end (N,).
    """
    contexts, shares = lm.contexts(len(ids), ids.device), []
    for place, following in enumerate(ids.unbind(1)):
        is_there = place < lengths
        share, behind = lm.read(torch.where(is_there, following, lm.eos_id), contexts)
        contexts = torch.where(is_there[:, None], behind, contexts)
        shares.append(share.masked_fill(~is_there, 0.0))
    ends, _ = lm.read(torch.full_like(lengths, lm.eos_id), contexts)
    return torch.stack(shares, 1) if shares else ends.new_zeros(ids.shape), ends
