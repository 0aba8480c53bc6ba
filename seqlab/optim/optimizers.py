"""Configs of torch's optimizers, and protocols of optimizers with several gradients or evaluation weights."""

from collections.abc import Callable, Iterable
from typing import Annotated, Any, ClassVar, Literal, Protocol, runtime_checkable

import torch
from pydantic import ConfigDict, Field, model_validator
from torch import Tensor, nn

from seqlab.base.bounds import NonNegative, Positive
from seqlab.base.config_class import dataclass
from seqlab.part import Part

SETTINGS = ConfigDict(extra="forbid", use_attribute_docstrings=True)
"""pydantic settings of the config dataclasses of optimizers and schedules."""
LearningRate = Positive
Beta = Annotated[float, Field(ge=0, lt=1)]


class Parameters:
    """Parameters for an optimizer, grouped by weight decay: vectors such as biases have no weight decay."""

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        partly_frozen: Iterable[nn.Parameter] = (),
        hidden_matrices: Iterable[nn.Parameter] = (),
    ) -> None:
        """Collect the parameters.

        `partly_frozen`: parameters with frozen rows; they have no weight decay, so a zero gradient leaves these rows
        unchanged. `hidden_matrices`: weights of linear layers, see `take_hidden_matrices`.
        """
        self.all = list(parameters)
        self._undecayed, self._hidden = {id(p) for p in partly_frozen}, {id(p) for p in hidden_matrices}

    def take_hidden_matrices(self) -> list[nn.Parameter]:
        """Remove and return the weights of linear layers, for an optimizer that treats them separately."""
        taken = [p for p in self.all if id(p) in self._hidden]
        self.all = [p for p in self.all if id(p) not in self._hidden]
        return taken

    def groups(self, weight_decay: float) -> list[dict[str, Any]]:
        """Return two parameter groups for torch: with and without weight decay."""
        decays = [p.dim() > 1 and id(p) not in self._undecayed for p in self.all]
        return [
            {"params": [p for p, decay in zip(self.all, decays, strict=True) if decay], "weight_decay": weight_decay},
            {"params": [p for p, decay in zip(self.all, decays, strict=True) if not decay], "weight_decay": 0.0},
        ]


@runtime_checkable
class MultiGradientOptimizer(Protocol):
    """Optimizer that needs several gradients per update, or gradients at other weights."""

    def update(self, closure: Callable[[], Tensor]) -> None:
        """Update the weights; called instead of `step`.

        `closure` computes the gradient of the mean loss per unit at the current weights, over all batches of the step.
        It uses the same dropout masks in each call, stores the clipped gradient in the parameters and returns its norm
        () after clipping. If it raises an error, the weights must be restored to their values before the update.
        """
        ...


@runtime_checkable
class HasEvaluationWeights(Protocol):
    """Optimizer with weights for evaluation that differ from those at which the gradient is computed."""

    def evaluation_weight(self, parameter: Tensor) -> Tensor:
        """Return the value of a parameter for evaluation."""
        ...


