"""Replay buffer: the last rows of named tensors, which checkpoints contain (Mnih et al. 2015).

Shapes: N rows.
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn


class ReplayBuffer(nn.Module):
    """Ring buffer of rows."""

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
            getattr(self, name)[positions] = rows[name][-kept:]

    def draw(self, count: int, rng: np.random.Generator) -> dict[str, Tensor]:
        """Draw rows with replacement."""
        drawn = torch.from_numpy(rng.integers(min(int(self.num_added), self.size), size=count))
        positions = drawn.to(self.num_added.device)
        return {name: getattr(self, name)[positions] for name in self.names}
