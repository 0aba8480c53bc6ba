"""Focal loss: cross entropy weighted by how wrong each prediction is (Lin et al. 2017, arXiv:1708.02002)."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from seqlab.data.batch import IGNORE, TokenBatch
from seqlab.objectives.loss import SETTINGS, Loss, ObjectiveConfig, StepContext


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class FocalConfig(ObjectiveConfig):
    """Cross entropy that looks away from what is easy (Lin et al. 2017)."""

    family: Literal["focal"] = "focal"
    """Name of the objective."""
    gamma: Annotated[float, Field(ge=0)] = 2.0
    """Each token's loss is multiplied by (1 - p)^gamma, where p is its probability; 0 is plain cross entropy."""

    outputs: ClassVar[str] = "tokens"

    def build(self) -> "Focal":
        """Build the objective."""
        return Focal(self.gamma)


class Focal:
    """Sum the focal loss over target tokens, the end of sentence counted."""

    def __init__(self, gamma: float) -> None:
        self.gamma = gamma

    def __call__(self, model: Any, batch: TokenBatch, context: StepContext) -> Loss:
        """Unit: target tokens. Logs: `nll`, the cross entropy."""
        assert batch.tgt_out is not None, "the loss needs a target"
        output = model(batch) if context.carry is None else model(batch, context.carry)
        predicted = batch.tgt_out != IGNORE
        log_probs, _ = output.projection.target_log_probs(output.hidden[predicted], batch.tgt_out[predicted])
        total = -((1 - log_probs.exp()) ** self.gamma * log_probs).sum()
        return Loss(total, predicted.sum().to(total), {"nll": -log_probs.detach().sum()}, output.carry)
