"""Linear layer, dropout variants, norms, and activation functions with their weight initialization."""

from typing import Literal

import torch
from torch import Tensor, nn

from seqlab.nn import kernels


class Linear(nn.Linear):
    """`torch.nn.Linear` through `kernels.linear`."""

    def __init__(self, in_features: int, out_features: int, bias: bool = True, parts: int = 1) -> None:
        """`parts`: number of projections of equal size stacked in the weight; models initialize each separately."""
        super().__init__(in_features, out_features, bias)
        self.parts = parts

    def forward(self, x: Tensor) -> Tensor:
        """x (..., in_features) -> (..., out_features)."""
        return kernels.linear(x, self.weight, self.bias)


def check_dropout(p: float) -> float:
    """Return p; raise ValueError if it is above 0 but rounds to 0 on the CPU."""
    if p > 0 and round(p * 256) == 0:
        raise ValueError(
            f"A dropout probability of {p} drops nothing on the CPU, where it is rounded to a multiple of 1/256: the "
            f"nearest values that work are 0 and {1 / 256}."
        )
    return p


class Dropout(nn.Module):
    """`torch.nn.Dropout` through `kernels.dropout`."""

    def __init__(self, p: float) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"`p` must be in [0, 1), but is {p} instead.")
        self.p = check_dropout(p)

    def forward(self, x: Tensor) -> Tensor:
        """x of any shape; the identity in evaluation mode and for p = 0."""
        return kernels.dropout(x, self.p) if self.training and self.p > 0 else x

    def extra_repr(self) -> str:
        return f"p={self.p}"


class LockedDropout(Dropout):
    """Variational dropout: the same features are dropped at all positions of a sequence.

    Gal & Ghahramani 2016, arXiv:1512.05287.
    """

    def __init__(self, p: float, time_dim: int = 1) -> None:
        super().__init__(p)
        self.time_dim = time_dim

    def forward(self, x: Tensor) -> Tensor:
        """x (B, T, D), or (T, B, D) with `time_dim` 0; the identity in evaluation mode and for p = 0."""
        if not self.training or self.p == 0:
            return x
        shape = [1 if dim == self.time_dim else size for dim, size in enumerate(x.shape)]
        return x * kernels.dropout(x.new_ones(shape), self.p)


class EmbeddingDropout(nn.Module):
    """Embedding dropout: a dropped token is dropped at all of its occurrences in the batch.

    Gal & Ghahramani 2016; AWD-LSTM's `dropoute` (Merity et al. 2018, arXiv:1708.02182). The mask is applied to the
    embedded tokens, which avoids a copy of the embedding matrix.

    Raises:
        ValueError: p is not in [0, 1).
    """

    def __init__(self, p: float, vocab_size: int) -> None:
        super().__init__()
        self.dropout = Dropout(p)
        self.vocab_size = vocab_size

    def draw_mask(self, device: torch.device) -> Tensor | None:
        """Draw the scaled dropout mask of all tokens (V, 1); None in evaluation mode and for p = 0."""
        if not self.training or self.dropout.p == 0:
            return None
        return self.dropout(torch.ones(self.vocab_size, 1, device=device))

    def forward(self, embedded: Tensor, ids: Tensor) -> Tensor:
        """embedded (..., D) of ids (...) below `vocab_size` -> (..., D); the identity in evaluation and for p = 0."""
        mask = self.draw_mask(embedded.device)
        return embedded if mask is None else embedded * mask[ids]


NormKind = Literal["layer_norm", "rms_norm"]


def make_norm(kind: NormKind, d_model: int) -> nn.Module:
    """Build layer norm (Ba et al. 2016) or RMSNorm, without centering and bias (Zhang & Sennrich 2019)."""
    return nn.LayerNorm(d_model) if kind == "layer_norm" else nn.RMSNorm(d_model, eps=1e-6)


Nonlinearity = Literal["relu", "gelu", "tanh", "sigmoid", "hard_sigmoid"]


def make_nonlinearity(name: Nonlinearity) -> nn.Module:
    """Build an activation function by its name."""
    kinds: dict[str, type[nn.Module]] = {
        "relu": nn.ReLU,
        "gelu": nn.GELU,
        "tanh": nn.Tanh,
        "sigmoid": nn.Sigmoid,
        "hard_sigmoid": nn.Hardsigmoid,  # 0 below -3, 1 above 3, linear between
    }
    return kinds[name]()


def initialize_for(layer: nn.Linear | nn.Conv1d | nn.Conv2d, name: Nonlinearity) -> None:
    """Initialize the weights of a layer for the activation function after it; biases are 0.

    The variance of activations stays about the same from layer to layer: He et al. 2015 (arXiv:1502.01852) for `relu`
    and `gelu`, Glorot & Bengio 2010 for the others.
    """
    if name in ("relu", "gelu"):
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    else:
        nn.init.xavier_uniform_(layer.weight, gain=5 / 3 if name == "tanh" else 1.0)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
