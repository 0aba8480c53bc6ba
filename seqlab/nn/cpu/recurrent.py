"""Recurrent layers over a whole sequence: an LSTM by oneDNN's fused kernel, a GRU with a backward pass by hand.

torch has no fused kernel for a GRU on a CPU: against `torch.gru` it trains a language model 1.2 times as fast in bf16,
1.7 times in fp32. A step computes little: one product with the recurrent weights, which are packed once for all steps,
and few element-wise calls. The products with the input and the gradients of the weights are computed once for the whole
sequence. With reset gate r, update gate z and candidate n (see `recurrent_layer.gru_cell`):

    r, z = sigmoid(W x + b + U h)        n = tanh(W_n x + b_n + r * (U_n h + c_n))        h' = n + z * (h - n)

Shapes: T time, B batch (a size of `padded_rows`), I input size, H hidden size, N all gates' sums. Time comes first;
a GRU's gates come as r, z, n. Products run in the dtype of x and of the weights; states are in fp32 at least.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from seqlab.nn.cpu import elementwise
from seqlab.nn.cpu.autograd import refuse_second_derivative
from seqlab.nn.cpu.linear import packed_for, product

CHUNK_ELEMENTS = 32768


class Weights(NamedTuple):
    """The weights of one recurrent layer of any kind."""

    w_in: Tensor
    """(N, I)"""
    w_hidden: Tensor
    """(N, H)"""
    bias: Tensor
    """(N,)"""
    candidate_bias: Tensor | None = None
    """(H,), a GRU's c_n."""


def _adder(weight: Tensor, rows: int) -> Callable[[Tensor, Tensor], Tensor]:
    """Prepare x W^T + added for many x (rows, K) and `added` (rows, N): weight (N, K), packed once."""
    packed = packed_for(weight, rows)
    if packed is None:
        transposed = weight.t()
        return lambda x, added: torch.addmm(added, x, transposed)
    multiply = torch.ops.mkldnn._linear_pointwise.binary
    return lambda x, added: multiply(x, added, packed, None, "add")


