"""How far back in time a gradient reaches through a recurrent stack: whether it vanishes or explodes on its way.

Bengio et al. 1994; Pascanu et al. 2013, arXiv:1211.5063. The state at T - k is all that the position after it is given
of the past: the hidden states of all layers and, of an LSTM, the cells, along which its gradients last. There is no
dropout.

Shapes: B batch, T time, I input size, H the size of the last layer, S the size of the whole state.
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
    """Give, for each lag k from 0 to `max_lag`, the norm of a loss's gradient with respect to the state at T - k.

    `grad_hidden` (B, H) is the gradient with respect to the last layer's hidden state at T, the end of x (B, T, I). The
    norms are averaged over the batch. Before it goes on, each row's gradient may be clipped at every position, to a
    norm or to a largest absolute value (Graves 2013, arXiv:1308.0850). Raises ValueError for a lag that x is too short
    for, and for both ways of clipping at once.
    """
    if max_norm is not None and max_value is not None:
        raise ValueError("Give either `max_norm` or `max_value`, as a gradient is clipped in one way.")

    def clipped(grad: Tensor) -> Tensor:
        if max_norm is not None:
            return grad.renorm(2, 0, max_norm)  # each row
        return grad if max_value is None else grad.clamp(-max_value, max_value)

    carried = _carried_back(recurrent, x, grad_hidden, max_lag, clipped)
    return [torch.linalg.vector_norm(grad, dim=1).mean().item() for grad in carried]


def jacobian_norms(recurrent: Recurrent, x: Tensor, max_lag: int) -> list[float]:
    """Give, for each lag k from 0 to `max_lag`, the spectral norm of d h_T / d state_(T - k) for one sequence x (T, I).

    h is the last layer's hidden state. It is the most that any loss's gradient can have grown by; that of k = 0 is 1.
    Raises ValueError for a lag that x is too short for.
    """
    size = recurrent.sizes[-1]
    each_unit = torch.eye(size, dtype=x.dtype, device=x.device)
    carried = _carried_back(recurrent, x[None], each_unit, max_lag, lambda grad: grad)
    return [torch.linalg.matrix_norm(jacobian, ord=2).item() for jacobian in carried]


def _carried_back(
    recurrent: Recurrent, x: Tensor, grad_hidden: Tensor, max_lag: int, clipped: Callable[[Tensor], Tensor]
) -> Iterator[Tensor]:
    """Give the gradients (N, S) with respect to the state at T, T - 1, ..., T - max_lag: one for each of `grad_hidden`
    (N, H), all of which belong to one sequence where x (B, T, I) has but one."""
    steps = x.size(1)
    if not 0 <= max_lag < steps:
        raise ValueError(f"`max_lag` must be in [0, {steps - 1}] for {steps} positions, but is {max_lag} instead.")
    states = [recurrent.initial_state(x.size(0))]
    with torch.no_grad():
        for position in x.unbind(1):
            states.append(recurrent.step(position, states[-1])[1])
    last_layer = len(states[-1].hidden) - 1
    of_state = list(recurrent.initial_state(len(grad_hidden)).tensors().values())
    of_state[last_layer] = grad_hidden.to(of_state[last_layer].dtype)
    rows = torch.arange(len(grad_hidden), device=x.device) % x.size(0)
    for t in range(steps, steps - max_lag - 1, -1):
        grad = clipped(torch.cat(of_state, dim=1))
        yield grad
        of_state = _through_step(recurrent, x[rows, t - 1], states[t - 1].select(rows), grad)


def _through_step(recurrent: Recurrent, x: Tensor, before: RecurrentState, grad: Tensor) -> list[Tensor]:
    """Turn the gradient (N, S) of the state after a position x (N, I) into those of the parts of the state before."""
    before = RecurrentState.from_tensors(
        {name: part.detach().requires_grad_() for name, part in before.tensors().items()}
    )
    with torch.enable_grad():
        after = list(recurrent.step(x, before)[1].tensors().values())
    parts = grad.split([part.size(1) for part in after], dim=1)
    return list(torch.autograd.grad(after, list(before.tensors().values()), parts))
