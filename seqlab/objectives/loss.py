"""The contract between an objective and the update step."""

from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor


@dataclass(frozen=True)
class Loss:
    """A sum over units, never a mean: the update step divides once, by the count of all micro-steps and ranks."""

    total: Tensor
    """(), differentiable, in nats."""
    count: Tensor
    """(): how many units were summed; one kind of unit per objective (target tokens, frames, sequences)."""
    logs: dict[str, Tensor] = field(default_factory=dict)
    """Detached sums over the same units, e.g. {"nll": ...}."""
    carry: dict[str, Tensor] | None = None
    """Detached state for the next batch (truncated backpropagation through time), rows first."""


@dataclass(frozen=True)
class StepContext:
    """What an objective may know of the run."""

    step: int
    """Updates done so far."""
    generator: torch.Generator | None = None
    """Source of the objective's own random draws; None draws from torch's default one."""
    carry: dict[str, Tensor] | None = None
    """What the previous batch's `Loss.carry` was, where this one goes on there."""


class Objective(Protocol):
    """What is optimised; may be an nn.Module with parameters of its own, which are then trained and saved."""

    def __call__(self, model: Any, batch: Any, context: StepContext) -> Loss: ...
