"""The GRU over a whole sequence on the CPU, with the backward pass written out (see `recurrent_loop`).

With reset gate r, update gate z and candidate n (Cho et al. 2014, arXiv:1406.1078; the variant of cuDNN and torch.nn,
which resets what comes out of the recurrent product, so that one product does for all three):

    r, z = sigmoid(W x + b + U h)        n = tanh(W_n x + b_n + r * (U_n h + c_n))        h' = n + z * (h - n)

Shapes: T time, B batch (a size of `padded_rows`), I input size, H hidden size. Time comes first; gates come as r, z, n.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from seqlab.nn.first_order import first_order
from seqlab.nn.recurrent_loop import (
    Weights,
    accumulated,
    begin,
    chunks_from_the_end,
    fast_tanh_,
    project,
    repeated_product,
)
from seqlab.nn.steady import steady_sigmoid_


class _Passed(NamedTuple):
    """What the backward pass needs of the forward pass. Hidden states add up over time, so they are kept in fp32."""

    hidden: Tensor
    """(T + 1, B, H), in fp32 at least; the first is the start."""
    read: Tensor
    """(T + 1, B, H): the same as the products read it, which is also what the loop gives."""
    sums: Tensor
    """(T, B, 3H): W x + b + U h for r and z, U_n h + c_n for n."""
    candidates: Tensor
    """(T, B, H): W_n x + b_n, in fp32 at least."""


def _run(x: Tensor, weights: Weights, candidate_bias: Tensor, start: Tensor, is_steady: bool) -> _Passed:
    steps, batch, size = x.size(0), *start.shape
    sums = project(x, weights.w_in, weights.bias)
    candidates = sums[..., 2 * size :].to(start.dtype, copy=True)
    sums[..., 2 * size :] = candidate_bias
    hidden = begin(start, steps, start.dtype)
    read = hidden if x.dtype == start.dtype else begin(start, steps, x.dtype)
    add_hidden = repeated_product(weights.w_hidden, batch)
    sigmoid_, tanh_ = (steady_sigmoid_, torch.tanh_) if is_steady else (torch.sigmoid_, fast_tanh_)
    gates = hidden.new_empty(batch, 3 * size)
    reset_and_update, candidate = gates[:, : 2 * size], hidden.new_empty(batch, size)
    reset, update, from_hidden = gates.chunk(3, dim=1)
    states, rows = hidden.unbind(0), read.unbind(0)
    for t, (total, from_input) in enumerate(zip(sums.unbind(0), candidates.unbind(0), strict=True)):
        gates.copy_(total.copy_(add_hidden(rows[t], total)))
        sigmoid_(reset_and_update)
        tanh_(torch.addcmul(from_input, reset, from_hidden, out=candidate))
        torch.lerp(candidate, states[t], update, out=states[t + 1])
        rows[t + 1].copy_(states[t + 1])
    return _Passed(hidden, read, sums, candidates)


class _Factors(NamedTuple):
    """What the gradient of h' is multiplied by at each of some steps."""

    to_sums: Tensor
    """(steps, B, 3, H)"""
    to_candidates: Tensor
    """(steps, B, H)"""
    to_hidden: Tensor
    """(steps, B, H): z, for the path that goes past the products."""


def _factors(sums: Tensor, candidates: Tensor, before: Tensor) -> _Factors:
    """Differentiate h' at some steps: sums (steps, B, 3H), candidates and hidden states before (steps, B, H)."""
    size = before.size(-1)
    gates = sums.to(before.dtype, copy=True)
    gates[..., : 2 * size].sigmoid_()
    reset, update, from_hidden = gates.chunk(3, dim=-1)
    n = fast_tanh_(torch.addcmul(candidates, reset, from_hidden))
    to_sums = torch.addcmul(gates, gates, gates, value=-1)  # the slopes of r and z
    to_reset, to_update, to_from_hidden = to_sums.chunk(3, dim=-1)
    to_candidates = torch.addcmul(n.new_ones(()), n, n, value=-1)
    to_candidates.addcmul_(to_candidates, update, value=-1)
    to_reset.mul_(from_hidden).mul_(to_candidates)
    to_update.mul_(before - n)
    torch.mul(to_candidates, reset, out=to_from_hidden)
    return _Factors(to_sums.unflatten(-1, (3, size)), to_candidates, update)


def _walk_back(grad_out: Tensor, weights: Weights, passed: _Passed) -> tuple[Tensor, Tensor, Tensor]:
    """Give the gradients of the sums (T, B, 3H) and of the candidates (T, B, H), and in fp32 of the start (B, H)."""
    steps, batch, size = grad_out.shape
    grad_sums, grad_candidates = torch.empty_like(passed.sums), torch.empty_like(grad_out)
    add_back = repeated_product(weights.w_hidden.t().contiguous(), batch)
    grad_hidden = grad_out[-1].to(passed.hidden.dtype, copy=True)
    from_sums, for_each_gate = torch.empty_like(grad_hidden), grad_hidden[:, None]
    of_earlier = (torch.zeros_like(grad_out[0]), *grad_out.unbind(0))
    of_sums, of_candidates = grad_sums.view(steps, batch, 3, size).unbind(0), grad_candidates.unbind(0)
    for times in chunks_from_the_end(steps, batch * size):
        factors = _factors(passed.sums[times], passed.candidates[times], passed.hidden[:-1][times])
        each_step = zip(range(steps)[times], *(part.unbind(0) for part in factors), strict=True)
        for t, to_sums, to_candidates, to_hidden in reversed(list(each_step)):
            of_sums[t].copy_(to_sums.mul_(for_each_gate))
            of_candidates[t].copy_(to_candidates.mul_(grad_hidden))
            from_sums.copy_(add_back(grad_sums[t], of_earlier[t]))
            torch.addcmul(from_sums, grad_hidden, to_hidden, out=grad_hidden)
    return grad_sums, grad_candidates, grad_hidden


class _GruLoop(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, w_in: Tensor, w_hidden: Tensor, bias: Tensor, candidate_bias: Tensor, start: Tensor
    ) -> Tensor:
        weights = Weights(w_in, w_hidden, bias)
        passed = _run(x, weights, candidate_bias, start, is_steady=False)
        ctx.save_for_backward(x, *weights, *passed)
        return passed.read[1:]

    @staticmethod
    @first_order
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, *saved = ctx.saved_tensors
        weights, passed = Weights(*saved[:3]), _Passed(*saved[3:])
        grad, grad_candidates, grad_start = _walk_back(grads[0].contiguous(), weights, passed)
        grad_w_hidden = accumulated(grad, passed.read[:-1])
        of_candidates = grad[..., -grad_start.size(1) :]
        grad_candidate_bias = of_candidates.sum((0, 1))
        of_candidates.copy_(grad_candidates)  # from here on it is the gradient of W x + b
        grad_x = project(grad, weights.w_in.t()) if ctx.needs_input_grad[0] else None
        return grad_x, accumulated(grad, x), grad_w_hidden, grad.sum((0, 1)), grad_candidate_bias, grad_start


def gru_loop(x: Tensor, weights: Weights, candidate_bias: Tensor, start: Tensor) -> Tensor:
    """Run a GRU from `start` (B, H): x (T, B, I), candidate_bias c_n (H,) -> (T, B, H) in the dtype of x.

    Without a gradient, a row's result does not depend on the other rows.
    """
    if not torch.is_grad_enabled():
        return _run(x, weights, candidate_bias, start, is_steady=True).read[1:]
    outputs: Tensor = _GruLoop.apply(x, *weights, candidate_bias, start)
    return outputs
