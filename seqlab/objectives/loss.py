"""Interface of objectives and their configs: `Loss`, `StepContext`, `Objective` and `ObjectiveConfig`."""

from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import torch
from pydantic import ConfigDict
from torch import Tensor

from seqlab.data.batch import TextLayout
from seqlab.part import Part

SETTINGS = ConfigDict(extra="forbid", use_attribute_docstrings=True)
"""pydantic settings of the config dataclasses of objectives."""


RESERVED_LOGS = frozenset(
    {"kind", "step", "epoch", "minutes", "lr", "loss", "total", "count", "grad_norm", "src_padding", "tgt_padding"}
    | {"tgt_tokens_per_second", "units_per_second"}
)
"""Fields of metrics.jsonl whose names an objective's logs cannot have."""


@dataclass(frozen=True)
class Loss:
    """Loss of a batch as a sum over units; an update divides it by the number of units of all micro-steps and ranks."""

    total: Tensor
    """(), differentiable, in nats."""
    count: Tensor
    """(): number of units in the sum; each objective has one kind of unit (target tokens, frames, sequences)."""
    logs: dict[str, Tensor] = field(default_factory=dict)
    """Detached sums over the same units, e.g. {"nll": ...}; a log may be missing in some batches, whose units are then
    not counted for it. On several processes a log must be present in the first step."""
    carry: dict[str, Tensor] | None = None
    """Detached state for the next batch (truncated backpropagation through time), rows first."""


@dataclass(frozen=True)
class StepContext:
    """State of the run that an objective can use."""

    step: int
    """Number of updates done so far."""
    generator: torch.Generator | None = None
    """Random generator of the objective; None: torch's default generator."""
    carry: dict[str, Tensor] | None = None
    """`Loss.carry` of the previous batch, if this batch continues it."""


class Objective(Protocol):
    """Training objective; it may be an nn.Module, whose parameters are then trained and saved with the model."""

    def __call__(self, model: Any, batch: Any, context: StepContext) -> Loss:
        """Compute the loss of a batch."""
        ...


def check_loss(loss: Any) -> None:
    """Raise ValueError if the result of an objective, perhaps a plugin's, is not a valid `Loss`."""
    if not isinstance(loss, Loss):
        raise ValueError(
            f"An objective must return a `seqlab.objectives.Loss`, but returned an object of "
            f"type {type(loss).__name__}."
        )
    for name, value in {"total": loss.total, "count": loss.count, **loss.logs}.items():
        if not (isinstance(value, Tensor) and value.dim() == 0):
            actual = (
                f"of shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"of type {type(value).__name__}"
            )
            raise ValueError(f"`{name}` of an objective's `Loss` must be a tensor without dimensions, but is {actual}.")
    if taken := loss.logs.keys() & RESERVED_LOGS:
        raise ValueError(f"A log of an objective cannot be named `{min(taken)}`, a reserved field of metrics.jsonl.")
    if torch.is_grad_enabled() and not loss.total.requires_grad:
        raise ValueError(
            "`total` of an objective's `Loss` must be differentiable, but has no gradient: compute it from the outputs "
            "of the model, without `detach()` or `item()`; without targets as `outputs[is_target].sum()`."
        )


class ObjectiveConfig(Part):
    """Base class of objective configs: a config builds its objective and checks it against the other sections."""

    part_kind: ClassVar[str] = "objective"
    required_members: ClassVar[tuple[str, ...]] = ("build",)
    outputs: ClassVar[str] = "tokens"
    """Kind of model output that the objective needs: `ModelConfig.outputs` of compatible models."""
    needs: ClassVar[tuple[type, ...]] = ()
    """Protocols of `seqlab.models.interfaces` that the model must implement."""
    tasks: ClassVar[tuple[str, ...]] = ()
    """Values of `data.kind` that the objective supports; empty: all."""
    text_layouts: ClassVar[frozenset[TextLayout]] = frozenset()
    """Layouts of a text that the objective supports; training with another one is refused. `packed`: the loss of a row
    is the sum of the losses of its lines. `contiguous`: the model receives `StepContext.carry`, and `Loss.carry` is the
    state that it returns. `seqlab.testing.check_objective` tests what is declared."""
    family: str

    @classmethod
    def fits_data(cls, kind: str) -> bool:
        """Return whether the objective supports this kind of data."""
        return not cls.tasks or kind in cls.tasks

    def build(self) -> Objective:
        """Build the objective."""
        raise NotImplementedError

    def unused_fields(self, model: Any) -> tuple[str, ...]:
        """Return the fields that have no effect for a model, given its config; none unless overridden."""
        return ()

    def check(self, config: Any) -> None:
        """Raise ValueError if the objective does not fit the other config sections.

        Args:
            config: the complete config of a run.
        """
        if config.model.can_copy:
            raise ValueError(
                f"`objective.family: {self.family}` does not support `model.copying`: choose `cross_entropy`, or set "
                "`model.copying` to false."
            )
