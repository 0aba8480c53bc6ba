"""The tanh RNN over a whole sequence on the CPU, with the backward pass written out, and what all such loops share.

What one step must compute is small: one product with the recurrent weights, which are packed once for all steps, and
few calls for all that is element by element. All else is done for the whole sequence at once: the products with the
input, and the gradients of the weights.

Shapes: T time, B batch (a size of `padded_rows`), I input size, H hidden size, N all gates' sums. Time
comes first. Products run in the dtype of x and of the weights; states are in fp32 at least.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from seqlab.nn.first_order import first_order
from seqlab.nn.linear import pack, product

CHUNK_ELEMENTS = 32768


class Weights(NamedTuple):
    """The weights of one layer."""

    w_in: Tensor
    """(N, I)"""
    w_hidden: Tensor
    """(N, H)"""
    bias: Tensor
    """(N,)"""


def repeated_product(weight: Tensor, rows: int) -> Callable[[Tensor, Tensor], Tensor]:
    """Prepare x W^T + added for many x (rows, K) and `added` (rows, N): weight (N, K).

    The weight is packed once (see `linear.pack`).
    """
    packed = pack(weight, rows)
    if packed is None:
        transposed = weight.t()
        return lambda x, added: torch.addmm(added, x, transposed)
    multiply = torch.ops.mkldnn._linear_pointwise.binary
    return lambda x, added: multiply(x, added, packed, None, "add")


def project(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Compute x W^T + b at all times at once: (T, B, K) -> (T, B, N)."""
    return product(x.flatten(0, 1), weight, bias).view(*x.shape[:2], -1)


def accumulated(grad: Tensor, inputs: Tensor) -> Tensor:
    """Give the gradient of a weight, summed over all times: grad (T, B, N), inputs (T, B, K) -> (N, K)."""
    return product(grad.flatten(0, 1).t(), inputs.flatten(0, 1).t())


def begin(start: Tensor, steps: int, dtype: torch.dtype) -> Tensor:
    """Make room for states (T + 1, B, H), the first of which is given."""
    states = start.new_empty(steps + 1, *start.shape, dtype=dtype)
    states[0] = start
    return states


def chunks_from_the_end(steps: int, elements: int) -> Iterator[slice]:
    """Part the steps, of so many hidden units each, into pieces that a backward pass prepares by one call.

    This makes fewer calls, and leaves what one of them writes in the cache for the next.
    """
    chunk = max(1, CHUNK_ELEMENTS // elements)
    return (slice(start, min(steps, start + chunk)) for start in reversed(range(0, steps, chunk)))


def fast_tanh_(x: Tensor) -> Tensor:
    """Compute tanh(x) = 2 sigmoid(2 x) - 1 in place: in fp32 a third of the time of torch's, to 1e-7."""
    return x.mul_(2).sigmoid_().mul_(2).sub_(1)


class _TanhLoop(torch.autograd.Function):
    """h' = tanh(W x + b + U h), whose gradient needs nothing but h'."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w_in: Tensor, w_hidden: Tensor, bias: Tensor, start: Tensor) -> Tensor:
        hidden = _tanh_hidden(x, Weights(w_in, w_hidden, bias), start)
        ctx.save_for_backward(x, w_in, w_hidden, hidden)
        ctx.start_dtype = start.dtype
        return hidden[1:]

    @staticmethod
    @first_order
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, w_in, w_hidden, hidden = ctx.saved_tensors
        slopes = torch.addcmul(hidden.new_ones(()), hidden[1:], hidden[1:], value=-1)
        grad_out = grads[0].contiguous()
        add_back = repeated_product(w_hidden.t().contiguous(), hidden.size(1))
        grad = torch.empty_like(grad_out)  # before the tanh
        grad_hidden = grad_out[-1]
        of_earlier = (torch.zeros_like(grad_hidden), *grad_out[:-1].unbind(0))
        times = zip(slopes.unbind(0), grad.unbind(0), of_earlier, strict=True)
        for slope, grad_step, earlier in reversed(list(times)):
            torch.mul(grad_hidden, slope, out=grad_step)
            grad_hidden = add_back(grad_step, earlier)
        grad_x = project(grad, w_in.t()) if ctx.needs_input_grad[0] else None
        grad_weights = (accumulated(grad, x), accumulated(grad, hidden[:-1]), grad.sum((0, 1)))
        return grad_x, *grad_weights, grad_hidden.to(ctx.start_dtype)


def _tanh_hidden(x: Tensor, weights: Weights, start: Tensor) -> Tensor:
    """Give all hidden states (T + 1, B, H), the one at the start counted."""
    hidden = begin(start, x.size(0), x.dtype)
    add_hidden = repeated_product(weights.w_hidden, x.size(1))
    states = hidden.unbind(0)
    from_input = project(x, weights.w_in, weights.bias).unbind(0)
    for before, after, added in zip(states[:-1], states[1:], from_input, strict=True):
        torch.tanh(add_hidden(before, added), out=after)
    return hidden


def tanh_loop(x: Tensor, weights: Weights, start: Tensor) -> Tensor:
    """Run a tanh RNN from `start` (B, H): x (T, B, I) -> (T, B, H) in the dtype of x.

    Without a gradient, a row's result does not depend on the other rows.
    """
    if not torch.is_grad_enabled():
        return _tanh_hidden(x, weights, start)[1:]
    outputs: Tensor = _TanhLoop.apply(x, *weights, start)
    return outputs
