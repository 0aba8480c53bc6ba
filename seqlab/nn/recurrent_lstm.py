"""The LSTM over a whole sequence on the CPU, with the backward pass written out (see `recurrent_loop`).

For wide layers in bf16: oneDNN's fused loop, which is faster where the layer is narrow, adds to the gradients of the
weights at every step, and what it adds to no longer fits into the cache.

    i, f, o = sigmoid(W x + b + U h)    g = tanh(W_g x + b_g + U_g h)    c' = f * c + i * g    h' = o * tanh(c')

Shapes: T time, B batch (a size of `padded_rows`), I input size, H hidden size. Time comes first; the gates are i,
f, g, o.
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


def _activate_(gates: Tensor, candidate: Tensor) -> None:
    """Turn the sums of all gates (..., 4H) into the gates, in place; `candidate` is g's part of the same memory."""
    candidate.mul_(2)
    gates.sigmoid_()
    candidate.mul_(2).sub_(1)  # tanh(x) = 2 sigmoid(2 x) - 1


class _Passed(NamedTuple):
    """What the backward pass needs of the forward pass."""

    read: Tensor
    """(T + 1, B, H): hidden states as the products read them; the first is the start."""
    cells: Tensor
    """(T + 1, B, H), in fp32 at least."""
    sums: Tensor
    """(T, B, 4H)"""


def _run(x: Tensor, weights: Weights, hidden: Tensor, cell: Tensor) -> _Passed:
    steps, batch, size = x.size(0), *hidden.shape
    sums = project(x, weights.w_in, weights.bias)
    read, cells = begin(hidden, steps, x.dtype), begin(cell, steps, cell.dtype)
    add_hidden = repeated_product(weights.w_hidden, batch)
    gates, squashed = cell.new_empty(batch, 4 * size), torch.empty_like(cell)
    i, f, g, o = gates.chunk(4, dim=1)
    rows, states = read.unbind(0), cells.unbind(0)
    for t, total in enumerate(sums.unbind(0)):
        gates.copy_(total.copy_(add_hidden(rows[t], total)))
        _activate_(gates, g)
        torch.mul(f, states[t], out=states[t + 1]).addcmul_(i, g)
        rows[t + 1].copy_(fast_tanh_(squashed.copy_(states[t + 1])).mul_(o))
    return _Passed(read, cells, sums)


class _Factors(NamedTuple):
    """What the gradients of h' and c' are multiplied by at each of some steps."""

    to_sums: Tensor
    """(steps, B, 4H), of which"""
    from_cell: Tensor
    """(steps, B, 3, H) are for the gradient of c': i, f, g"""
    from_hidden: Tensor
    """(steps, B, H) and for the gradient of h': o."""
    to_cell: Tensor
    """(steps, B, H): from h' to c'."""
    to_cell_before: Tensor
    """(steps, B, H): f."""


def _factors(sums: Tensor, before: Tensor, after: Tensor) -> _Factors:
    """Differentiate some steps: sums (..., B, 4H), cells before and after them (..., B, H)."""
    gates = sums.to(after.dtype, copy=True)
    i, f, g, o = gates.chunk(4, dim=-1)
    _activate_(gates, g)
    squashed, one = fast_tanh_(after.clone()), after.new_ones(())
    to_sums = torch.addcmul(gates, gates, gates, value=-1)  # the slopes of i, f, o
    to_i, to_f, to_g, to_o = to_sums.chunk(4, dim=-1)
    to_i.mul_(g)
    to_f.mul_(before)
    torch.addcmul(one, g, g, value=-1, out=to_g).mul_(i)
    to_o.mul_(squashed)
    to_cell = torch.addcmul(one, squashed, squashed, value=-1).mul_(o)
    from_cell = to_sums.unflatten(-1, (4, -1))[..., :3, :]
    return _Factors(to_sums, from_cell, to_o, to_cell, f)


def _walk_back(grad_out: Tensor, grad_cell: Tensor, weights: Weights, passed: _Passed) -> tuple[Tensor, ...]:
    """Give the gradients of the sums (T, B, 4H) and, in fp32, of the hidden state and the cell at the start (B, H)."""
    steps, batch, size = grad_out.shape
    grad_sums, grad_cell = torch.empty_like(passed.sums), grad_cell.clone()
    add_back = repeated_product(weights.w_hidden.t().contiguous(), batch)
    grad_hidden = grad_out[-1].to(grad_cell.dtype, copy=True)
    for_three_gates = grad_cell[:, None]
    of_earlier = (torch.zeros_like(grad_out[0]), *grad_out.unbind(0))
    of_sums = grad_sums.unbind(0)
    for times in chunks_from_the_end(steps, batch * size):
        factors = _factors(passed.sums[times], passed.cells[:-1][times], passed.cells[1:][times])
        each_step = zip(range(steps)[times], *(part.unbind(0) for part in factors), strict=True)
        for t, to_sums, from_cell, from_hidden, to_cell, to_cell_before in reversed(list(each_step)):
            grad_cell.addcmul_(grad_hidden, to_cell)
            from_cell.mul_(for_three_gates)
            from_hidden.mul_(grad_hidden)
            of_sums[t].copy_(to_sums)
            grad_hidden.copy_(add_back(of_sums[t], of_earlier[t]))
            grad_cell.mul_(to_cell_before)
    return grad_sums, grad_hidden, grad_cell


class _LstmLoop(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, w_in: Tensor, w_hidden: Tensor, bias: Tensor, hidden: Tensor, cell: Tensor
    ) -> tuple[Tensor, Tensor]:
        weights = Weights(w_in, w_hidden, bias)
        passed = _run(x, weights, hidden, cell)
        ctx.save_for_backward(x, *weights, *passed)
        return passed.read[1:], passed.cells[-1].clone()

    @staticmethod
    @first_order
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, *saved = ctx.saved_tensors
        weights, passed = Weights(*saved[:3]), _Passed(*saved[3:])
        grad, grad_hidden, grad_cell = _walk_back(grads[0].contiguous(), grads[1], weights, passed)
        grad_x = project(grad, weights.w_in.t()) if ctx.needs_input_grad[0] else None
        grad_weights = (accumulated(grad, x), accumulated(grad, passed.read[:-1]), grad.sum((0, 1)))
        return grad_x, *grad_weights, grad_hidden, grad_cell


def lstm_loop(x: Tensor, weights: Weights, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    """Run an LSTM: x (T, B, I), hidden and cell (B, H) in fp32 at least -> (T, B, H) in the dtype of x, last cell."""
    outputs: tuple[Tensor, Tensor] = _LstmLoop.apply(x, *weights, hidden, cell)
    return outputs


class _LstmCell(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, sums: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
        gates = sums.clone()
        i, f, g, o = gates.chunk(4, dim=1)
        _activate_(gates, g)
        after = torch.mul(f, cell).addcmul_(i, g)
        ctx.save_for_backward(sums, cell, after)
        return fast_tanh_(after.clone()).mul_(o), after

    @staticmethod
    @first_order
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        sums, before, after = ctx.saved_tensors
        to_sums, from_cell, from_hidden, to_cell, to_cell_before = _factors(sums, before, after)
        grad_cell = torch.addcmul(grads[1], grads[0], to_cell)
        from_cell.mul_(grad_cell[:, None])
        from_hidden.mul_(grads[0])
        return to_sums, grad_cell.mul_(to_cell_before)


def lstm_cell(sums: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    """Do one step with a gradient: all gates' sums (B, 4H), cell (B, H) -> hidden state and cell (B, H)."""
    outputs: tuple[Tensor, Tensor] = _LstmCell.apply(sums, cell)
    return outputs
