"""The position-wise half of a Transformer layer."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqlab.nn.dropout import Dropout
from seqlab.nn.linear import Linear

Activation = Literal["relu", "gelu", "swiglu"]


def silu(x: Tensor) -> Tensor:
    """Compute x * sigmoid(x) so that no element depends on where in the batch it stands.

    torch's fp32 kernel rounds differently in the elements that are left over when it has filled its vectors.
    """
    return x / (1 + torch.exp(-x)) if x.dtype == torch.float32 else F.silu(x)


class FeedForward(nn.Module):
    """Two linear maps with a non-linearity between; `swiglu` gates one half by the other (Shazeer 2020)."""

    def __init__(self, d_model: int, d_ff: int, activation: Activation = "relu", dropout: float = 0.0) -> None:
        super().__init__()
        self.activation = activation
        self.expand = Linear(d_model, 2 * d_ff if activation == "swiglu" else d_ff)
        self.contract = Linear(d_ff, d_model)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """x (..., D) -> (..., D)."""
        hidden = self.expand(x)
        if self.activation == "relu":
            hidden = F.relu(hidden)
        elif self.activation == "gelu":
            hidden = F.gelu(hidden)
        else:
            gate, value = hidden.chunk(2, dim=-1)
            hidden = (F.silu(gate) if self.training else silu(gate)) * value
        return self.contract(self.dropout(hidden))
