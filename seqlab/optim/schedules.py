"""Learning-rate schedules: the config of each, which gives the rate of a step as a pure function."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field
from pydantic.dataclasses import dataclass

from seqlab.base.bounds import CountOrZero
from seqlab.optim.optimizers import SETTINGS
from seqlab.part import Part


class ScheduleConfig(Part):
    """The base of each schedule's config."""

    part_kind: ClassVar[str] = "schedule"
    required_members: ClassVar[tuple[str, ...]] = ("rate",)
    family: str

    def rate(self, peak: float, step: int, max_steps: int) -> float:
        """Return the learning rate of update number `step`, counted from 0, of `max_steps` in all."""
        raise NotImplementedError

    def shortened(self, max_steps: int) -> Self:
        """Return the schedule of a run that ends earlier than planned; most are the same."""
        return self

    def validation_factor(self, valid_nlls: Sequence[float]) -> float:
        """Return what the rate is multiplied by after validations with these losses; most do not look at them."""
        return 1.0


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class WarmupConfig(ScheduleConfig):
    """A linear warmup before what follows: it reaches the peak at step `warmup_steps`.

    Update 0 already moves, by 1 / (warmup_steps + 1) of the peak.
    """

    required_members: ClassVar[tuple[str, ...]] = ("share",)
    warmup_steps: CountOrZero = 0
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


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class OneCycleScheduleConfig(ScheduleConfig):
    """Up to the peak along half a cosine, and down to 0 along another (Smith & Topin 2018, arXiv:1708.07120)."""

    family: Literal["one_cycle"] = "one_cycle"
    """Which schedule this is."""
    rising: Annotated[float, Field(gt=0, lt=1)] = 0.3
    """Share of all steps before the peak."""
    initial_ratio: Annotated[float, Field(gt=0, le=1)] = 0.04
    """Learning rate at the first step, as a share of the peak."""
    final_ratio: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Learning rate at the last step, as a share of the peak."""

    def rate(self, peak: float, step: int, max_steps: int) -> float:
        """Return the learning rate of update number `step`, counted from 0, of `max_steps` in all."""
        top = max(1e-9, self.rising * max_steps - 1)
        if step < top:
            return peak * _between(self.initial_ratio, (1 - math.cos(math.pi * step / top)) / 2)
        done = min(1.0, (step - top) / max(1e-9, max_steps - 1 - top))
        return peak * _between(self.final_ratio, (1 + math.cos(math.pi * done)) / 2)


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class ExponentialScheduleConfig(ScheduleConfig):
    """By the same factor from step to step: from `initial_ratio` of the rate to `final_ratio` of it."""

    family: Literal["exponential"] = "exponential"
    """Which schedule this is."""
    initial_ratio: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Learning rate at the first step, as a share of the peak."""
    final_ratio: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Learning rate at the last step, as a share of the peak."""

    def rate(self, peak: float, step: int, max_steps: int) -> float:
        """Return the learning rate of update number `step`, counted from 0, of `max_steps` in all."""
        done = min(1.0, step / max(1, max_steps - 1))
        return float(peak * self.initial_ratio ** (1 - done) * self.final_ratio**done)


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class PlateauScheduleConfig(WarmupConfig):
    """The peak after the warmup, times `factor` each time that the validation loss has not fallen for a while."""

    family: Literal["plateau"] = "plateau"
    """Which schedule this is."""
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """What the rate is multiplied by."""
    patience: CountOrZero = 2
    """Validations in a row without a new lowest loss that are waited for."""

    def share(self, step: int, max_steps: int) -> float:
        """Return 1."""
        return 1.0

    def validation_factor(self, valid_nlls: Sequence[float]) -> float:
        """Return the factor once for each plateau, counted as by torch's `ReduceLROnPlateau` with a threshold of 0."""
        lowest, waited, reductions = math.inf, 0, 0
        for nll in valid_nlls:
            waited = 0 if nll < lowest else waited + 1
            lowest = min(lowest, nll)
            if waited > self.patience:
                reductions, waited = reductions + 1, 0
        return float(self.factor**reductions)


def _between(final_ratio: float, share: float) -> float:
    """Scale a share between 0 and 1 so that it ends at the final ratio."""
    return final_ratio + (1 - final_ratio) * share
