"""Non-linearities by their names, and the initial weights that suit them."""

from typing import Literal

from torch import nn

Nonlinearity = Literal["relu", "gelu", "tanh", "sigmoid", "hard_sigmoid"]


def make_nonlinearity(name: Nonlinearity) -> nn.Module:
    """Build what is applied to each element."""
    kinds: dict[str, type[nn.Module]] = {
        "relu": nn.ReLU,
        "gelu": nn.GELU,
        "tanh": nn.Tanh,
        "sigmoid": nn.Sigmoid,
        "hard_sigmoid": nn.Hardsigmoid,  # 0 below -3, 1 above 3, a straight line between
    }
    found = kinds[name]()
    return found


def initialise_before(layer: nn.Linear | nn.Conv1d | nn.Conv2d, name: Nonlinearity) -> None:
    """Draw weights so that the variance of activations stays about the same from layer to layer; biases are 0.

    He et al. 2015 (arXiv:1502.01852) for those that drop negative values, Glorot & Bengio 2010 for the others.
    """
    if name in ("relu", "gelu"):
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    else:
        nn.init.xavier_uniform_(layer.weight, gain=5 / 3 if name == "tanh" else 1.0)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
