"""R-Drop: cross entropy and consistency of two passes with different dropout (Liang et al. 2021, arXiv:2106.14448)."""

from dataclasses import fields
from typing import Annotated, Any, ClassVar, Literal, TypeVar

import torch
from pydantic import Field
from torch import Tensor

from seqlab.base.bounds import Positive
from seqlab.base.config_class import dataclass
from seqlab.data.batch import IGNORE, LabelledBatch, Seq2SeqBatch
from seqlab.models.outputs import DecoderOutput
from seqlab.objectives.loss import SETTINGS, Loss, ObjectiveConfig, StepContext

BatchT = TypeVar("BatchT", Seq2SeqBatch, LabelledBatch)


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class RDropConfig(ObjectiveConfig):
    """R-Drop: cross entropy of two passes with different dropout, plus their divergence (Liang et al. 2021)."""

    family: Literal["r_drop"] = "r_drop"
    """Name of the objective."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Probability mass taken from the target and distributed uniformly over the vocabulary."""
    consistency: Positive = 5.0
    """Weight of the KL divergence between the two passes (alpha in the paper)."""

    tasks: ClassVar[tuple[str, ...]] = ("translation", "labelling")

    def build(self) -> "RDrop":
        """Build the objective."""
        return RDrop(self)


class RDrop:
    """Cross entropy of two passes, plus the weighted mean of KL(p || q) and KL(q || p) of their predictions."""

    def __init__(self, config: RDropConfig) -> None:
        self.config = config

    def __call__(self, model: Any, batch: BatchT, context: StepContext) -> Loss:
        """Compute the loss of a batch.

        Unit: predictions, two per target token. Logs: `nll` and `divergence`.
        """
        assert batch.tgt_out is not None, "R-Drop needs a target"
        output: DecoderOutput = model(repeat_batch(batch))
        hidden = output.hidden.reshape(2, -1, output.hidden.size(-1))  # (2, B * T, D)
        total, nll, divergence = output.projection.r_drop_loss(
            hidden, batch.tgt_out.flatten(), self.config.label_smoothing, self.config.consistency
        )
        count = 2 * (batch.tgt_out != IGNORE).sum()
        return Loss(total, count.to(total), {"nll": nll, "divergence": divergence})


def repeat_batch(batch: BatchT) -> BatchT:
    """Concatenate a batch with itself: (B, ...) -> (2B, ...)."""
    tensors = {item.name: getattr(batch, item.name) for item in fields(batch)}
    doubled = {name: torch.cat([x, x]) for name, x in tensors.items() if isinstance(x, Tensor)}
    return type(batch)(**{**tensors, **doubled, "num_tgt_tokens": 2 * batch.num_tgt_tokens})
