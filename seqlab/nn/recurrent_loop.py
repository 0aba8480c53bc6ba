"""The tanh RNN over a whole sequence on the CPU, with the backward pass written out, and what it shares with the GRU.

torch fuses the LSTM's loop on the CPU, but not those of these two. What one step must compute is small: one product
with the recurrent weights, which are packed once for all steps, and few calls for all that is element by element. All
else is done for the whole sequence at once: the products with the input, and the gradients of the weights.

Shapes: T time, B batch (a multiple of 16 rows, see `linear`), I input size, H hidden size. Time comes first.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from seqlab.nn.linear import product

_PACK = getattr(torch.ops.mkldnn, "_reorder_linear_weight", None) if torch.backends.mkldnn.is_available() else None
_PACKED_DTYPES = (torch.float32, torch.bfloat16) if torch.cpu._is_avx512_bf16_supported() else (torch.float32,)


def repeated_product(weight: Tensor, rows: int) -> Callable[[Tensor, Tensor], Tensor]:
    """Prepare x W^T + added for many x (rows, K) and `added` (rows, N): weight (N, K).

    Else oneDNN packs the weight anew at each call, which takes as long as the product with 32 rows. The operators are
    private to torch (see `linear.product`).
    """
    if _PACK is None or weight.dtype not in _PACKED_DTYPES:
        transposed = weight.t()
        return lambda x, added: torch.addmm(added, x, transposed)
    packed, multiply = _PACK(weight, rows), torch.ops.mkldnn._linear_pointwise.binary
    return lambda x, added: multiply(x, added, packed, None, "add")


def project(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Compute x W^T + b at all times at once: (T, B, K) -> (T, B, N)."""
    return product(x.flatten(0, 1), weight, bias).view(*x.shape[:2], -1)


def begin(start: Tensor, steps: int, dtype: torch.dtype) -> Tensor:
    """Make room for the hidden states (T + 1, B, H), the first of which is given."""
    hidden = start.new_empty(steps + 1, *start.shape, dtype=dtype)
    hidden[0] = start
    return hidden


def accumulated(grad: Tensor, inputs: Tensor) -> Tensor:
    """Give the gradient of a weight, summed over all times: grad (T, B, N), inputs (T, B, K) -> (N, K)."""
    return product(grad.flatten(0, 1).t(), inputs.flatten(0, 1).t())


class _TanhLoop(torch.autograd.Function):
    """h' = tanh(W x + b + U h), whose gradient needs nothing but h'."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, w_in: Tensor, bias: Tensor, w_hidden: Tensor, start: Tensor, dtype: torch.dtype
    ) -> Tensor:
        ctx.dtypes = x.dtype, w_in.dtype, start.dtype
        x, w_in, w_hidden = x.to(dtype), w_in.to(dtype), w_hidden.to(dtype)
        hidden = _tanh_hidden(x, w_in, bias.to(dtype), w_hidden, start)
        ctx.save_for_backward(x, w_in, w_hidden, hidden)
        return hidden[1:]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, w_in, w_hidden, hidden = ctx.saved_tensors
        x_dtype, w_dtype, start_dtype = ctx.dtypes
        slopes = torch.addcmul(hidden.new_ones(()), hidden[1:], hidden[1:], value=-1)
        grad_out = grads[0].to(x.dtype).contiguous()
        add_back = repeated_product(w_hidden.t().contiguous(), hidden.size(1))
        grad = torch.empty_like(grad_out)  # before the tanh
        grad_hidden = grad_out[-1]
        of_earlier = (torch.zeros_like(grad_hidden), *grad_out.unbind(0))
        times = zip(slopes.unbind(0), grad.unbind(0), of_earlier, strict=False)
        for slope, grad_step, earlier in reversed(list(times)):
            torch.mul(grad_hidden, slope, out=grad_step)
            grad_hidden = add_back(grad_step, earlier)
        of_parameters = (accumulated(grad, x), grad.flatten(0, 1).sum(0), accumulated(grad, hidden[:-1]))
        grad_x = project(grad, w_in.t()).to(x_dtype) if ctx.needs_input_grad[0] else None
        return grad_x, *(each.to(w_dtype) for each in of_parameters), grad_hidden.to(start_dtype), None


def _tanh_hidden(x: Tensor, w_in: Tensor, bias: Tensor, w_hidden: Tensor, start: Tensor) -> Tensor:
    """Give all hidden states (T + 1, B, H), the one at the start counted; all weights are in the dtype of x."""
    hidden = begin(start, x.size(0), x.dtype)
    add_hidden = repeated_product(w_hidden, x.size(1))
    states = hidden.unbind(0)
    for before, after, from_input in zip(states, states[1:], project(x, w_in, bias).unbind(0), strict=False):
        torch.tanh(add_hidden(before, from_input), out=after)
    return hidden


def tanh_loop(x: Tensor, w_in: Tensor, bias: Tensor, w_hidden: Tensor, start: Tensor, dtype: torch.dtype) -> Tensor:
    """Run a tanh RNN: x (T, B, I), w_in (H, I), bias (H,), w_hidden (H, H), start (B, H) -> (T, B, H) in `dtype`."""
    if not torch.is_grad_enabled():
        return _tanh_hidden(x.to(dtype), w_in.to(dtype), bias.to(dtype), w_hidden.to(dtype), start)[1:]
    outputs: Tensor = _TanhLoop.apply(x, w_in, bias, w_hidden, start, dtype)
    return outputs