class OptimizerConfig(Part):
    """Base class of optimizer configs."""

    part_kind: ClassVar[str] = "optimizer"
    required_members: ClassVar[tuple[str, ...]] = ("build", "lr")
    family: str
    lr: float

    def build(self, parameters: Parameters) -> torch.optim.Optimizer:
        """Build the optimizer."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class SgdConfig(OptimizerConfig):
    """Stochastic gradient descent with momentum."""

    family: Literal["sgd"] = "sgd"
    """Name of the optimizer."""
    lr: LearningRate = 0.1
    """Peak learning rate."""
    momentum: Beta = 0.9
    """Decay of the accumulated gradient per step; 0 turns momentum off."""
    nesterov: bool = False
    """Whether to use Nesterov momentum; needs `momentum` above 0."""
    weight_decay: NonNegative = 0.0
    """Weight decay: this factor times the weights is added to the gradient."""

    @model_validator(mode="after")
    def _check(self) -> "SgdConfig":
        if self.nesterov and self.momentum == 0:
            raise ValueError("`nesterov` needs a `momentum` above 0, but it is 0.")
        return self

    def build(self, parameters: Parameters) -> torch.optim.Optimizer:
        """Build `torch.optim.SGD`; on a GPU fused, which checks that gradients are finite without a synchronization."""
        groups, is_fused = parameters.groups(self.weight_decay), any(p.is_cuda for p in parameters.all)
        return torch.optim.SGD(groups, lr=self.lr, momentum=self.momentum, nesterov=self.nesterov, fused=is_fused)


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class AdamLikeConfig(OptimizerConfig):
    """Common fields of Adam and its variants."""

    lr: LearningRate = 1e-3
    """Peak learning rate."""
    betas: tuple[Beta, Beta] = (0.9, 0.98)
    """Decay per step of the moving averages of the gradient and of its square."""
    eps: Positive = 1e-8
    """Added to the square root of the average squared gradient."""
    weight_decay: NonNegative = 0.0
    """Weight decay: `adam` adds it to the gradient as an L2 penalty; in all other variants it is decoupled from the
    gradient."""


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class AdamConfig(AdamLikeConfig):
    """Adam (Kingma & Ba 2015)."""

    family: Literal["adam"] = "adam"
    """Name of the optimizer."""

    def build(self, parameters: Parameters) -> torch.optim.Optimizer:
        """Build `torch.optim.Adam`."""
        groups = parameters.groups(self.weight_decay)
        return torch.optim.Adam(groups, lr=self.lr, betas=self.betas, eps=self.eps, fused=True)


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class AdamWConfig(AdamLikeConfig):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019)."""

    family: Literal["adamw"] = "adamw"
    """Name of the optimizer."""

    def build(self, parameters: Parameters) -> torch.optim.Optimizer:
        """Build `torch.optim.AdamW`."""
        groups = parameters.groups(self.weight_decay)
        return torch.optim.AdamW(groups, lr=self.lr, betas=self.betas, eps=self.eps, fused=True)


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class RAdamConfig(AdamLikeConfig):
    """Rectified Adam (Liu et al. 2020), with decoupled weight decay."""

    family: Literal["radam"] = "radam"
    """Name of the optimizer."""

    def build(self, parameters: Parameters) -> torch.optim.Optimizer:
        """Build `torch.optim.RAdam`."""
        groups = parameters.groups(self.weight_decay)
        return torch.optim.RAdam(
            groups, lr=self.lr, betas=self.betas, eps=self.eps, decoupled_weight_decay=True, foreach=True
        )


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class AdagradConfig(OptimizerConfig):
    """Adagrad (Duchi et al. 2011): steps are divided by the root of the sum of all squared gradients."""

    family: Literal["adagrad"] = "adagrad"
    """Name of the optimizer."""
    lr: LearningRate = 1e-2
    """Peak learning rate."""
    eps: Positive = 1e-10
    """Added to the square root of the sum of squared gradients."""
    weight_decay: NonNegative = 0.0
    """Weight decay: this factor times the weights is added to the gradient."""

    def build(self, parameters: Parameters) -> torch.optim.Optimizer:
        """Build `torch.optim.Adagrad`."""
        return torch.optim.Adagrad(parameters.groups(self.weight_decay), lr=self.lr, eps=self.eps)


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class RmspropConfig(OptimizerConfig):
    """RMSProp (Tieleman & Hinton 2012): steps are divided by the root of a moving average of squared gradients."""

    family: Literal["rmsprop"] = "rmsprop"
    """Name of the optimizer."""
    lr: LearningRate = 1e-3
    """Peak learning rate."""
    decay: Beta = 0.99
    """Decay per step of the average squared gradient."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Decay of the accumulated gradient per step; 0 turns momentum off."""
    eps: Positive = 1e-8
    """Added to the square root of the average squared gradient."""
    weight_decay: NonNegative = 0.0
    """Weight decay: this factor times the weights is added to the gradient."""

    def build(self, parameters: Parameters) -> torch.optim.Optimizer:
        """Build `torch.optim.RMSprop`."""
        groups = parameters.groups(self.weight_decay)
        return torch.optim.RMSprop(groups, lr=self.lr, alpha=self.decay, momentum=self.momentum, eps=self.eps)
