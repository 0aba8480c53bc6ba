"""Table: one row of outputs for each state of an environment with numbered states.

Shapes: B states, O outputs (actions).
"""

from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from seqlab.base.config_class import dataclass
from seqlab.data.batch import ValueBatch
from seqlab.models.config import SETTINGS
from seqlab.models.predictor import PredictorConfig


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class TableConfig(PredictorConfig):
    """A table of outputs for numbered states, which starts at 0."""

    tasks: ClassVar[tuple[str, ...]] = ("control",)
    default_objective: ClassVar[str] = "q_learning"
    family: Literal["table"] = "table"
    """Name of the model family."""

    def check_sides(self, src: Any, tgt: Any) -> None:
        """Raise ValueError if observations are not the numbers of states."""
        if src.num_states is None or src.shape[0] > 1:
            raise ValueError(
                "`model.family: table` needs single observations that are numbers of states, but these are arrays of "
                f"shape {src.shape}: choose `predictor`."
            )

    def build(self, src: Any, tgt: Any) -> "Table":
        """Build the model."""
        return Table(src.shape[1], tgt.size)


class Table(nn.Module):
    """Table of outputs by state; implements `Predictor`."""

    def __init__(self, states: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(states, outputs))

    def forward(self, batch: ValueBatch) -> Tensor:
        """Return the rows (B, O) of one-hot encoded states."""
        return self.weight[batch.src.flatten(1).argmax(1)]
