"""Muon for the matrices of the layers, AdamW for all else, as one optimizer."""

from collections.abc import Iterable
from typing import Any, Literal, cast

import torch
from pydantic.dataclasses import dataclass
from torch import nn

from seqlab.optim.optimizers import SETTINGS, AdamLikeConfig, Beta, Parameters


def hidden_matrices(module: nn.Module) -> list[nn.Parameter]:
    """List the weights of all linear layers: no embeddings and no projections onto a vocabulary."""
    return [cast(nn.Parameter, part.weight) for part in module.modules() if isinstance(part, nn.Linear)]


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class MuonConfig(AdamLikeConfig):
    """Muon (Jordan et al. 2024) for the matrices of the layers, AdamW for embeddings, biases and norms."""

    family: Literal["muon"] = "muon"
    """Which optimizer this is."""
    momentum: Beta = 0.95
    """Decay of the velocity of the matrices, which Muon makes orthogonal before each step."""

    def build(self, parameters: Parameters) -> torch.optim.Optimizer:
        """Build Muon over the matrices of the layers and AdamW over the rest."""
        matrices = parameters.take_hidden_matrices()
        return MuonAdamW(self, matrices, parameters.groups(self.weight_decay))


class MuonAdamW(torch.optim.Optimizer):
    """`torch.optim.Muon` and `torch.optim.AdamW` over the parameters of one model, at one learning rate.

    Muon's updates are scaled to the size that AdamW's have (Liu et al. 2025, arXiv:2502.16982).
    """

    def __init__(self, config: MuonConfig, matrices: list[nn.Parameter], others: Iterable[dict[str, Any]]) -> None:
        self.muon = torch.optim.Muon(
            [{"params": matrices}],
            lr=config.lr,
            weight_decay=config.weight_decay,
            momentum=config.momentum,
            adjust_lr_fn="match_rms_adamw",
        )
        self.adamw = torch.optim.AdamW(list(others), lr=config.lr, betas=config.betas, eps=config.eps, fused=True)
        super().__init__([*self.muon.param_groups, *self.adamw.param_groups], {})
        self._share()

    def _share(self) -> None:
        """Let both work on the groups and the state of the whole."""
        self.muon.param_groups, self.adamw.param_groups = self.param_groups[:1], self.param_groups[1:]
        self.muon.state = self.adamw.state = self.state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        super().load_state_dict(state_dict)
        self._share()

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Move all parameters by their gradients."""
        self.muon.step()
        self.adamw.step()
