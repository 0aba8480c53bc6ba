"""Second derivatives: refused by hand-written backward passes, supported by the reference kernels."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from seqlab.nn.attention import SelfAttention
from seqlab.nn.cpu import linear as cpu_linear
from seqlab.nn.kernels import reference_kernels, repeated_linear
from seqlab.nn.layers import Linear
from seqlab.nn.projection import VocabularyProjection
from seqlab.nn.recurrent import Recurrent

SIZE = 16


def projection_loss(x: Tensor) -> Tensor:
    projection = VocabularyProjection(torch.nn.Parameter(torch.randn(5, SIZE)))
    return projection.cross_entropy(x.flatten(0, 1), torch.zeros(len(x) * x.size(1), dtype=torch.int64))[0]


def gru_outputs(x: Tensor) -> Tensor:
    output: Tensor = Recurrent("gru", SIZE, 8)(x).output
    return output


def apply_repeated_linear(x: Tensor) -> Tensor:
    multiply = repeated_linear(torch.nn.Parameter(torch.randn(SIZE, SIZE)))
    return multiply(torch.tanh(multiply(x.flatten(0, 1))))


LAYERS: dict[str, Callable[[Tensor], Tensor]] = {
    "linear": lambda x: Linear(SIZE, 3)(x),
    "projection": projection_loss,
    "attention": lambda x: SelfAttention(SIZE, 2)(x),
    "repeated linear": apply_repeated_linear,
    "gru": gru_outputs,
}


@pytest.mark.parametrize("reduction", [torch.sum, lambda y: y.square().sum()], ids=["sum", "square"])
@pytest.mark.parametrize("name", LAYERS)
def test_second_derivatives_are_refused(name: str, reduction: Callable[[Tensor], Tensor]) -> None:
    if name == "linear" and not cpu_linear._TRAINS_WITH_ONEDNN:
        return  # torch's own kernel is used
    torch.manual_seed(0)
    x = torch.randn(2, 4, SIZE, requires_grad=True)
    reduction(LAYERS[name](x)).backward()
    assert x.grad is not None, "first derivatives are supported"
    with pytest.raises(RuntimeError, match="second derivative"):
        torch.autograd.grad(reduction(LAYERS[name](x)), x, create_graph=True)
    with reference_kernels():
        torch.autograd.grad(reduction(LAYERS[name](x)), x, create_graph=True)
