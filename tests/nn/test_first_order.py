"""Every backward pass written by hand refuses to be differentiated again, whatever the loss ends in."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from seqlab.nn.attention import SelfAttention
from seqlab.nn.causal_attention import causal_attention
from seqlab.nn.explicit_attention import explicit_attention
from seqlab.nn.feed_forward import FeedForward
from seqlab.nn.linear import Linear
from seqlab.nn.norms import make_norm
from seqlab.nn.projection import VocabularyProjection
from seqlab.nn.recurrent import Recurrent

SIZE = 16


def project(x: Tensor) -> Tensor:
    projection = VocabularyProjection(torch.nn.Parameter(torch.randn(5, SIZE)))
    return projection.cross_entropy(x.flatten(0, 1), torch.zeros(len(x) * x.size(1), dtype=torch.int64))[0]


def attend(x: Tensor) -> Tensor:
    heads = x[:, None]
    return explicit_attention(heads, heads, heads, None, 0.0, torch.float32)[0]


def attend_causally(x: Tensor) -> Tensor:
    return causal_attention(x.repeat(1, 16, 3).bfloat16(), 1, None).float()


def recur(kind: str, dtype: torch.dtype = torch.float32) -> Callable[[Tensor], Tensor]:
    def read(x: Tensor) -> Tensor:
        stack = Recurrent(kind, SIZE, 512, 1)  # type: ignore[arg-type]
        with torch.autocast("cpu", dtype, enabled=dtype == torch.bfloat16):
            return stack(x).output.float()

    return read


LAYERS: dict[str, Callable[[Tensor], Tensor]] = {
    "linear": lambda x: Linear(SIZE, 3)(x),
    "relu": lambda x: FeedForward(SIZE, 32)(x),
    "norm": lambda x: make_norm("rms_norm", SIZE)(x),
    "projection": project,
    "attention": attend,
    "self-attention": lambda x: SelfAttention(SIZE, 2)(x, is_causal=True),
    "causal attention": attend_causally,
    "rnn": recur("rnn"),
    "gru": recur("gru"),
    "lstm": recur("lstm", torch.bfloat16),
}


@pytest.mark.parametrize("ending", [torch.sum, lambda y: y.square().sum()], ids=["sum", "square"])
@pytest.mark.parametrize("name", LAYERS)
def test_a_second_derivative_is_refused(name: str, ending: Callable[[Tensor], Tensor]) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 4, SIZE, requires_grad=True)
    ending(LAYERS[name](x)).backward()
    assert x.grad is not None, "a first one is not"
    with pytest.raises(RuntimeError, match="second derivative"):
        torch.autograd.grad(ending(LAYERS[name](x)), x, create_graph=True)
