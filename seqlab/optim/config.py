"""Config section `optim`: optimizer, schedule, clipping and averaging."""

from typing import Annotated

from pydantic import Field

from seqlab.base.bounds import CountOrZero, NonNegative, Positive
from seqlab.base.config_class import dataclass
from seqlab.optim.optimizers import SETTINGS, AdamConfig, OptimizerConfig
from seqlab.optim.schedules import InverseSqrtScheduleConfig, ScheduleConfig


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class OptimConfig:
    """Optimizer, learning-rate schedule, gradient clipping and weight averaging.

    The mean loss is per unit of the objective, such as a target token.
    """

    optimizer: OptimizerConfig = Field(default_factory=AdamConfig)
    """The optimizer and its learning rate."""
    schedule: ScheduleConfig = Field(default_factory=lambda: InverseSqrtScheduleConfig(warmup_steps=2000))
    """The learning-rate schedule."""
    max_grad_norm: Positive | None = 1.0
    """Maximum norm of the gradient of the mean loss; larger gradients are scaled down. null: no limit."""
    max_grad_value: Positive | None = None
    """Maximum absolute value of each element of the gradient of the mean loss; null: no limit."""
    l1_penalty: NonNegative = 0.0
    """Factor of the L1 norm of all weight matrices, which is added to the mean loss; makes many weights 0."""
    average_last: CountOrZero = 0
    """Number of last checkpoints (one every `training.save_every` steps) whose weights are averaged; 0 turns it off."""
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Decay per step of an exponential moving average of the weights; 0 turns it off."""
    average_trigger: CountOrZero = 0
    """Non-monotone interval n of NT-ASGD, in validations (Merity et al. 2018, who use 5). Averaging starts when the
    validation loss is above the lowest loss before the last n validations. It covers the weights of all further steps.
    0 turns it off."""
    frozen_vectors: bool = False
    """Whether to freeze embeddings that were initialized from word vectors; all other embeddings are trained."""
