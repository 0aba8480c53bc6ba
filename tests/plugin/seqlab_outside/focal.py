"""Focal loss: cross entropy with less weight on easy tokens (Lin et al. 2017, arXiv:1708.02002).

The whole loss can have a learned weight: a parameter of the objective, trained and saved with the model.
"""

from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import nn

from seqlab.data.batch import IGNORE, TextLayout, TokenBatch
from seqlab.objectives.loss import SETTINGS, Loss, ObjectiveConfig, StepContext


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class FocalConfig(ObjectiveConfig):
    """Cross entropy with less weight on easy tokens (Lin et al. 2017)."""

    family: Literal["focal"] = "focal"
    """Name of the objective."""
    gamma: Annotated[float, Field(ge=0)] = 2.0
    """Each token's loss is multiplied by (1 - p)^gamma, where p is its probability; 0 is plain cross entropy."""

    learned_weight: bool = False
    """Whether the loss is multiplied by exp(-s), plus s for each token, with a learned s (Kendall et al. 2018)."""

    outputs: ClassVar[str] = "tokens"
    text_layouts: ClassVar[frozenset[TextLayout]] = frozenset({"packed", "contiguous"})

    def build(self) -> "Focal":
        """Build the objective."""
        return Focal(self.gamma, self.learned_weight)


class Focal(nn.Module):
    """Focal loss, summed over target tokens including eos."""

    def __init__(self, gamma: float, learned_weight: bool) -> None:
        super().__init__()
        self.gamma = gamma
        self.log_variance = nn.Parameter(torch.zeros(())) if learned_weight else None

    def forward(self, model: Any, batch: TokenBatch, context: StepContext) -> Loss:
        """Return the summed loss and the number of target tokens; log the cross entropy as `nll`."""
        assert batch.tgt_out is not None, "the loss needs a target"
        output = model(batch) if context.carry is None else model(batch, context.carry)
        is_target = batch.tgt_out != IGNORE
        log_probs, _ = output.projection.target_log_probs(output.hidden[is_target], batch.tgt_out[is_target])
        total = -((1 - log_probs.exp()) ** self.gamma * log_probs).sum()
        count = is_target.sum().to(total)
        if self.log_variance is not None:
            total = (-self.log_variance).exp() * total + self.log_variance * count
        return Loss(total, count, {"nll": -log_probs.detach().sum()}, output.carry)
