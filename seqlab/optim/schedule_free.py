"""Schedule-free AdamW, which averages the iterates instead of decaying the learning rate (Defazio et al. 2024)."""

from typing import Any, Literal

import torch
from torch import Tensor

from seqlab.base.config_class import dataclass
from seqlab.optim.optimizers import SETTINGS, AdamLikeConfig, Parameters


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class ScheduleFreeConfig(AdamLikeConfig):
    """Schedule-free AdamW (Defazio et al. 2024, arXiv:2405.15682): evaluation uses the average weights of all steps.

    Use it with a constant learning rate after the warmup.
    """

    family: Literal["schedule_free"] = "schedule_free"
    """Name of the optimizer."""

    def build(self, parameters: Parameters) -> torch.optim.Optimizer:
        """Build the optimizer."""
        return ScheduleFreeAdamW(parameters.groups(self.weight_decay), lr=self.lr, betas=self.betas, eps=self.eps)


class ScheduleFreeAdamW(torch.optim.Optimizer):
    """Schedule-free AdamW (Defazio et al. 2024, arXiv:2405.15682).

    The gradient g is computed at y = (1 - beta1) z + beta1 x, the value of the parameters. Evaluation uses x, the
    weighted average of z.

        z <- z - lr (g / (sqrt(v) + eps) + weight_decay y)        x <- (1 - c) x + c z,  c = lr^2 / sum of all lr^2

    v is Adam's bias-corrected average of squared gradients.
    """

    def __init__(self, groups: Any, lr: float, betas: tuple[float, float], eps: float) -> None:
        super().__init__(groups, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": 0.0})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Update all parameters by their gradients."""
        for group in self.param_groups:
            (beta1, beta2), lr = group["betas"], group["lr"]
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state |= {"z": p.detach().clone(), "x": p.detach().clone(), "square": torch.zeros_like(p)}
                    state |= {"step": torch.zeros(()), "total": torch.zeros((), dtype=p.dtype)}
                state["step"] += 1
                state["total"] += lr**2
                state["square"].mul_(beta2).addcmul_(p.grad, p.grad, value=1 - beta2)
                unbiased = state["square"] / (1 - beta2 ** float(state["step"]))
                direction = p.grad / (unbiased.sqrt() + group["eps"]) + group["weight_decay"] * p
                state["z"].sub_(direction, alpha=lr)
                total = float(state["total"])
                state["x"].lerp_(state["z"], lr**2 / total if total else 0.0)
                p.copy_(state["z"].lerp(state["x"], beta1))

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state that `state_dict` returned; scalars stay in CPU memory, because each step reads them."""
        super().load_state_dict(state_dict)
        for state in self.state.values():
            state |= {name: state[name].cpu() for name in ("step", "total")}

    def evaluation_weight(self, parameter: Tensor) -> Tensor:
        """Return the value of a parameter for evaluation."""
        state = self.state.get(parameter)
        return state["x"] if state else parameter
