"""Recurrent layers: numpy cells, initial parameters, weight dropout, cuDNN path, bf16 kernels."""

from collections.abc import Callable
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from seqlab.nn import recurrent_layer
from seqlab.nn.cpu import lstm_gru
from seqlab.nn.cpu.elementwise import random_bytes, scaled_keep_mask
from seqlab.nn.cpu.lstm_gru import RecurrentWeights
from seqlab.nn.kernels import reference_kernels
from seqlab.nn.recurrent_layer import NUM_GATES, RecurrentKind, RecurrentLayer
from seqlab.training.accumulator import seeded

Array = NDArray[np.float64]
KINDS: list[RecurrentKind] = ["rnn", "gru", "lstm"]
every_kind = pytest.mark.parametrize("kind", KINDS)


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def numpy_step(layer: RecurrentLayer, x: Array, h: Array, c: Array) -> tuple[Array, Array]:
    """Compute one step of one row, gate by gate."""
    size = layer.hidden_size
    w_in, bias, w_hidden = (
        p.detach().double().numpy() for p in (layer.from_input.weight, layer.from_input.bias, layer.from_hidden.weight)
    )
    gate = [slice(i * size, (i + 1) * size) for i in range(NUM_GATES[layer.kind])]
    from_x = [w_in[g] @ x + bias[g] for g in gate]
    from_h = [w_hidden[g] @ h for g in gate]
    if layer.kind == "rnn":
        return np.tanh(from_x[0] + from_h[0]), c
    if layer.candidate_bias is not None:
        r, z = sigmoid(from_x[0] + from_h[0]), sigmoid(from_x[1] + from_h[1])
        n = np.tanh(from_x[2] + r * (from_h[2] + layer.candidate_bias.detach().double().numpy()))
        return (1 - z) * n + z * h, c
    i, f, o = (sigmoid(from_x[k] + from_h[k]) for k in (0, 1, 3))
    c = f * c + i * np.tanh(from_x[2] + from_h[2])
    return o * np.tanh(c), c


def make_layer(kind: RecurrentKind, input_size: int = 5, hidden_size: int = 7, p: float = 0.0) -> RecurrentLayer:
    """Build a layer with nonzero biases."""
    torch.manual_seed(0)
    layer = RecurrentLayer(kind, input_size, hidden_size, p)
    for parameter in layer.parameters():
        if parameter.dim() == 1:
            torch.nn.init.normal_(parameter)
    return layer


def random_inputs(
    layer: RecurrentLayer, steps: int, rows: int = 16, input_size: int = 5
) -> tuple[Tensor, Tensor, Tensor]:
    """Return x (T, N, input_size), the hidden state (N, D) and the cell (N, D)."""
    return torch.randn(steps, rows, input_size), *(torch.randn(rows, layer.hidden_size) for _ in range(2))


@every_kind
@pytest.mark.parametrize("with_gradient", [True, False])
@pytest.mark.parametrize("is_reference", [True, False])
def test_sequences_and_steps_equal_the_equations(kind: RecurrentKind, with_gradient: bool, is_reference: bool) -> None:
    layer = make_layer(kind)
    x, h, c = random_inputs(layer, 6)
    with torch.set_grad_enabled(with_gradient), reference_kernels() if is_reference else nullcontext():
        outputs, last_cell = layer(x, h, c)
        stepped, stepped_cell = h, c
        for t in range(6):
            stepped, new_cell = layer.step(x[t], stepped, stepped_cell)
            stepped_cell = c if new_cell is None else new_cell
            torch.testing.assert_close(stepped, outputs[t])
    for row in (0, 15):
        expected_h, expected_c = h[row].double().numpy(), c[row].double().numpy()
        for t in range(6):
            expected_h, expected_c = numpy_step(layer, x[t, row].double().numpy(), expected_h, expected_c)
            np.testing.assert_allclose(outputs[t, row].detach(), expected_h, atol=1e-5)
        np.testing.assert_allclose(stepped_cell[row].detach(), expected_c, atol=1e-5)
        if last_cell is not None:
            np.testing.assert_allclose(last_cell[row].detach(), expected_c, atol=1e-5)


def test_parameter_counts_of_lstm_and_gru_are_multiples_of_an_rnn() -> None:
    counts = {kind: sum(p.numel() for p in RecurrentLayer(kind, 30, 20).parameters()) for kind in KINDS}
    assert counts["rnn"] == 20 * (30 + 20 + 1)
    assert counts["lstm"] == 4 * counts["rnn"]
    assert counts["gru"] == 3 * counts["rnn"] + 20  # the second bias of the candidate


@every_kind
def test_initial_parameters(kind: RecurrentKind) -> None:
    torch.manual_seed(0)
    layer = RecurrentLayer(kind, 30, 20)
    for gate in layer.from_hidden.weight.detach().split(20):
        torch.testing.assert_close(gate @ gate.t(), torch.eye(20), atol=1e-5, rtol=0)
    bound = (6 / 50) ** 0.5  # Glorot bound for one gate, larger than the bound for all gates as one matrix
    largest = layer.from_input.weight.detach().abs().max().item()
    assert 0.95 * bound < largest <= bound
    biases = layer.from_input.bias.detach().view(-1, 20)
    expected = torch.zeros_like(biases)
    if kind == "lstm":
        expected[1] = 1
    assert torch.equal(biases, expected)


