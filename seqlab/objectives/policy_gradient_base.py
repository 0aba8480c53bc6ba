"""What policy gradients on samples and on episodes share: fields, and the moving mean of returns."""

from typing import Annotated

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from seqlab.base.bounds import Count, Positive
from seqlab.base.config_class import dataclass
from seqlab.objectives.loss import COUNT_OF, SETTINGS, ObjectiveConfig


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class PolicyGradientFields(ObjectiveConfig):
    """Common fields of policy gradients, which choose the values of `returns` and `baseline`."""

    returns: str
    baseline: str
    baseline_decay: Annotated[float, Field(ge=0, lt=1)] = 0.99
    """With `baseline: moving_mean`: weight of the earlier steps."""
    critic_weight: Positive = 1.0
    """With `baseline: critic`: weight of the critic's squared error per action."""
    trace_decay: Annotated[float, Field(ge=0, le=1)] = 1.0
    """With `baseline: critic`: lambda of generalized advantage estimation (arXiv:1506.02438): 1 uses all later rewards,
    0 only the next one and the critic's estimate after it (advantage actor-critic). Below 1 the gradient is biased by
    the error of the critic."""
    passes: Count = 1
    """Updates with the same actions. From the second one on, these are actions of an older policy: advantages are
    weighted by the ratio of the probabilities of each action."""
    clip: Positive = 0.2
    """Bound of the change of a probability ratio, beyond which an action has no gradient (PPO, arXiv:1707.06347)."""

    @model_validator(mode="after")
    def _check_needed_fields(self) -> "PolicyGradientFields":
        defaults = type(self)
        checked = [
            ("baseline_decay", self.baseline_decay, defaults.baseline_decay, "baseline: moving_mean"),
            ("critic_weight", self.critic_weight, defaults.critic_weight, "baseline: critic"),
            ("trace_decay", self.trace_decay, defaults.trace_decay, "baseline: critic"),
            ("trace_decay", self.trace_decay, defaults.trace_decay, "returns: to_go"),
        ]
        settings = (f"baseline: {self.baseline}", f"returns: {self.returns}")
        for name, value, default, needed in checked:
            if value != default and needed not in settings:
                raise ValueError(f"`{name}` ({value}) needs `{needed}`: set it, or leave `{name}` out.")
        if self.passes == 1 and self.clip != defaults.clip:
            raise ValueError(f"`clip` ({self.clip}) needs `passes` above 1: set it, or leave `clip` out.")
        return self


class MovingMean(nn.Module):
    """Moving mean of the returns of earlier steps, the same on all ranks."""

    value: Tensor
    """() fp64; 0 before the first step."""
    num_steps: Tensor

    def __init__(self, decay: float) -> None:
        super().__init__()
        self.decay = decay
        self.register_buffer("value", torch.zeros((), dtype=torch.float64))
        self.register_buffer("num_steps", torch.zeros((), dtype=torch.int64))

    def update(self, sums: dict[str, Tensor]) -> None:
        """Add the mean of a step, given the sums of its logs, of which `mean_return` is one."""
        decay = self.decay if self.num_steps else 0.0
        mean = sums["mean_return"] / sums[f"{COUNT_OF}mean_return"].clamp_min(1.0)
        self.value.mul_(decay).add_(mean * (1 - decay))
        self.num_steps += 1
