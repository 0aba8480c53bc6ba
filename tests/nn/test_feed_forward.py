"""Feed-forward network against its formula, for every activation."""

import pytest
import torch
import torch.nn.functional as F

from seqlab.nn.transformer import Activation, FeedForward


@pytest.mark.parametrize("activation", ["relu", "gelu", "swiglu"])
@pytest.mark.parametrize("training", [True, False])
def test_outputs_equal_the_formula(activation: Activation, training: bool) -> None:
    torch.manual_seed(0)
    module = FeedForward(6, 10, activation).train(training)
    x = torch.randn(2, 3, 6)
    hidden = F.linear(x, module.expand.weight, module.expand.bias)
    if activation == "relu":
        hidden = hidden.clamp(min=0)
    elif activation == "gelu":
        hidden = hidden * 0.5 * (1 + torch.erf(hidden / 2**0.5))
    else:
        hidden = hidden[..., :10] / (1 + torch.exp(-hidden[..., :10])) * hidden[..., 10:]
    expected = F.linear(hidden, module.contract.weight, module.contract.bias)
    torch.testing.assert_close(module(x), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("rows", [1, 33])
def test_gradients_with_relu_equal_the_formula(rows: int, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    module = FeedForward(6, 10)
    for bias in (module.expand.bias, module.contract.bias):  # with zero biases, hidden padding rows would be 0
        torch.nn.init.normal_(bias)
    x = torch.randn(rows, 6, requires_grad=True)
    parameters = (module.expand.weight, module.expand.bias, module.contract.weight, module.contract.bias)
    hidden = F.linear(x, *parameters[:2]).clamp(min=0)
    expected = F.linear(hidden, *parameters[2:])
    weight = torch.randn_like(expected)
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        found = module(x)
    assert found.dtype == dtype
    tolerance = 1e-5 if dtype == torch.float32 else 5e-2
    for grad, expected_grad in zip(
        torch.autograd.grad((found * weight).sum(), (x, *parameters)),
        torch.autograd.grad((expected * weight).sum(), (x, *parameters)),
        strict=True,
    ):
        assert grad.dtype == torch.float32
        torch.testing.assert_close(
            grad, expected_grad, rtol=tolerance, atol=tolerance * expected_grad.abs().max().item()
        )
