"""Muon for the matrices of linear layers, combined with AdamW for all other parameters in one optimizer."""

from collections.abc import Iterable
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from seqlab.base.config_class import dataclass
from seqlab.optim.optimizers import SETTINGS, AdamLikeConfig, Beta, Parameters

HAS_BF16: bool = torch.cpu.get_capabilities().get("avx512_bf16", False)
"""Whether the CPU has bf16 instructions."""


def hidden_matrices(module: nn.Module) -> list[nn.Parameter]:
    """List the weights of all linear layers; embeddings and vocabulary projections are not included."""
    return [cast(nn.Parameter, part.weight) for part in module.modules() if isinstance(part, nn.Linear)]


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class MuonConfig(AdamLikeConfig):
    """Muon (Jordan et al. 2024) for matrices of linear layers, AdamW for embeddings, biases and norms."""

    family: Literal["muon"] = "muon"
    """Name of the optimizer."""
    momentum: Beta = 0.95
    """Momentum of Muon: decay per step of the average gradient, which is orthogonalized in each step."""

    def build(self, parameters: Parameters) -> torch.optim.Optimizer:
        """Build Muon for the matrices of linear layers and AdamW for all other parameters."""
        matrices = parameters.take_hidden_matrices()
        return MuonAdamW(self, matrices, parameters.groups(self.weight_decay))


class Fp32Muon(torch.optim.Muon):
    """`torch.optim.Muon` with fp32 matrix products on CPUs without bf16 instructions.

    torch always uses bf16, which takes 30 to 60 times as long on such a CPU.
    """

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Update all matrices by their gradients."""
        if any(p.is_cuda or HAS_BF16 for group in self.param_groups for p in group["params"]):
            super().step()
            return
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["momentum_buffer"] = torch.zeros_like(p.grad)
                velocity = state["momentum_buffer"].lerp_(p.grad, 1 - group["momentum"])
                update = orthogonalize(p.grad.lerp(velocity, group["momentum"]), group["ns_coefficients"])
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_(update, alpha=-group["lr"] * 0.2 * max(p.shape) ** 0.5)


def orthogonalize(matrix: Tensor, coefficients: tuple[float, float, float]) -> Tensor:
    """Move the singular values of a matrix close to 1 by five Newton-Schulz iterations (Jordan et al. 2024)."""
    a, b, c = coefficients
    x = matrix.mT if matrix.size(0) > matrix.size(1) else matrix
    x = x / x.norm().clamp_min(1e-7)
    for _ in range(5):
        gram = x @ x.mT
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if matrix.size(0) > matrix.size(1) else x


class MuonAdamW(torch.optim.Optimizer):
    """`torch.optim.Muon` and `torch.optim.AdamW` for the parameters of one model, with one learning rate.

    Muon's updates are scaled to the RMS of AdamW's updates (Liu et al. 2025, arXiv:2502.16982).
    """

    def __init__(self, config: MuonConfig, matrices: list[nn.Parameter], groups: Iterable[dict[str, Any]]) -> None:
        self.muon = Fp32Muon(
            [{"params": matrices}],
            lr=config.lr,
            weight_decay=config.weight_decay,
            momentum=config.momentum,
            adjust_lr_fn="match_rms_adamw",
        )
        self.adamw = torch.optim.AdamW(list(groups), lr=config.lr, betas=config.betas, eps=config.eps, fused=True)
        super().__init__([*self.muon.param_groups, *self.adamw.param_groups], {})
        self._share()

    def _share(self) -> None:
        """Make both optimizers use the parameter groups and the state of this one."""
        self.muon.param_groups, self.adamw.param_groups = self.param_groups[:1], self.param_groups[1:]
        self.muon.state = self.adamw.state = self.state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state that `state_dict` returned."""
        super().load_state_dict(state_dict)
        self._share()

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Update all parameters by their gradients."""
        self.muon.step()
        self.adamw.step()
