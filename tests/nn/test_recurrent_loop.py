"""The written-out loops: gradients by finite differences, bf16 beside fp32, other ways through."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from seqlab.nn import linear, recurrent_loop
from seqlab.nn.recurrent_gru import gru_loop, steady_sigmoid_
from seqlab.nn.recurrent_loop import Weights, fast_tanh_, tanh_loop
from seqlab.nn.recurrent_lstm import lstm_loop

Loop = Callable[..., Tensor]


def run_tanh(*inputs: Tensor) -> Tensor:
    return tanh_loop(inputs[0], Weights(*inputs[1:4]), inputs[4])


def run_gru(*inputs: Tensor) -> Tensor:
    return gru_loop(inputs[0], Weights(*inputs[1:4]), inputs[5], inputs[4])


def run_lstm(*inputs: Tensor) -> Tensor:
    """All that it gives, in one tensor (T + 1, B, H)."""
    outputs, cell = lstm_loop(inputs[0], Weights(*inputs[1:4]), *inputs[4:])
    return torch.cat((outputs.to(cell.dtype), cell[None]))


GATES = {run_tanh: 1, run_gru: 3, run_lstm: 4}
every_loop = pytest.mark.parametrize("run", GATES)


def inputs_of(run: Loop, steps: int, batch: int, size: int, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    """x, w_in, w_hidden, bias, the hidden state and what else there is, with gradients."""
    torch.manual_seed(0)
    gates = GATES[run]
    shapes = [(steps, batch, 4), (gates * size, 4), (gates * size, size), (gates * size,), (batch, size)]
    shapes += {run_tanh: [], run_gru: [(size,)], run_lstm: [(batch, size)]}[run]
    return [(torch.randn(shape, dtype=dtype) * 0.7).requires_grad_() for shape in shapes]


def cast(inputs: list[Tensor], run: Loop, dtype: torch.dtype) -> list[Tensor]:
    """Turn all but the states into `dtype`."""
    states = {run_tanh: (4,), run_gru: (4,), run_lstm: (4, 5)}[run]
    return [x if i in states else x.to(dtype) for i, x in enumerate(inputs)]


@every_loop
@pytest.mark.parametrize("chunk_elements", [1, 12, 10**6])
def test_gradients_are_those_of_finite_differences(
    run: Loop, chunk_elements: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recurrent_loop, "CHUNK_ELEMENTS", chunk_elements)  # 1 step, 2 steps and 1 left, all 5 steps
    assert torch.autograd.gradcheck(run, inputs_of(run, steps=5, batch=2, size=3, dtype=torch.float64))


@every_loop
def test_an_input_without_a_gradient(run: Loop) -> None:
    inputs = inputs_of(run, 5, 16, 6)
    with_gradient = torch.autograd.grad(run(*inputs).sum(), inputs[1:])
    inputs[0] = inputs[0].detach()
    without = torch.autograd.grad(run(*inputs).sum(), inputs[1:])
    assert all(torch.equal(a, b) for a, b in zip(with_gradient, without, strict=True))


def relative_error(found: Tensor, expected: Tensor) -> float:
    return ((found - expected).norm() / expected.norm()).item()


@every_loop
def test_bf16_lies_near_fp32(run: Loop) -> None:
    inputs = inputs_of(run, 50, 32, 48)
    for weight in inputs[1:4]:
        weight.data *= 0.1  # a recurrence that does not amplify what is rounded
    wide, narrow = run(*inputs), run(*cast(inputs, run, torch.bfloat16)).float()
    assert relative_error(narrow, wide) < 1e-2
    weight = torch.randn_like(wide)
    for found, expected in zip(
        torch.autograd.grad((narrow * weight).sum(), inputs),
        torch.autograd.grad((wide * weight).sum(), inputs),
        strict=True,
    ):
        assert relative_error(found, expected) < 2e-2


@every_loop
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_without_the_private_operators_the_results_are_the_same(
    run: Loop, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = inputs_of(run, 6, 16, 8)

    def outputs_and_gradients() -> list[Tensor]:
        outputs = run(*cast(inputs, run, dtype)).float()
        return [outputs, *torch.autograd.grad(outputs.sum(), inputs)]

    fast = outputs_and_gradients()
    monkeypatch.setattr(linear, "_ONEDNN_PACK", None)
    for found, expected in zip(outputs_and_gradients(), fast, strict=True):
        tolerance = 1e-5 if dtype == torch.float32 else 3e-2
        torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance * expected.abs().max().item())


def test_sigmoid_and_tanh() -> None:
    x = torch.cat((torch.linspace(-30, 30, 10_001), torch.tensor([-1e4, -100.0, 100.0, 1e4])))
    torch.testing.assert_close(steady_sigmoid_(x.clone()), torch.sigmoid(x.double()).float())
    torch.testing.assert_close(fast_tanh_(x.clone()), torch.tanh(x.double()).float(), atol=2e-7, rtol=0)
