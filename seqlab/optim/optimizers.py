"""Optimizers of torch, from their configs."""

from collections.abc import Iterable

import torch
from torch import nn

from seqlab.optim.config import AdamConfig, AdamWConfig, OptimizerConfig, RAdamConfig, SgdConfig


def build_optimizer(config: OptimizerConfig, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """Build the optimizer; every parameter gets the same settings, but vectors and biases no weight decay."""
    parameters = list(parameters)
    groups = [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
    ]
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
