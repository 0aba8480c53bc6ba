"""Learning-rate schedules: the config of each, which gives the rate of a step as a pure function."""

import math
from dataclasses import replace
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field
from pydantic.dataclasses import dataclass

from seqlab.optim.optimizers import SETTINGS
from seqlab.part import Part


class ScheduleConfig(Part):
    """The base of each schedule's config."""

    part_kind: ClassVar[str] = "schedule"
    to_define: ClassVar[tuple[str, ...]] = ("rate",)
    family: str

    def rate(self, peak: float, step: int, max_steps: int) -> float:
        """Return the learning rate of update number `step`, counted from 0, of `max_steps` in all."""
        raise NotImplementedError

    def shortened(self, max_steps: int) -> Self:
        """Return the schedule of a run that ends earlier than planned; most are the same."""
        return self


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class WarmupConfig(ScheduleConfig):
    """A linear warmup before what follows: it reaches the peak at step `warmup_steps`.

    Update 0 already moves, by 1 / (warmup_steps + 1) of the peak.
    """

    to_define: ClassVar[tuple[str, ...]] = ("share",)
    warmup_steps: Annotated[int, Field(ge=0)] = 0
    """Steps over which the learning rate rises linearly from 0 to its peak."""

    def rate(self, peak: float, step: int, max_steps: int) -> float:
        """Return the learning rate of update number `step`, counted from 0, of `max_steps` in all."""
        if step < self.warmup_steps:
            return peak * (step + 1) / (self.warmup_steps + 1)
        return peak * self.share(step, max_steps)

    def share(self, step: int, max_steps: int) -> float:
        """Return the learning rate of a step after the warmup as a share of the peak."""
        raise NotImplementedError

    def shortened(self, max_steps: int) -> Self:
        """Return the schedule of a run of so many steps: a tenth of them is the longest warmup."""
        return replace(self, warmup_steps=min(self.warmup_steps, max_steps // 10))

    def progress(self, step: int, max_steps: int) -> float:
        """Return how far a step is between the warmup, 0, and `max_steps`, 1, where a longer run stays."""
        return min(1.0, (step - self.warmup_steps) / max(1, max_steps - self.warmup_steps))


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class ConstantScheduleConfig(WarmupConfig):
    """The peak, after the warmup."""

    family: Literal["constant"] = "constant"
    """Which schedule this is."""

    def share(self, step: int, max_steps: int) -> float:
        """Return 1."""
        return 1.0


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class LinearScheduleConfig(WarmupConfig):
    """A straight line from the peak to `final_ratio` of it at `training.max_steps`."""

    family: Literal["linear"] = "linear"
    """Which schedule this is."""
    final_ratio: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Learning rate at the last step, as a share of the peak."""

    def share(self, step: int, max_steps: int) -> float:
        """Return a share that falls in a straight line."""
        return _between(self.final_ratio, 1 - self.progress(step, max_steps))


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class InverseSqrtScheduleConfig(WarmupConfig):
    """The peak times sqrt(warmup_steps / step) after the warmup (Vaswani et al. 2017)."""

    family: Literal["inverse_sqrt"] = "inverse_sqrt"
    """Which schedule this is."""

    def share(self, step: int, max_steps: int) -> float:
        """Return a share that falls with the inverse square root of the step."""
        return math.sqrt((self.warmup_steps + 1) / (step + 1))


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class CosineScheduleConfig(WarmupConfig):
    """Half a cosine from the peak to `final_ratio` of it at `training.max_steps` (Loshchilov & Hutter 2017)."""

    family: Literal["cosine"] = "cosine"
    """Which schedule this is."""
    final_ratio: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Learning rate at the last step, as a share of the peak."""

    def share(self, step: int, max_steps: int) -> float:
        """Return a share that falls along half a cosine."""
        return _between(self.final_ratio, (1 + math.cos(math.pi * self.progress(step, max_steps))) / 2)


def _between(final_ratio: float, share: float) -> float:
    """Scale a share between 0 and 1 so that it ends at the final ratio."""
    return final_ratio + (1 - final_ratio) * share
