"""The `optim` section of a run's config."""

from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from seqlab.base.bounds import CountOrZero, NonNegative, Positive
from seqlab.optim.optimizers import SETTINGS, AdamConfig, OptimizerConfig
from seqlab.optim.schedules import InverseSqrtScheduleConfig, ScheduleConfig


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class OptimConfig:
    """How the weights move."""

    optimizer: OptimizerConfig = Field(default_factory=AdamConfig)
    """The optimizer and its learning rate."""
    schedule: ScheduleConfig = Field(default_factory=lambda: InverseSqrtScheduleConfig(warmup_steps=2000))
    """How the learning rate changes with the step."""
    max_grad_norm: Positive | None = 1.0
    """The gradient of the loss per unit is scaled down to this norm where it is larger; null leaves it."""
    max_grad_value: Positive | None = None
    """Each element of the gradient of the loss per unit is cut off at plus and minus this; null leaves it."""
    l1_penalty: NonNegative = 0.0
    """Weight of the sum of the sizes of the weights, of matrices alone, that is added to the loss per unit: it drives
    many of them to 0."""
    average_last: CountOrZero = 0
    """Average the weights of this many last checkpoints (taken every `training.save_every` steps); 0 is off."""
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Decay per step of an exponential moving average of the weights; 0 is off."""
    average_trigger: CountOrZero = 0
    """Average the weights of all further steps once the validation loss is above the best of those that lie more than
    this many validations back: the trigger of NT-ASGD (Merity et al. 2018), 5 there; 0 is off."""
    frozen_vectors: bool = False
    """Whether embeddings that started from word vectors stay as they are; all others are trained."""
