"""GRU with a manual backward pass: finite differences, bf16 against fp32, with and without oneDNN's operators."""

import pytest
import torch
from torch import Tensor

from seqlab.nn.cpu import linear, lstm_gru
from seqlab.nn.cpu.lstm_gru import RecurrentWeights, gru


def run(*inputs: Tensor) -> Tensor:
    x, w_in, w_hidden, bias, candidate_bias, hidden = inputs
    return gru(x, RecurrentWeights(w_in, w_hidden, bias, candidate_bias), hidden)


def make_inputs(steps: int, batch: int, size: int, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    """Return x, w_in, w_hidden, bias, candidate bias and the hidden state, all with gradients."""
    torch.manual_seed(0)
    shapes = [(steps, batch, 4), (3 * size, 4), (3 * size, size), (3 * size,), (size,), (batch, size)]
    return [(torch.randn(shape, dtype=dtype) * 0.7).requires_grad_() for shape in shapes]


def cast(inputs: list[Tensor], dtype: torch.dtype) -> list[Tensor]:
    """Convert all tensors except the hidden state to `dtype`."""
    return [*(x.to(dtype) for x in inputs[:-1]), inputs[-1]]


@pytest.mark.parametrize("chunk_elements", [1, 12, 10**6])
def test_gradients_equal_finite_differences(chunk_elements: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        lstm_gru, "CHUNK_ELEMENTS", chunk_elements
    )  # chunks of 1 step, of 2 steps with 1 left, of all 5
    assert torch.autograd.gradcheck(run, make_inputs(steps=5, batch=2, size=3, dtype=torch.float64))


def test_gradients_are_the_same_for_inputs_without_a_gradient() -> None:
    inputs = make_inputs(5, 16, 6)
    with_gradient = torch.autograd.grad(run(*inputs).sum(), inputs[1:])
    inputs[0] = inputs[0].detach()
    without_input_gradient = torch.autograd.grad(run(*inputs).sum(), inputs[1:])
    assert all(torch.equal(a, b) for a, b in zip(with_gradient, without_input_gradient, strict=True))


def relative_error(found: Tensor, expected: Tensor) -> float:
    return ((found - expected).norm() / expected.norm()).item()


def test_bf16_is_close_to_fp32() -> None:
    inputs = make_inputs(50, 32, 48)
    for weight in inputs[1:4]:
        weight.data *= 0.1  # a recurrence that does not amplify rounding errors
    fp32, bf16 = run(*inputs), run(*cast(inputs, torch.bfloat16)).float()
    assert relative_error(bf16, fp32) < 1e-2
    weight = torch.randn_like(fp32)
    for found, expected in zip(
        torch.autograd.grad((bf16 * weight).sum(), inputs),
        torch.autograd.grad((fp32 * weight).sum(), inputs),
        strict=True,
    ):
        assert relative_error(found, expected) < 2e-2


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_results_are_the_same_without_onednn_operators(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = make_inputs(6, 16, 8)

    def outputs_and_gradients() -> list[Tensor]:
        outputs = run(*cast(inputs, dtype)).float()
        return [outputs, *torch.autograd.grad(outputs.sum(), inputs)]

    with_onednn = outputs_and_gradients()
    monkeypatch.setattr(linear, "_ONEDNN_PACK", None)
    for found, expected in zip(outputs_and_gradients(), with_onednn, strict=True):
        tolerance = 1e-5 if dtype == torch.float32 else 3e-2
        torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance * expected.abs().max().item())


def test_fast_tanh_equals_torch() -> None:
    x = torch.cat((torch.linspace(-30, 30, 10_001), torch.tensor([-1e4, -100.0, 100.0, 1e4])))
    torch.testing.assert_close(lstm_gru._fast_tanh_(x.clone()), torch.tanh(x.double()).float(), atol=2e-7, rtol=0)
