"""Triangular learning rate schedule: a linear increase to the peak, then a linear decrease."""

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from seqlab.optim.optimizers import SETTINGS
from seqlab.optim.schedules import ScheduleConfig


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class TriangleConfig(ScheduleConfig):
    """A linear increase to the peak, then a linear decrease to 0 at `training.max_steps`."""

    family: Literal["triangle"] = "triangle"
    """Name of the schedule."""
    rising: Annotated[float, Field(gt=0, lt=1)] = 0.3
    """Share of all steps before the peak."""

    def lr_at(self, peak: float, step: int, max_steps: int) -> float:
        """Return the learning rate of a step, counted from 0, of `max_steps`."""
        progress = (step + 1) / (max_steps + 1)
        return peak * max(0.0, min(progress / self.rising, (1 - progress) / (1 - self.rising)))
