"""The `optim` section of a run's config."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

_SETTINGS = ConfigDict(extra="forbid", use_attribute_docstrings=True)
LearningRate = Annotated[float, Field(gt=0)]
Beta = Annotated[float, Field(ge=0, lt=1)]


@dataclass(frozen=True, kw_only=True, config=_SETTINGS)
class SgdConfig:
    """Stochastic gradient descent with momentum."""

    family: Literal["sgd"] = "sgd"
    """Which optimizer this is."""
    lr: LearningRate = 0.1
    """Peak learning rate."""
    momentum: Beta = 0.9
    """Decay of the velocity; 0 turns momentum off."""
    nesterov: bool = False
    """Whether the gradient is taken ahead of the momentum step."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """Factor of the weights that is added to the gradient."""

    @model_validator(mode="after")
    def _check(self) -> "SgdConfig":
        if self.nesterov and self.momentum == 0:
            raise ValueError("`nesterov` needs a `momentum` above 0, but it is 0.")
        return self


@dataclass(frozen=True, kw_only=True, config=_SETTINGS)
class _AdamLikeConfig:
    lr: LearningRate = 1e-3
    """Peak learning rate."""
    betas: tuple[Beta, Beta] = (0.9, 0.98)
    """Decay of the averages of the gradient and of its square."""
    eps: Annotated[float, Field(gt=0)] = 1e-8
    """Added to the root of the second average."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """Added to the gradient times the weights (Adam), or taken from the weights directly (AdamW, RAdam)."""


@dataclass(frozen=True, kw_only=True, config=_SETTINGS)
class AdamConfig(_AdamLikeConfig):
    """Adam (Kingma & Ba 2015)."""

    family: Literal["adam"] = "adam"
    """Which optimizer this is."""


@dataclass(frozen=True, kw_only=True, config=_SETTINGS)
class AdamWConfig(_AdamLikeConfig):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019)."""

    family: Literal["adamw"] = "adamw"
    """Which optimizer this is."""


@dataclass(frozen=True, kw_only=True, config=_SETTINGS)
class RAdamConfig(_AdamLikeConfig):
    """Rectified Adam (Liu et al. 2020), with decoupled weight decay."""

    family: Literal["radam"] = "radam"
    """Which optimizer this is."""


@dataclass(frozen=True, kw_only=True, config=_SETTINGS)
class MuonConfig(_AdamLikeConfig):
    """Muon (Jordan et al. 2024) for the matrices of the layers, AdamW for embeddings, biases and norms."""

    family: Literal["muon"] = "muon"
    """Which optimizer this is."""
    momentum: Beta = 0.95
    """Decay of the velocity of the matrices, which Muon makes orthogonal before each step."""


OptimizerConfig = Annotated[
    SgdConfig | AdamConfig | AdamWConfig | RAdamConfig | MuonConfig, Field(discriminator="family")
]


@dataclass(frozen=True, kw_only=True, config=_SETTINGS)
class _WarmupConfig:
    warmup_steps: Annotated[int, Field(ge=0)] = 0
    """Steps over which the learning rate rises linearly from 0 to its peak."""


@dataclass(frozen=True, kw_only=True, config=_SETTINGS)
class ConstantScheduleConfig(_WarmupConfig):
    """The peak, after the warmup."""

    family: Literal["constant"] = "constant"
    """Which schedule this is."""


@dataclass(frozen=True, kw_only=True, config=_SETTINGS)
class LinearScheduleConfig(_WarmupConfig):
    """A straight line from the peak to `final_ratio` of it at `training.max_steps`."""

    family: Literal["linear"] = "linear"
    """Which schedule this is."""
    final_ratio: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Learning rate at the last step, as a share of the peak."""


@dataclass(frozen=True, kw_only=True, config=_SETTINGS)
class InverseSqrtScheduleConfig(_WarmupConfig):
    """The peak times sqrt(warmup_steps / step) after the warmup (Vaswani et al. 2017)."""

    family: Literal["inverse_sqrt"] = "inverse_sqrt"
    """Which schedule this is."""


@dataclass(frozen=True, kw_only=True, config=_SETTINGS)
class CosineScheduleConfig(_WarmupConfig):
    """Half a cosine from the peak to `final_ratio` of it at `training.max_steps` (Loshchilov & Hutter 2017)."""

    family: Literal["cosine"] = "cosine"
    """Which schedule this is."""
    final_ratio: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Learning rate at the last step, as a share of the peak."""


ScheduleConfig = Annotated[
    ConstantScheduleConfig | LinearScheduleConfig | InverseSqrtScheduleConfig | CosineScheduleConfig,
    Field(discriminator="family"),
]


@dataclass(frozen=True, kw_only=True, config=_SETTINGS)
class OptimConfig:
    """How the weights move."""

    optimizer: OptimizerConfig = Field(default_factory=AdamConfig)
    """The optimizer and its learning rate."""
    schedule: ScheduleConfig = Field(default_factory=lambda: InverseSqrtScheduleConfig(warmup_steps=2000))
    """How the learning rate changes with the step."""
    max_grad_norm: Annotated[float, Field(gt=0)] | None = 1.0
    """The gradient of the loss per unit is scaled down to this norm where it is larger; null leaves it."""
    max_grad_value: Annotated[float, Field(gt=0)] | None = None
    """Each element of the gradient of the loss per unit is cut off at plus and minus this; null leaves it."""
    average_last: Annotated[int, Field(ge=0)] = 0
    """Average the weights of this many last checkpoints (taken every `training.save_every` steps); 0 is off."""
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Decay per step of an exponential moving average of the weights; 0 is off."""
    average_trigger: Annotated[int, Field(ge=0)] = 0
    """Average the weights of all further steps once the validation loss is above the best of those that lie more than
    this many validations back: the trigger of NT-ASGD (Merity et al. 2018), 5 there; 0 is off."""
    frozen_vectors: bool = False
    """Whether embeddings that started from word vectors stay as they are; all others are trained."""
