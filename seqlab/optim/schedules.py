"""Learning-rate schedules: configs that compute the learning rate of a step."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field

from seqlab.base.bounds import CountOrZero
from seqlab.base.config_class import dataclass
from seqlab.optim.optimizers import SETTINGS
from seqlab.part import Part


class ScheduleConfig(Part):
    """Base class of schedule configs; each computes its learning rates."""

    part_kind: ClassVar[str] = "schedule"
    required_members: ClassVar[tuple[str, ...]] = ("lr_at",)
    family: str

    def lr_at(self, peak: float, step: int, max_steps: int) -> float:
        """Return the learning rate of update number `step` (from 0) of `max_steps`."""
        raise NotImplementedError

    def shortened(self, max_steps: int) -> Self:
        """Return the schedule for a shorter run of `max_steps` steps; by default the same."""
        return self

    def validation_factor(self, valid_nlls: Sequence[float]) -> float:
        """Return a factor of the learning rate after validations with these nlls; by default 1."""
        return 1.0


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class WarmupConfig(ScheduleConfig):
    """Linear warmup that reaches the peak at step `warmup_steps`, followed by the schedule of a subclass.

    The learning rate of update 0 is 1 / (warmup_steps + 1) of the peak.
    """

    required_members: ClassVar[tuple[str, ...]] = ("share",)
    warmup_steps: CountOrZero = 0
    """Steps over which the learning rate rises linearly to its peak."""

    def lr_at(self, peak: float, step: int, max_steps: int) -> float:
        """Return the learning rate of update number `step` (from 0) of `max_steps`."""
        if step < self.warmup_steps:
            return peak * (step + 1) / (self.warmup_steps + 1)
        return peak * self.share(step, max_steps)

    def share(self, step: int, max_steps: int) -> float:
        """Return the learning rate of a step after the warmup, as a share of the peak."""
        raise NotImplementedError

    def shortened(self, max_steps: int) -> Self:
        """Return the schedule for a run of `max_steps` steps, with a warmup of at most a tenth of them."""
        return replace(self, warmup_steps=min(self.warmup_steps, max_steps // 10))

    def progress(self, step: int, max_steps: int) -> float:
        """Return the progress from the end of the warmup (0) to `max_steps` (1), and 1 after it."""
        return min(1.0, (step - self.warmup_steps) / max(1, max_steps - self.warmup_steps))


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class ConstantScheduleConfig(WarmupConfig):
    """Constant learning rate after the warmup."""

    family: Literal["constant"] = "constant"
    """Name of the schedule."""

    def share(self, step: int, max_steps: int) -> float:
        """Return 1."""
        return 1.0


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class LinearScheduleConfig(WarmupConfig):
    """Linear decay from the peak to `final_ratio` times the peak at `training.max_steps`."""

    family: Literal["linear"] = "linear"
    """Name of the schedule."""
    final_ratio: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Learning rate at the last step, as a share of the peak."""

    def share(self, step: int, max_steps: int) -> float:
        """Return a share that decays linearly with the step."""
        return _interpolate(self.final_ratio, 1 - self.progress(step, max_steps))


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class InverseSqrtScheduleConfig(WarmupConfig):
    """Inverse square root decay after the warmup (Vaswani et al. 2017): sqrt((warmup_steps + 1) / (step + 1)) times the
    peak; steps are counted from 0."""

    family: Literal["inverse_sqrt"] = "inverse_sqrt"
    """Name of the schedule."""

    def share(self, step: int, max_steps: int) -> float:
        """Return a share that decays with the inverse square root of the step."""
        return math.sqrt((self.warmup_steps + 1) / (step + 1))


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class CosineScheduleConfig(WarmupConfig):
    """Cosine decay from the peak to `final_ratio` times the peak at `training.max_steps` (Loshchilov & Hutter 2017)."""

    family: Literal["cosine"] = "cosine"
    """Name of the schedule."""
    final_ratio: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Learning rate at the last step, as a share of the peak."""

    def share(self, step: int, max_steps: int) -> float:
        """Return a share that decays along half a cosine."""
        return _interpolate(self.final_ratio, (1 + math.cos(math.pi * self.progress(step, max_steps))) / 2)


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class OneCycleScheduleConfig(ScheduleConfig):
    """One-cycle schedule: a rise to the peak and a decay, each along half a cosine (Smith & Topin 2018)."""

    family: Literal["one_cycle"] = "one_cycle"
    """Name of the schedule."""
    rising: Annotated[float, Field(gt=0, lt=1)] = 0.3
    """Share of all steps over which the learning rate rises."""
    initial_ratio: Annotated[float, Field(gt=0, le=1)] = 0.04
    """Learning rate at the first step, as a share of the peak."""
    final_ratio: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Learning rate at the last step, as a share of the peak."""

    def lr_at(self, peak: float, step: int, max_steps: int) -> float:
        """Return the learning rate of update number `step` (from 0) of `max_steps`."""
        top = max(1e-9, self.rising * max_steps - 1)
        if step < top:
            return peak * _interpolate(self.initial_ratio, (1 - math.cos(math.pi * step / top)) / 2)
        done = min(1.0, (step - top) / max(1e-9, max_steps - 1 - top))
        return peak * _interpolate(self.final_ratio, (1 + math.cos(math.pi * done)) / 2)


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class ExponentialScheduleConfig(ScheduleConfig):
    """Exponential schedule: a constant factor per step, from `initial_ratio` to `final_ratio` times the peak."""

    family: Literal["exponential"] = "exponential"
    """Name of the schedule."""
    initial_ratio: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Learning rate at the first step, as a share of the peak."""
    final_ratio: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Learning rate at the last step, as a share of the peak."""

    def lr_at(self, peak: float, step: int, max_steps: int) -> float:
        """Return the learning rate of update number `step` (from 0) of `max_steps`."""
        done = min(1.0, step / max(1, max_steps - 1))
        return float(peak * self.initial_ratio ** (1 - done) * self.final_ratio**done)


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class PlateauScheduleConfig(WarmupConfig):
    """Constant after the warmup; multiplied by `factor` each time the validation loss has stopped decreasing."""

    family: Literal["plateau"] = "plateau"
    """Name of the schedule."""
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Factor of the learning rate at each reduction."""
    patience: CountOrZero = 2
    """Number of successive validations without a new lowest loss that are tolerated before a reduction."""

    def share(self, step: int, max_steps: int) -> float:
        """Return 1."""
        return 1.0

    def validation_factor(self, valid_nlls: Sequence[float]) -> float:
        """Return `factor` ** number of reductions; they occur as in torch's `ReduceLROnPlateau` with threshold 0.

        Losses that are infinite or NaN are left out: they cannot be compared.
        """
        lowest, waited, reductions = math.inf, 0, 0
        for nll in filter(math.isfinite, valid_nlls):
            waited = 0 if nll < lowest else waited + 1
            lowest = min(lowest, nll)
            if waited > self.patience:
                reductions, waited = reductions + 1, 0
        return float(self.factor**reductions)


def _interpolate(low: float, share: float) -> float:
    """Map a share from [0, 1] to [low, 1]."""
    return low + (1 - low) * share
