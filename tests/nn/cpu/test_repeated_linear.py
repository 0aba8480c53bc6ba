"""Linear layer applied once per step: gradients against autograd, refused uses, and memory."""

import gc
import weakref

import pytest
import torch
from torch import Tensor, nn

from seqlab.nn.cpu.repeated_linear import RepeatedLinear


@pytest.mark.parametrize("has_bias", [True, False])
def test_gradients_of_a_loop_equal_autograd(has_bias: bool) -> None:
    torch.manual_seed(0)
    weight = nn.Parameter(torch.randn(6, 6, dtype=torch.float64))
    bias = nn.Parameter(torch.randn(6, dtype=torch.float64)) if has_bias else None
    start = torch.randn(3, 6, dtype=torch.float64, requires_grad=True)
    multiply = RepeatedLinear(weight, bias, torch.float64)

    def run(linear: object) -> Tensor:
        x, total = start, torch.zeros((), dtype=torch.float64)
        for step in range(5):
            x = torch.tanh(linear(x))  # type: ignore[operator]
            total = total + (step + 1) * x.square().sum()
        return total

    tensors = [start, weight] if bias is None else [start, weight, bias]
    found = torch.autograd.grad(run(multiply), tensors)
    expected = torch.autograd.grad(run(lambda x: nn.functional.linear(x, weight, bias)), tensors)
    for grad, expected_grad in zip(found, expected, strict=True):
        torch.testing.assert_close(grad, expected_grad)


def test_unused_steps_have_no_gradient() -> None:
    weight = nn.Parameter(torch.eye(2))
    multiply, x = RepeatedLinear(weight, None, torch.float32), torch.ones(1, 2)
    used, _unused = multiply(x), multiply(5 * x)
    (gradient,) = torch.autograd.grad(used.sum(), weight)
    torch.testing.assert_close(gradient, torch.ones(2, 2))


def test_second_derivatives_are_refused() -> None:
    weight = nn.Parameter(torch.eye(2))
    with pytest.raises(RuntimeError, match="second derivative"):
        torch.autograd.grad(
            RepeatedLinear(weight, None, torch.float32)(torch.ones(1, 2)).sum(), weight, create_graph=True
        )


def test_backward_pass_frees_the_layer() -> None:
    gc.collect()
    gc.disable()
    try:
        weight = nn.Parameter(torch.eye(2))
        multiply = RepeatedLinear(weight, None, torch.float32)
        reference = weakref.ref(multiply)
        multiply(multiply(torch.ones(1, 2))).sum().backward()
        del multiply
        assert reference() is None
    finally:
        gc.enable()


def test_weights_changed_before_the_backward_pass_are_refused() -> None:
    weight, x = torch.randn(8, 8, requires_grad=True), torch.randn(3, 8, requires_grad=True)
    y = RepeatedLinear(weight, None, torch.float32)(x)
    with torch.no_grad():
        weight.mul_(2)
    with pytest.raises(RuntimeError, match="changed in place between the forward and the backward pass"):
        y.sum().backward()
