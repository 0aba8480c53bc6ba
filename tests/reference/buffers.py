"""Transformers with buffers (running statistics) that change their output."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from seqlab.models import Transformer
from seqlab.runs.config import Config
from seqlab.training import train


def add_buffers(set_attribute: Callable[[Any, str, Any], None] = setattr) -> None:
    """Make every Transformer count its training batches and add a running mean to its output."""
    init, forward = Transformer.__init__, Transformer.forward

    def init_with_buffers(self: Transformer, *arguments: Any, **options: Any) -> None:
        init(self, *arguments, **options)
        self.register_buffer("batches", torch.zeros((), dtype=torch.int64))
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("scratch", torch.zeros(3), persistent=False)

    def forward_with_buffers(self: Any, batch: Any) -> Any:
        if self.training:
            self.batches += 1
            self.mean.lerp_(batch.src.float().mean(), 0.1)
        output = forward(self, batch)
        return type(output)(output.hidden + 1e-3 * self.mean, *output[1:])

    set_attribute(Transformer, "__init__", init_with_buffers)
    set_attribute(Transformer, "forward", forward_with_buffers)


def train_with_buffers(configs: list[Config], run_dir: Path) -> str:
    """Train with each config in turn in one run folder, in a process whose Transformers have buffers."""
    add_buffers()
    for config in configs:
        train(config, run_dir)
    return str(run_dir)