@every_kind
def test_weight_dropout_applies_only_to_the_recurrent_matrix(kind: RecurrentKind) -> None:
    layer, masked_layer = make_layer(kind, p=0.4), make_layer(kind)
    x, h, c = random_inputs(layer, 4)
    with seeded(3, torch.device("cpu")):
        found, _ = layer(x, h, c)
        second, _ = layer(x, h, c)
    with seeded(3, torch.device("cpu")):
        keep = scaled_keep_mask(random_bytes(layer.from_hidden.weight.shape), 0.4, torch.float32)
    masked_layer.from_hidden.weight.data *= keep
    torch.testing.assert_close(found, masked_layer(x, h, c)[0])
    assert not torch.equal(found, second)  # a mask for each forward pass
    assert 0.2 < (keep == 0).float().mean() < 0.6
    found.sum().backward()
    assert layer.from_hidden.weight.grad is not None
    assert torch.equal(layer.from_hidden.weight.grad == 0, keep == 0)
    with torch.no_grad():
        torch.testing.assert_close(layer.eval()(x, h, c)[0], make_layer(kind)(x, h, c)[0])


@every_kind
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_cudnn_path_gives_the_same_results(kind: RecurrentKind, dtype: torch.dtype) -> None:
    layer = make_layer(kind)
    x, h, c = random_inputs(layer, 6)
    tolerance = 1e-5 if dtype == torch.float32 else 3e-2
    bias = layer.candidate_bias
    weights = RecurrentWeights(
        layer.from_input.weight.to(dtype),
        layer.from_hidden.weight.to(dtype),
        layer.from_input.bias.to(dtype),
        None if bias is None else bias.to(dtype),
    )
    found, cell = recurrent_layer._run_cudnn(kind, x.to(dtype), weights, h, c if kind == "lstm" else None)
    expected, last_cell = layer(x, h, c)
    torch.testing.assert_close(found.float(), expected, atol=tolerance, rtol=tolerance)
    torch.testing.assert_close(cell, last_cell, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize(
    ("is_fused", "min_stepwise_size"),
    [(True, 8), (True, 7), (False, 8)],
    ids=["oneDNN", "stepwise", "not fused"],
)
def test_lstm_implementations_in_bf16_equal_fp32(
    is_fused: bool, min_stepwise_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lstm_gru, "_HAS_FUSED_BF16", is_fused and lstm_gru._HAS_FUSED_BF16)
    monkeypatch.setattr(lstm_gru, "MIN_STEPWISE_LSTM_SIZE", min_stepwise_size)
    layer = make_layer("lstm")
    x, h, c = random_inputs(layer, 6)
    outputs, cell = layer(x, h, c)
    with torch.autocast("cpu", torch.bfloat16):
        found, found_cell = layer(x, h, c)
    assert (found.dtype, found_cell.dtype) == (torch.bfloat16, torch.float32)
    torch.testing.assert_close(found.float(), outputs, atol=3e-2, rtol=3e-2)
    torch.testing.assert_close(found_cell, cell, atol=3e-2, rtol=3e-2)


def saturate_gates(layer: RecurrentLayer) -> RecurrentLayer:
    """Set all gates to 1 and the candidate to 1 for any input."""
    for parameter in layer.parameters():
        torch.nn.init.zeros_(parameter)
    torch.nn.init.constant_(layer.from_input.bias, 50)
    return layer


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("min_stepwise_size", [7, 8])
def test_lstm_cell_is_more_precise_than_bf16(
    precision: torch.dtype, min_stepwise_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counting to 400 fails in bf16, where 256 + 1 rounds to 256."""
    monkeypatch.setattr(lstm_gru, "MIN_STEPWISE_LSTM_SIZE", min_stepwise_size)
    layer = saturate_gates(RecurrentLayer("lstm", 5, 7))
    x, h, _ = random_inputs(layer, 400)
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
        _, cell = layer(x, h, torch.zeros(16, 7))
    torch.testing.assert_close(cell, torch.full((16, 7), 400.0))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("with_gradient", [True, False])
@pytest.mark.parametrize("min_stepwise_size", [7, 8])
def test_lstm_cell_does_not_depend_on_padding(
    dtype: torch.dtype, with_gradient: bool, min_stepwise_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lstm_gru, "MIN_STEPWISE_LSTM_SIZE", min_stepwise_size)
    layer = make_layer("lstm")
    x, h, c = random_inputs(layer, 6)
    is_padding = torch.zeros(6, 16, dtype=torch.bool)
    is_padding[4:] = True
    run: Callable[..., tuple[Tensor, Tensor]] = layer
    with torch.set_grad_enabled(with_gradient), torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        _, padded = run(x, h, c, is_padding)
        _, unpadded = run(x[:4], h, c, is_padding[:4])
    assert torch.equal(padded, unpadded)
