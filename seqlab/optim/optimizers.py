"""Optimizers of torch: the config of each, which builds it."""

from collections.abc import Callable, Iterable
from typing import Annotated, Any, ClassVar, Literal, Protocol, runtime_checkable

import torch
from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from seqlab.base.bounds import NonNegative, Positive
from seqlab.part import Part

SETTINGS = ConfigDict(extra="forbid", use_attribute_docstrings=True)
LearningRate = Positive
Beta = Annotated[float, Field(ge=0, lt=1)]


class Parameters:
    """What an optimizer moves: vectors and biases get no weight decay, and some matrices may be moved otherwise."""

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        partly_frozen: Iterable[nn.Parameter] = (),
        hidden_matrices: Iterable[nn.Parameter] = (),
    ) -> None:
        """Parameters that are `partly_frozen` get no weight decay either: a gradient of 0 then leaves a row alone."""
        self.all = list(parameters)
        self._undecayed, self._hidden = {id(p) for p in partly_frozen}, {id(p) for p in hidden_matrices}

    def take_hidden_matrices(self) -> list[nn.Parameter]:
        """Take the weights of the linear layers out, for an optimizer that moves them in a way of their own."""
        taken = [p for p in self.all if id(p) in self._hidden]
        self.all = [p for p in self.all if id(p) not in self._hidden]
        return taken

    def groups(self, weight_decay: float) -> list[dict[str, Any]]:
        """Give torch's parameter groups: with weight decay, and without."""
        decays = [p.dim() > 1 and id(p) not in self._undecayed for p in self.all]
        return [
            {"params": [p for p, does in zip(self.all, decays, strict=True) if does], "weight_decay": weight_decay},
            {"params": [p for p, does in zip(self.all, decays, strict=True) if not does], "weight_decay": 0.0},
        ]


@runtime_checkable
class MultiGradientOptimizer(Protocol):
    """An optimizer that needs several gradients per update, or gradients at other weights."""

    def update(self, closure: Callable[[], Tensor]) -> None:
        """Move the weights, in the place of `step`.

        `closure` computes the gradient of the loss per unit at the present weights over the batches of the step, with
        the same dropout at each call; leaves it in the parameters, clipped; and returns its norm (), after clipping.
        Where it raises an error, the weights must be left as they were before the update.
        """
        ...


@runtime_checkable
class HasEvaluationWeights(Protocol):
    """An optimizer that evaluates with other weights than it takes the gradient at."""

    def evaluation_weight(self, parameter: Tensor) -> Tensor:
        """Return what a parameter is evaluated with."""
        ...


class OptimizerConfig(Part):
    """The base of each optimizer's config."""

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
    """Which optimizer this is."""
    lr: LearningRate = 0.1
    """Peak learning rate."""
    momentum: Beta = 0.9
    """Decay of the velocity; 0 turns momentum off."""
    nesterov: bool = False
    """Whether the gradient is taken ahead of the momentum step."""
    weight_decay: NonNegative = 0.0
    """Factor of the weights that is added to the gradient."""

    @model_validator(mode="after")
    def _check(self) -> "SgdConfig":
        if self.nesterov and self.momentum == 0:
            raise ValueError("`nesterov` needs a `momentum` above 0, but it is 0.")
        return self

    def build(self, parameters: Parameters) -> torch.optim.Optimizer:
        """Build `torch.optim.SGD`, on a GPU the fused one, which does not wait to know whether an update is finite."""
        groups, is_fused = parameters.groups(self.weight_decay), any(p.is_cuda for p in parameters.all)
        return torch.optim.SGD(groups, lr=self.lr, momentum=self.momentum, nesterov=self.nesterov, fused=is_fused)


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class AdamLikeConfig(OptimizerConfig):
    """The fields that Adam and its relatives have in common."""

    lr: LearningRate = 1e-3
    """Peak learning rate."""
    betas: tuple[Beta, Beta] = (0.9, 0.98)
    """Decay of the averages of the gradient and of its square."""
    eps: Positive = 1e-8
    """Added to the root of the second average."""
    weight_decay: NonNegative = 0.0
    """Added to the gradient times the weights (Adam), or taken from the weights directly (AdamW, RAdam)."""


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class AdamConfig(AdamLikeConfig):
    """Adam (Kingma & Ba 2015)."""

    family: Literal["adam"] = "adam"
    """Which optimizer this is."""

    def build(self, parameters: Parameters) -> torch.optim.Optimizer:
        """Build `torch.optim.Adam`."""
        groups = parameters.groups(self.weight_decay)
        return torch.optim.Adam(groups, lr=self.lr, betas=self.betas, eps=self.eps, fused=True)


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class AdamWConfig(AdamLikeConfig):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019)."""

    family: Literal["adamw"] = "adamw"
    """Which optimizer this is."""

    def build(self, parameters: Parameters) -> torch.optim.Optimizer:
        """Build `torch.optim.AdamW`."""
        groups = parameters.groups(self.weight_decay)
        return torch.optim.AdamW(groups, lr=self.lr, betas=self.betas, eps=self.eps, fused=True)


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class RAdamConfig(AdamLikeConfig):
    """Rectified Adam (Liu et al. 2020), with decoupled weight decay."""

    family: Literal["radam"] = "radam"
    """Which optimizer this is."""

    def build(self, parameters: Parameters) -> torch.optim.Optimizer:
        """Build `torch.optim.RAdam`."""
        groups = parameters.groups(self.weight_decay)
        return torch.optim.RAdam(
            groups, lr=self.lr, betas=self.betas, eps=self.eps, decoupled_weight_decay=True, foreach=True
        )


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class AdagradConfig(OptimizerConfig):
    """Adagrad (Duchi et al. 2011): steps shrink with the sum of all squared gradients."""

    family: Literal["adagrad"] = "adagrad"
    """Which optimizer this is."""
    lr: LearningRate = 1e-2
    """Peak learning rate."""
    eps: Positive = 1e-10
    """Added to the root of the sum of the squared gradients."""
    weight_decay: NonNegative = 0.0
    """Factor of the weights that is added to the gradient."""

    def build(self, parameters: Parameters) -> torch.optim.Optimizer:
        """Build `torch.optim.Adagrad`."""
        return torch.optim.Adagrad(parameters.groups(self.weight_decay), lr=self.lr, eps=self.eps)


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class RmspropConfig(OptimizerConfig):
    """RMSProp (Tieleman & Hinton 2012): steps shrink with a moving average of the squared gradients."""

    family: Literal["rmsprop"] = "rmsprop"
    """Which optimizer this is."""
    lr: LearningRate = 1e-3
    """Peak learning rate."""
    decay: Beta = 0.99
    """Decay of the average of the squared gradients."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Decay of the velocity; 0 for none."""
    eps: Positive = 1e-8
    """Added to the root of the average."""
    weight_decay: NonNegative = 0.0
    """Factor of the weights that is added to the gradient."""

    def build(self, parameters: Parameters) -> torch.optim.Optimizer:
        """Build `torch.optim.RMSprop`."""
        groups = parameters.groups(self.weight_decay)
        return torch.optim.RMSprop(groups, lr=self.lr, alpha=self.decay, momentum=self.momentum, eps=self.eps)