def _project(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Compute x W^T + b at all times at once: (T, B, K) -> (T, B, N)."""
    return product(x.flatten(0, 1), weight, bias).view(*x.shape[:2], -1)


def _weight_gradient(grad: Tensor, inputs: Tensor) -> Tensor:
    """Sum the gradient of a weight over all times: grad (T, B, N), inputs (T, B, K) -> (N, K)."""
    return product(grad.flatten(0, 1).t(), inputs.flatten(0, 1).t())


def _states_from(start: Tensor, steps: int, dtype: torch.dtype) -> Tensor:
    """Allocate states (T + 1, B, H), the first of which is given."""
    states = start.new_empty(steps + 1, *start.shape, dtype=dtype)
    states[0] = start
    return states


def _chunks_from_the_end(steps: int, elements: int) -> Iterator[slice]:
    """Divide the steps, of so many hidden units each, into chunks that a backward pass prepares by one call.

    This makes fewer calls, and leaves what one of them writes in the cache for the next.
    """
    chunk = max(1, CHUNK_ELEMENTS // elements)
    return (slice(start, min(steps, start + chunk)) for start in reversed(range(0, steps, chunk)))


def _fast_tanh_(x: Tensor) -> Tensor:
    """Compute tanh(x) = 2 sigmoid(2 x) - 1 in place: in fp32 a third of the time of torch's, to 1e-7."""
    return x.mul_(2).sigmoid_().mul_(2).sub_(1)


class _Passed(NamedTuple):
    """Results of the forward pass for the backward pass. Hidden states add up over time, so they are kept in fp32."""

    hidden: Tensor
    """(T + 1, B, H), in fp32 at least; the first is the start."""
    read: Tensor
    """(T + 1, B, H): the same as the products read it, which is also what the loop gives."""
    sums: Tensor
    """(T, B, 3H): W x + b + U h for r and z, U_n h + c_n for n."""
    candidates: Tensor
    """(T, B, H): W_n x + b_n, in fp32 at least."""


def _run(x: Tensor, weights: Weights, start: Tensor, trains: bool) -> _Passed:
    steps, batch, size = x.size(0), *start.shape
    sums = _project(x, weights.w_in, weights.bias)
    candidates = sums[..., 2 * size :].to(start.dtype, copy=True)
    assert weights.candidate_bias is not None, "a GRU has one"
    sums[..., 2 * size :] = weights.candidate_bias
    hidden = _states_from(start, steps, start.dtype)
    read = hidden if x.dtype == start.dtype else _states_from(start, steps, x.dtype)
    add_hidden = _adder(weights.w_hidden, batch)
    sigmoid, tanh_ = (torch.sigmoid, _fast_tanh_) if trains else (elementwise.sigmoid, torch.tanh_)
    gates = hidden.new_empty(batch, 3 * size)
    reset_and_update, candidate = gates[:, : 2 * size], hidden.new_empty(batch, size)
    reset, update, from_hidden = gates.chunk(3, dim=1)
    states, rows = hidden.unbind(0), read.unbind(0)
    for t, (total, from_input) in enumerate(zip(sums.unbind(0), candidates.unbind(0), strict=True)):
        gates.copy_(total.copy_(add_hidden(rows[t], total)))
        reset_and_update.copy_(sigmoid(reset_and_update))
        tanh_(torch.addcmul(from_input, reset, from_hidden, out=candidate))
        torch.lerp(candidate, states[t], update, out=states[t + 1])
        rows[t + 1].copy_(states[t + 1])
    return _Passed(hidden, read, sums, candidates)


class _Factors(NamedTuple):
    """Factors of the gradient of h' at each of some steps."""

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
    n = _fast_tanh_(torch.addcmul(candidates, reset, from_hidden))
    to_sums = torch.addcmul(gates, gates, gates, value=-1)  # the slopes of r and z
    to_reset, to_update, to_from_hidden = to_sums.chunk(3, dim=-1)
    to_candidates = torch.addcmul(n.new_ones(()), n, n, value=-1)
    to_candidates.addcmul_(to_candidates, update, value=-1)
    to_reset.mul_(from_hidden).mul_(to_candidates)
    to_update.mul_(before - n)
    torch.mul(to_candidates, reset, out=to_from_hidden)
    return _Factors(to_sums.unflatten(-1, (3, size)), to_candidates, update)


def _walk_back(grad_out: Tensor, w_hidden: Tensor, passed: _Passed) -> tuple[Tensor, Tensor, Tensor]:
    """Give the gradients of the sums (T, B, 3H) and of the candidates (T, B, H), and in fp32 of the start (B, H)."""
    steps, batch, size = grad_out.shape
    grad_sums, grad_candidates = torch.empty_like(passed.sums), torch.empty_like(grad_out)
    add_back = _adder(w_hidden.t().contiguous(), batch)
    grad_hidden = grad_out[-1].to(passed.hidden.dtype, copy=True)
    from_sums, for_each_gate = torch.empty_like(grad_hidden), grad_hidden[:, None]
    of_earlier = (torch.zeros_like(grad_out[0]), *grad_out.unbind(0))
    of_sums, of_candidates = grad_sums.view(steps, batch, 3, size).unbind(0), grad_candidates.unbind(0)
    for times in _chunks_from_the_end(steps, batch * size):
        factors = _factors(passed.sums[times], passed.candidates[times], passed.hidden[:-1][times])
        each_step = zip(range(steps)[times], *(part.unbind(0) for part in factors), strict=True)
        for t, to_sums, to_candidates, to_hidden in reversed(list(each_step)):
            of_sums[t].copy_(to_sums.mul_(for_each_gate))
            of_candidates[t].copy_(to_candidates.mul_(grad_hidden))
            from_sums.copy_(add_back(grad_sums[t], of_earlier[t]))
            torch.addcmul(from_sums, grad_hidden, to_hidden, out=grad_hidden)
    return grad_sums, grad_candidates, grad_hidden


class _Gru(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, w_in: Tensor, w_hidden: Tensor, bias: Tensor, candidate_bias: Tensor, start: Tensor
    ) -> Tensor:
        weights = Weights(w_in, w_hidden, bias, candidate_bias)
        passed = _run(x, weights, start, trains=True)
        ctx.save_for_backward(x, w_in, w_hidden, *passed)
        return passed.read[1:].clone()  # the caller may change it in place, and the backward pass reads it

    @staticmethod
    @refuse_second_derivative
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, w_in, w_hidden, *saved = ctx.saved_tensors
        passed = _Passed(*saved)
        grad, grad_candidates, grad_start = _walk_back(grads[0].contiguous(), w_hidden, passed)
        grad_w_hidden = _weight_gradient(grad, passed.read[:-1])
        of_candidates = grad[..., -grad_start.size(1) :]
        grad_candidate_bias = of_candidates.sum((0, 1))
        of_candidates.copy_(grad_candidates)  # from here on it is the gradient of W x + b
        grad_x = _project(grad, w_in.t()) if ctx.needs_input_grad[0] else None
        grad_w_in = _weight_gradient(grad, x)
        return grad_x, grad_w_in, grad_w_hidden, grad.sum((0, 1)), grad_candidate_bias, grad_start


def gru(x: Tensor, weights: Weights, start: Tensor) -> Tensor:
    """Run a GRU from `start` (B, H): x (T, B, I) -> (T, B, H) in the dtype of x.

    Without a gradient, a row's result does not depend on the other rows.
    """
    if not torch.is_grad_enabled():
        return _run(x, weights, start, trains=False).read[1:]
    outputs: Tensor = _Gru.apply(x, *weights, start)
    return outputs


_HAS_FUSED_BF16 = torch.backends.mkldnn.is_available() and torch.cpu.get_capabilities().get("avx512_bf16", False)

WIDE = 1024
"""In bf16 with a gradient, steps that defer the gradient of their weights train an LSTM at least so wide faster than
the fused kernel, whose gradients no longer fit into the cache: 1.3 times at 1152; at 640 the kernel does, 1.1 times."""


def has_fused_lstm(dtype: torch.dtype, hidden_size: int) -> bool:
    """Whether `lstm` is the fastest way. In bf16 without the kernel, `torch.lstm` would round the cell at each step."""
    if dtype == torch.bfloat16:
        return _HAS_FUSED_BF16 and not (torch.is_grad_enabled() and hidden_size >= WIDE)
    return True


def lstm(x: Tensor, weights: Weights, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    """Run an LSTM: x (T, B, I), hidden and cell (B, H) in fp32 at least -> (T, B, H) in the dtype of x, last cell.

    In bf16 the kernel behind `torch.lstm` is called by its own name: so called, it keeps the cell in fp32.
    """
    no_bias = torch.zeros_like(weights.bias)
    if x.dtype == torch.bfloat16:
        outputs, _, last_cell, _ = torch.ops.aten.mkldnn_rnn_layer(
            x,
            *(weights.w_in, weights.w_hidden, weights.bias, no_bias),
            hx_=hidden[None].to(x.dtype),
            cx_=cell[None],
            reverse=False,
            batch_sizes=[],
            mode=2,  # LSTM
            hidden_size=hidden.size(1),
            num_layers=1,
            has_biases=True,
            bidirectional=False,
            batch_first=False,
            train=torch.is_grad_enabled(),
        )
    else:
        state = hidden[None].to(x.dtype), cell[None].to(x.dtype)
        parameters = (weights.w_in, weights.w_hidden, weights.bias, no_bias)
        trains = torch.is_grad_enabled()
        outputs, _, last_cell = torch.lstm(x, state, parameters, True, 1, 0.0, trains, False, False)
    return outputs, last_cell[0].to(cell.dtype)
