"""Ensemble of autoregressive models as a single `Stepper`."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from seqlab.models.interfaces import State, Step
from seqlab.search.cuda_graph import static_state
from seqlab.search.protocols import Stepper


def mean_log_probs(members: Sequence[Tensor]) -> Tensor:
    """Average probabilities in log space, over tensors of the same shape; a single tensor is returned unchanged."""
    if len(members) == 1:
        return members[0]
    return torch.logsumexp(torch.stack(list(members)), dim=0) - math.log(len(members))


class EnsembleState:
    """States of all members, with the same rows."""

    def __init__(self, states: Sequence[State]) -> None:
        self.states = list(states)

    def select(self, rows: Tensor) -> "EnsembleState":
        """Select the rows of every member."""
        return EnsembleState([state.select(rows) for state in self.states])

    def fork(self) -> "EnsembleState":
        """Copy the state of every member."""
        return EnsembleState([state.fork() for state in self.states])


class Ensemble:
    """Average of the probabilities of several models at each step: log of the mean of exp(scores).

    The members may be of different families, but must share the vocabulary, and their scores must be
    log-probabilities. All start from the same batch and the same first ids.
    """

    def __init__(self, members: Sequence[Stepper]) -> None:
        if not members:
            raise ValueError("An ensemble must have at least 1 member, but has 0 instead.")
        for name in ("vocab_size", "eos_id"):
            values = [getattr(member, name) for member in members]
            if len(set(values)) > 1:
                raise ValueError(f"The members of an ensemble must have the same `{name}`, but have {values}.")
        self.members = list(members)
        self.vocab_size = members[0].vocab_size
        self.eos_id = members[0].eos_id

    def start(self, batch: Any, need_attention: bool = False) -> tuple[Tensor, EnsembleState]:
        """Start every member on the same batch.

        Raises:
            ValueError: the members start from different ids.
        """
        started = [member.start(batch, need_attention) for member in self.members]
        last_ids = started[0][0]
        if not all(torch.equal(last_ids, other) for other, _ in started):
            raise ValueError("The members of an ensemble must start from the same ids (`bos_id`), but these differ.")
        return last_ids, EnsembleState([state for _, state in started])

    def step(self, last_ids: Tensor, state: EnsembleState) -> Step:
        """Step every member and average; attention is the mean of the members' attention."""
        steps = [member.step(last_ids, state) for member, state in zip(self.members, state.states, strict=True)]
        scores = mean_log_probs([step.scores.float() for step in steps])
        attention = [step.attention for step in steps if step.attention is not None]
        mean = torch.stack(attention).mean(dim=0) if len(attention) == len(steps) else None
        return Step(scores, EnsembleState([step.state for step in steps]), mean)

    def static_state(self, state: EnsembleState, steps: int) -> EnsembleState | None:
        """Convert the states of all members to a fixed size; None if a member does not support it."""
        states = [static_state(*pair, steps) for pair in zip(self.members, state.states, strict=True)]
        fixed = [static for static in states if static is not None]
        return EnsembleState(fixed) if len(fixed) == len(states) else None
