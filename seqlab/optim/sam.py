"""Sharpness-aware minimization (SAM; Foret et al. 2021): use the gradient at nearby weights with a higher loss."""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

from seqlab.base.bounds import Positive
from seqlab.base.config_class import dataclass
from seqlab.optim.optimizers import SETTINGS, AdamLikeConfig, Parameters


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class SamConfig(AdamLikeConfig):
    """Sharpness-aware minimization with AdamW: two gradients per step (Foret et al. 2021, arXiv:2010.01412)."""

    family: Literal["sam"] = "sam"
    """Name of the optimizer."""
    rho: Positive = 0.05
    """Distance from the weights, as the norm over all of them, at which the second gradient is computed."""

    def build(self, parameters: Parameters) -> torch.optim.Optimizer:
        """Build AdamW with a second gradient per step."""
        groups = parameters.groups(self.weight_decay)
        return Sam(groups, rho=self.rho, lr=self.lr, betas=self.betas, eps=self.eps, fused=True)


class Sam(torch.optim.AdamW):
    """`torch.optim.AdamW` with gradients at perturbed weights; implements `MultiGradientOptimizer`."""

    def __init__(self, groups: Any, *, rho: float, **options: Any) -> None:
        super().__init__(groups, **options)
        self.rho = rho

    def update(self, closure: Callable[[], Tensor]) -> None:
        """Update the weights with the gradient at a distance of `rho` along the current gradient."""
        norm = closure()
        perturbed = [p for group in self.param_groups for p in group["params"] if p.grad is not None]
        original = [p.detach().clone() for p in perturbed]
        try:
            with torch.no_grad():
                for p in perturbed:
                    p.addcmul_(p.grad, (self.rho / (norm + 1e-12)).to(p))
            closure()
        finally:
            with torch.no_grad():
                for p, value in zip(perturbed, original, strict=True):
                    p.copy_(value)
        self.step()
