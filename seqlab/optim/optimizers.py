"""Optimizers of torch, from their configs."""

from collections.abc import Iterable
from itertools import compress

import torch
from torch import nn

from seqlab.optim.config import AdamConfig, AdamWConfig, MuonConfig, OptimizerConfig, RAdamConfig, SgdConfig
from seqlab.optim.muon import MuonAdamW


def build_optimizer(
    config: OptimizerConfig,
    parameters: Iterable[nn.Parameter],
    partly_frozen: Iterable[nn.Parameter] = (),
    hidden: Iterable[nn.Parameter] = (),
) -> torch.optim.Optimizer:
    """Build the optimizer; every parameter gets the same settings, but vectors and biases no weight decay.

    Nor do parameters that are `partly_frozen`: a gradient of 0 then leaves a row where it is. `hidden` are the matrices
    that Muon moves.
    """
    parameters, undecayed = list(parameters), {id(p) for p in partly_frozen}
    if isinstance(config, MuonConfig):
        matrices = {id(p) for p in hidden}
        moved = [p for p in parameters if id(p) in matrices]
        parameters = [p for p in parameters if id(p) not in matrices]
    decays = [p.dim() > 1 and id(p) not in undecayed for p in parameters]
    groups = [
        {"params": list(compress(parameters, decays)), "weight_decay": config.weight_decay},
        {"params": [p for p, does in zip(parameters, decays, strict=True) if not does], "weight_decay": 0.0},
    ]
    if isinstance(config, MuonConfig):
        return MuonAdamW(config, moved, groups)
    if isinstance(config, SgdConfig):
        return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum, nesterov=config.nesterov)
    if isinstance(config, AdamConfig):
        return torch.optim.Adam(groups, lr=config.lr, betas=config.betas, eps=config.eps, fused=True)
    if isinstance(config, AdamWConfig):
        return torch.optim.AdamW(groups, lr=config.lr, betas=config.betas, eps=config.eps, fused=True)
    assert isinstance(config, RAdamConfig)
    return torch.optim.RAdam(
        groups, lr=config.lr, betas=config.betas, eps=config.eps, decoupled_weight_decay=True, foreach=True
    )
