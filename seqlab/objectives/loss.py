"""The contract between an objective and the update step, and between its config and the rest of a run's config."""

from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import torch
from pydantic import ConfigDict
from torch import Tensor

from seqlab.part import Part

SETTINGS = ConfigDict(extra="forbid", use_attribute_docstrings=True)
"""Of the dataclasses that are configs of objectives."""


RESERVED_LOGS = frozenset(
    {"kind", "step", "epoch", "minutes", "lr", "loss", "total", "count", "grad_norm", "src_padding", "tgt_padding"}
    | {"tgt_tokens_per_second", "units_per_second"}
)
"""Names that metrics.jsonl and the update step use themselves."""


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


def check_loss(loss: Any) -> None:
    """Raise ValueError where what an objective returned, perhaps a plugin's, is no loss that can be trained with."""
    if not isinstance(loss, Loss):
        raise ValueError(f"An objective must return a `seqlab.objectives.Loss`, but returned a {type(loss).__name__}.")
    for name, value in {"total": loss.total, "count": loss.count, **loss.logs}.items():
        if not (isinstance(value, Tensor) and value.dim() == 0):
            shown = f"of shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
            raise ValueError(f"`{name}` of an objective's `Loss` must be a tensor without dimensions, but is {shown}.")
    if taken := loss.logs.keys() & RESERVED_LOGS:
        raise ValueError(f"A log of an objective cannot be named `{min(taken)}`: metrics.jsonl has that itself.")


class ObjectiveConfig(Part):
    """The base of each objective's config, which builds it and checks what it needs of the other sections."""

    part_kind: ClassVar[str] = "objective"
    required_members: ClassVar[tuple[str, ...]] = ("build",)
    outputs: ClassVar[str] = "tokens"
    """What it is computed from: `ModelConfig.outputs` of the models that it fits."""
    needs: ClassVar[tuple[type, ...]] = ()
    """The protocols of `seqlab.models.interfaces` whose methods it calls, besides a forward pass over a batch."""
    tasks: ClassVar[tuple[str, ...]] = ()
    """Which `data.kind` it is for; empty for all."""
    family: str

    def build(self) -> Objective:
        """Build the objective."""
        raise NotImplementedError

    def check(self, config: Any) -> None:
        """Raise ValueError where the rest of a run's config does not fit.

        Args:
            config: the whole config of a run.
        """
        if config.model.copies:
            raise ValueError(
                f"`objective.family: {self.family}` looks at predictions of the vocabulary alone: with "
                "`model.copying` choose `cross_entropy`."
            )
