"""Gradient norms over time lags against products of Jacobians in numpy and against torch's backward pass."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from seqlab.nn.gradient_flow import gradient_norms, jacobian_norms
from seqlab.nn.recurrent import Recurrent, RecurrentKind


def rnn_jacobians(stack: Recurrent, x: Tensor) -> list[np.ndarray]:
    """Compute d h_t / d h_(t-1) = diag(1 - h_t^2) U of a tanh RNN for all t."""
    layer = stack.layers[0][0]
    w_in, bias, w_hidden = (
        p.detach().numpy() for p in (layer.from_input.weight, layer.from_input.bias, layer.from_hidden.weight)
    )
    hidden, jacobians = np.zeros(w_hidden.shape[0]), []
    for position in x.numpy():
        hidden = np.tanh(w_in @ position + bias + w_hidden @ hidden)
        jacobians.append(np.diag(1 - hidden**2) @ w_hidden)
    return jacobians


def test_norms_equal_products_of_jacobians() -> None:
    torch.manual_seed(0)
    stack = Recurrent("rnn", 3, 6).double()
    x, grad = torch.randn(2, 12, 3, dtype=torch.float64), torch.randn(2, 6, dtype=torch.float64)
    vectors, jacobians = grad.numpy().copy(), [rnn_jacobians(stack, row) for row in x]
    product, expected, expected_first_row = np.eye(6), [], []
    for lag in range(11):
        expected.append(np.linalg.norm(vectors, axis=1).mean())
        expected_first_row.append(np.linalg.norm(product, ord=2))
        product = product @ jacobians[0][-1 - lag]
        vectors = np.stack([vector @ each[-1 - lag] for vector, each in zip(vectors, jacobians, strict=True)])
    assert gradient_norms(stack, x, grad, 10) == pytest.approx(expected, rel=1e-9)
    assert jacobian_norms(stack, x[0], 10) == pytest.approx(expected_first_row, rel=1e-9)


@pytest.mark.parametrize("kind", ["rnn", "gru", "lstm"])
def test_gradient_norms_equal_torch(kind: RecurrentKind) -> None:
    """The stack has two layers of different sizes. torch uses one graph over all steps."""
    torch.manual_seed(0)
    stack = Recurrent(kind, 3, 6, 2, last_size=4)
    x, grad = torch.randn(5, 9, 3), torch.randn(5, 4)
    states = [stack.initial_state(5)]
    for position in x.unbind(1):
        states.append(stack.step(position, states[-1])[1].fork())  # separate tensors for the next step
    loss = (states[-1].hidden[-1] * grad).sum()
    expected = []
    for state in states[:1:-1]:
        parts = torch.autograd.grad(loss, list(state.tensors().values()), retain_graph=True, allow_unused=True)
        state_grad = torch.cat([part for part in parts if part is not None], dim=1)
        expected.append(state_grad.norm(dim=1).mean().item())
    assert gradient_norms(stack, x, grad, 7) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("scale", [0.9, 1.0, 1.1])
def test_orthogonal_recurrent_weights_preserve_the_norm_where_tanh_is_linear(scale: float) -> None:
    """Without input, the state stays at 0, where tanh has derivative 1."""
    torch.manual_seed(0)
    stack = Recurrent("rnn", 3, 16).double()
    stack.layers[0][0].from_hidden.weight.data *= scale
    x = torch.zeros(60, 3, dtype=torch.float64)
    expected = [scale**lag for lag in range(51)]
    assert jacobian_norms(stack, x, 50) == pytest.approx(expected, rel=1e-5)
    grad = nn.functional.normalize(torch.randn(1, 16, dtype=torch.float64))
    assert gradient_norms(stack, x[None], grad, 50) == pytest.approx(expected, rel=1e-5)


def test_gradients_vanish_in_an_rnn_but_not_with_an_open_forget_gate() -> None:
    torch.manual_seed(0)
    norms = {}
    for kind in ("rnn", "lstm"):
        stack = Recurrent(kind, 3, 8)
        stack.layers[0][0].from_hidden.weight.data *= 0.5
        if kind == "lstm":
            stack.layers[0][0].from_input.bias.data[8:16] = 20
        norms[kind] = jacobian_norms(stack, torch.randn(80, 3), 70)
    assert norms["rnn"][70] < 1e-10
    assert norms["lstm"][70] > 0.5 * norms["lstm"][10]


def test_gradients_are_clipped_at_each_position() -> None:
    torch.manual_seed(0)
    stack = Recurrent("rnn", 3, 6)
    w_hidden = stack.layers[0][0].from_hidden.weight.data
    w_hidden *= 3  # 3 times an orthogonal matrix; the state stays at 0
    x, grad = torch.zeros(2, 30, 3), torch.randn(2, 6)
    norms, max_norm = grad.norm(dim=1), 2 * grad.norm(dim=1).max()
    unclipped = gradient_norms(stack, x, grad, 20)
    assert unclipped == pytest.approx([norms.mean().item() * 3**lag for lag in range(21)], rel=1e-4)
    by_norm = gradient_norms(stack, x, grad, 20, max_norm=max_norm.item())
    assert by_norm == pytest.approx([(norms * 3**lag).clamp(max=max_norm).mean().item() for lag in range(21)], rel=1e-4)
    by_value, clipped = gradient_norms(stack, x, grad, 20, max_value=0.5), grad
    for norm in by_value:
        clipped = clipped.clamp(-0.5, 0.5)
        assert norm == pytest.approx(clipped.norm(dim=1).mean().item(), rel=1e-4)
        clipped = clipped @ w_hidden
    for option in ("max_norm", "max_value"):
        assert gradient_norms(stack, x, grad, 20, **{option: 1e30}) == pytest.approx(unclipped)


def test_invalid_arguments_are_refused() -> None:
    stack, x, grad = Recurrent("gru", 3, 4), torch.randn(1, 5, 3), torch.ones(1, 4)
    for lag in (-1, 5):
        with pytest.raises(ValueError, match=rf"`max_lag` must be in \[0, 4\] for 5 positions, but is {lag} instead"):
            gradient_norms(stack, x, grad, lag)
    with pytest.raises(ValueError, match="either `max_norm` or `max_value`"):
        gradient_norms(stack, x, grad, 2, max_norm=1.0, max_value=1.0)
