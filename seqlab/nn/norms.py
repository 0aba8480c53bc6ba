"""What keeps the scale of hidden states: layer norm, or the root mean square alone."""

from typing import Literal

from torch import nn

NormKind = Literal["layer_norm", "rms_norm"]


def make_norm(kind: NormKind, d_model: int) -> nn.Module:
    """Build layer norm (Ba et al. 2016) or RMSNorm, which neither centres nor shifts (Zhang & Sennrich 2019)."""
    return nn.LayerNorm(d_model) if kind == "layer_norm" else nn.RMSNorm(d_model, eps=1e-6)
