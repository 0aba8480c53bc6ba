"""Several models that decide together: an ensemble is itself a `Stepper`."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from seqlab.models.interfaces import State, Step, Stepper
from seqlab.search.cuda_graph import static_state


def mean_log_probs(members: Sequence[Tensor]) -> Tensor:
    """Average probabilities that are given and returned as logarithms, in tensors of one shape; of one, itself."""
    if len(members) == 1:
        return members[0]
    return torch.logsumexp(torch.stack(list(members)), dim=0) - math.log(len(members))


class EnsembleState:
    """The states of all members; each has the same rows."""

    def __init__(self, parts: Sequence[State]) -> None:
        self.parts = list(parts)

    def select(self, rows: Tensor) -> "EnsembleState":
        """Select the rows of every member."""
        return EnsembleState([part.select(rows) for part in self.parts])

    def fork(self) -> "EnsembleState":
        """Copy the state of every member."""
        return EnsembleState([part.fork() for part in self.parts])


class Ensemble:
    """Average the probabilities of several models, step by step: log of the mean of exp(scores).

    The members may be of different families; they must share the vocabulary, and their scores must be
    log-probabilities. All read the same batch and the same first ids.
    """

    def __init__(self, members: Sequence[Stepper]) -> None:
        if not members:
            raise ValueError("An ensemble must have at least 1 member, but has 0 instead.")
        for name in ("vocab_size", "eos_id"):
            values = [getattr(member, name) for member in members]
            if len(set(values)) > 1:
                raise ValueError(f"The members of an ensemble must have the same `{name}`, but theirs are {values}.")
        self.members = list(members)
        self.vocab_size = members[0].vocab_size
        self.eos_id = members[0].eos_id

    def start(self, batch: Any, need_attention: bool = False) -> tuple[Tensor, EnsembleState]:
        """Start every member on the same batch.

        Raises:
            ValueError: if the members want to read different first ids.
        """
        started = [member.start(batch, need_attention) for member in self.members]
        last_ids = started[0][0]
        if not all(torch.equal(last_ids, other) for other, _ in started):
            raise ValueError("The members of an ensemble must start from the same ids (`bos_id`), but theirs differ.")
        return last_ids, EnsembleState([state for _, state in started])

    def step(self, last_ids: Tensor, state: EnsembleState) -> Step:
        """Step every member and average; attention is the mean of the members' attention."""
        steps = [member.step(last_ids, part) for member, part in zip(self.members, state.parts, strict=True)]
        scores = mean_log_probs([step.scores.float() for step in steps])
        attention = [step.attention for step in steps if step.attention is not None]
        mean = torch.stack(attention).mean(dim=0) if len(attention) == len(steps) else None
        return Step(scores, EnsembleState([step.state for step in steps]), mean)

    def static_state(self, state: EnsembleState, steps: int) -> EnsembleState | None:
        """Give the states of all members a fixed size, if each of them can have one."""
        parts = [static_state(*each, steps) for each in zip(self.members, state.parts, strict=True)]
        fixed = [part for part in parts if part is not None]
        return EnsembleState(fixed) if len(fixed) == len(parts) else None
