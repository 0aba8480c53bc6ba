"""Replay buffer, the last rows of named tensors, which checkpoints contain; target networks (Mnih et al. 2015).

Shapes: N rows.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


class ReplayBuffer(nn.Module):
    """Ring buffer of rows. Tensors of bytes store values from 0 to 1 in steps of 1/255, such as those of images."""

    num_added: Tensor

    def __init__(self, empty: Mapping[str, Tensor]) -> None:
        """`empty` has tensors of zeros with one row for each position in the buffer; their names become attributes."""
        super().__init__()
        self.names, self.size = tuple(empty), len(next(iter(empty.values())))
        for name, tensor in empty.items():
            self.register_buffer(name, tensor)
        self.register_buffer("num_added", torch.zeros((), dtype=torch.int64))

    def add(self, rows: Mapping[str, Tensor]) -> None:
        """Add rows in order; the oldest ones are overwritten."""
        count = len(rows[self.names[0]])
        kept = min(count, self.size)
        self.num_added += count
        positions = (torch.arange(-kept, 0, device=self.num_added.device) + self.num_added) % self.size
        for name in self.names:
            stored, new = getattr(self, name), rows[name][-kept:]
            stored[positions] = (new * 255).round().to(torch.uint8) if stored.dtype == torch.uint8 else new

    def draw(self, count: int, rng: np.random.Generator) -> dict[str, Tensor]:
        """Draw rows with replacement."""
        drawn = torch.from_numpy(rng.integers(min(int(self.num_added), self.size), size=count))
        positions = drawn.to(self.num_added.device)
        rows = {name: getattr(self, name)[positions] for name in self.names}
        return {name: values / 255 if values.dtype == torch.uint8 else values for name, values in rows.items()}


@torch.no_grad()
def update_target(target: Any, model: Any, decay: float) -> None:
    """Move the weights of a target network towards those of the current network."""
    for old, new in zip(target.state_dict().values(), model.state_dict().values(), strict=True):
        old.lerp_(new, 1 - decay) if old.is_floating_point() else old.copy_(new)
