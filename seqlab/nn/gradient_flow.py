"""Vanishing and exploding gradients: norms of gradients over time lags in a recurrent stack.

Bengio et al. 1994; Pascanu et al. 2013, arXiv:1211.5063. The state at a position consists of the hidden states of all
layers and, for LSTMs, their cells. Dropout is not applied.

Shapes: B batch, T time, I input size, H size of the last layer, S size of the state of all layers.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from seqlab.nn.recurrent import Recurrent
from seqlab.nn.recurrent_state import RecurrentState


def gradient_norms(
    recurrent: Recurrent,
    x: Tensor,
    grad_hidden: Tensor,
    max_lag: int,
    *,
    max_norm: float | None = None,
    max_value: float | None = None,
) -> list[float]:
    """Compute the norm of a loss's gradient with respect to the state k positions before the end, for each lag k.

    Args:
        recurrent: the recurrent stack.
        x: (B, T, I).
        grad_hidden: (B, H), the gradient with respect to the last layer's hidden state at the end of x.
        max_lag: the largest lag k, in positions.
        max_norm: clip each row's gradient to this norm at every position.
        max_value: clip each element of the gradient to this absolute value at every position (Graves 2013,
            arXiv:1308.0850).

    Returns:
        The norms for the lags 0 to `max_lag`, averaged over the batch.

    Raises:
        ValueError: x is too short for `max_lag`, or both `max_norm` and `max_value` are given.
    """
    if max_norm is not None and max_value is not None:
        raise ValueError("Give either `max_norm` or `max_value`, not both.")

    def clip(grad: Tensor) -> Tensor:
        if max_norm is not None:
            return grad.renorm(2, 0, max_norm)  # each row
        return grad if max_value is None else grad.clamp(-max_value, max_value)

    gradients = _backpropagate(recurrent, x, grad_hidden, max_lag, clip)
    return [torch.linalg.vector_norm(grad, dim=1).mean().item() for grad in gradients]


def jacobian_norms(recurrent: Recurrent, x: Tensor, max_lag: int) -> list[float]:
    """Compute the spectral norm of d h_T / d state_(T - k) for one sequence x (T, I) and each lag k up to `max_lag`.

    h is the last layer's hidden state. The norm bounds how much the gradient of any loss can grow; at k = 0 it is 1.

    Raises:
        ValueError: x is too short for `max_lag`.
    """
    size = recurrent.sizes[-1]
    each_unit = torch.eye(size, dtype=x.dtype, device=x.device)
    gradients = _backpropagate(recurrent, x[None], each_unit, max_lag, lambda grad: grad)
    return [torch.linalg.matrix_norm(jacobian, ord=2).item() for jacobian in gradients]


def _backpropagate(
    recurrent: Recurrent, x: Tensor, grad_hidden: Tensor, max_lag: int, clip: Callable[[Tensor], Tensor]
) -> Iterator[Tensor]:
    """Yield the gradients (N, S) with respect to the state at T, T - 1, ..., T - max_lag.

    There is one row for each row of `grad_hidden` (N, H). If x (B, T, I) is a single sequence, all rows belong to it.
    """
    steps = x.size(1)
    if not 0 <= max_lag < steps:
        raise ValueError(f"`max_lag` must be in [0, {steps - 1}] for {steps} positions, but is {max_lag} instead.")
    states = [recurrent.initial_state(x.size(0))]
    with torch.no_grad():
        for position in x.unbind(1):
            states.append(recurrent.step(position, states[-1])[1])
    last_layer = len(states[-1].hidden) - 1
    grads = list(recurrent.initial_state(len(grad_hidden)).tensors().values())
    grads[last_layer] = grad_hidden.to(grads[last_layer].dtype)
    rows = torch.arange(len(grad_hidden), device=x.device) % x.size(0)
    for t in range(steps, steps - max_lag - 1, -1):
        grad = clip(torch.cat(grads, dim=1))
        yield grad
        grads = _backpropagate_step(recurrent, x[rows, t - 1], states[t - 1].select(rows), grad)


def _backpropagate_step(recurrent: Recurrent, x: Tensor, before: RecurrentState, grad: Tensor) -> list[Tensor]:
    """Backpropagate the gradient (N, S) of the state after the input x (N, I) to the tensors of the state before it."""
    before = RecurrentState.from_tensors(
        {name: part.detach().requires_grad_() for name, part in before.tensors().items()}
    )
    with torch.enable_grad():
        after = list(recurrent.step(x, before)[1].tensors().values())
    parts = grad.split([part.size(1) for part in after], dim=1)
    return list(torch.autograd.grad(after, list(before.tensors().values()), parts))
