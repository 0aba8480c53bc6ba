"""Linear layer against torch's, with gradients; batch invariance; packed weights."""

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F

from seqlab.nn.cpu import linear as linear_module
from seqlab.nn.cpu.linear import pack, padded_rows
from seqlab.nn.kernels import linear
from seqlab.nn.layers import Linear


@pytest.mark.parametrize("shape", [(1,), (5,), (2, 3), (16,), (4, 33)])
@pytest.mark.parametrize("has_bias", [True, False])
def test_values_and_gradients_equal_torch(shape: tuple[int, ...], has_bias: bool) -> None:
    torch.manual_seed(0)
    x = torch.randn(*shape, 12, requires_grad=True)
    weight, bias = torch.randn(7, 12, requires_grad=True), torch.randn(7, requires_grad=True)
    inputs = [x, weight, bias] if has_bias else [x, weight]
    output_grad = torch.randn(*shape, 7)
    found, expected = linear(*inputs), F.linear(*inputs)
    torch.testing.assert_close(found, expected)
    for grad, torch_grad in zip(
        torch.autograd.grad(found, inputs, output_grad), torch.autograd.grad(expected, inputs, output_grad), strict=True
    ):
        torch.testing.assert_close(grad, torch_grad, rtol=1e-5, atol=1e-5)


def test_gradients_of_fp32_weights_stay_fp32_under_bf16_autocast() -> None:
    torch.manual_seed(0)
    layer, x = Linear(32, 16), torch.randn(5, 32)
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
    y.float().sum().backward()
    assert y.dtype == torch.bfloat16
    assert layer.weight.grad is not None
    assert layer.weight.grad.dtype == torch.float32
    torch.testing.assert_close(layer.weight.grad[0], x.sum(0), rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("in_features", "out_features"), [(128, 384), (128, 8000), (256, 100)])
def test_results_of_a_row_do_not_depend_on_other_rows(dtype: torch.dtype, in_features: int, out_features: int) -> None:
    torch.manual_seed(0)
    weight, bias = torch.randn(out_features, in_features).to(dtype), torch.randn(out_features).to(dtype)
    x = torch.randn(300, in_features)
    with torch.no_grad():
        full = linear(x, weight, bias)
        for rows in (1, 2, 7, 16, 17, 100, 251):
            assert torch.equal(linear(x[30 : 30 + rows], weight, bias), full[30 : 30 + rows])


def test_padded_row_counts_are_few_and_close() -> None:
    padded = [padded_rows(rows) for rows in range(1, 5000)]
    assert all(padded_count >= rows for rows, padded_count in enumerate(padded, start=1))
    assert all(padded_count <= max(16, 1.125 * rows + 15) for rows, padded_count in enumerate(padded, start=1))
    assert len(set(padded)) < 60
    assert padded_rows(1) == linear_module.MIN_ROWS
    assert {padded_rows(rows, min_rows=16) for rows in range(1, 17)} == {16}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("in_features", "out_features"), [(128, 384), (120, 97), (512, 2048)])
def test_packed_weights_give_the_same_bits(dtype: torch.dtype, bias: bool, in_features: int, out_features: int) -> None:
    torch.manual_seed(0)
    layer, x = Linear(in_features, out_features, bias=bias).to(dtype), torch.randn(300, in_features)
    with torch.no_grad():
        unpacked = layer(x)
        pack(layer.weight)
        for rows in (1, 2, 3, 7, 16, 100, 300):
            assert torch.equal(layer(x[:rows]), unpacked[:rows])
        assert torch.equal(layer(x[:100].view(20, 5, in_features)), unpacked[:100].view(20, 5, out_features))
        assert torch.equal(copy.deepcopy(layer)(x), unpacked), "a copy has no packed weight"
        assert torch.equal(pickle.loads(pickle.dumps(layer))(x), unpacked)
    layer(x).sum().backward()
    assert layer.weight.grad is not None, "training does not use the packed weight"


@pytest.mark.parametrize("packed", [True, False])
def test_inputs_without_rows(packed: bool) -> None:
    layer = Linear(8, 6)
    if packed:
        pack(layer.weight)
    with torch.no_grad():
        assert layer(torch.zeros(0, 8)).shape == (0, 6)
        assert layer(torch.zeros(2, 0, 8)).shape == (2, 0, 6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("bias", [True, False])
def test_product_is_the_same_without_onednn_operators(
    dtype: torch.dtype, bias: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(32, 24).to(dtype), torch.randn(40, 24).to(dtype)
    b = torch.randn(40).to(dtype) if bias else None
    fast = linear_module.product(x, weight, b)
    monkeypatch.setattr(linear_module, "_ONEDNN_LINEAR", None)
    monkeypatch.setattr(linear_module, "_ONEDNN_HAS_BF16", False)
    tolerance = 1e-5 if dtype == torch.float32 else 2e-2
    torch.testing.assert_close(linear_module.product(x, weight, b), fast, rtol=tolerance, atol=tolerance)


def test_packed_copies_of_changed_weights_are_not_used() -> None:
    torch.manual_seed(0)
    layer, x = Linear(24, 40), torch.randn(3, 24)
    with torch.no_grad():
        pack(layer.weight)
        layer.weight.mul_(2)
        torch.testing.assert_close(layer(x), F.linear(x, layer.weight, layer.bias))
        pack(layer.weight)
        layer.weight.data = torch.randn(40, 24)
        torch.testing.assert_close(layer(x), F.linear(x, layer.weight, layer.bias))


def test_outputs_may_be_changed_in_place() -> None:
    torch.manual_seed(0)
    layer, x = Linear(16, 8), torch.randn(3, 5, 16)
    y = layer(x)
    y += 1
    torch.relu_(y).sum().backward()
    expected = F.linear(x, layer.weight, layer.bias)
    gradient = torch.autograd.grad((expected + 1).relu().sum(), layer.weight)[0]
    assert layer.weight.grad is not None
    torch.testing.assert_close(layer.weight.grad, gradient, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_packed_copies_are_not_used_for_another_weight_at_the_same_address() -> None:
    """The allocator reuses freed memory, so an address does not identify a weight."""
    for seed in range(20):
        torch.manual_seed(seed)
        layer, x = Linear(64, 64), torch.randn(4, 64)
        pack(layer.weight)
        for _ in range(3):
            layer.weight.data = layer.weight.data * 2
            torch.testing.assert_close(layer(x), F.linear(x, layer.weight, layer.bias), rtol=1e-4, atol=1e-4)


def test_weights_without_a_version_counter_are_not_packed() -> None:
    with torch.inference_mode():
        weight, x = torch.nn.Parameter(torch.randn(32, 32)), torch.randn(4, 32)
        pack(weight)
        weight.mul_(2)
        torch.testing.assert_close(linear(x, weight), F.linear(x, weight), rtol=1e-4, atol=1e-4)


def test_packed_copies_are_not_used_after_a_fused_optimizer_step() -> None:
    torch.manual_seed(0)
    layer, x = Linear(32, 32), torch.randn(4, 32)
    pack(layer.weight)
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.1, fused=True)
    layer(x).sum().backward()
    optimizer.step()
    with torch.no_grad():
        torch.testing.assert_close(layer(x), F.linear(x, layer.weight, layer.bias), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("rows", [16, 13])
def test_overlapping_input_windows(rows: int) -> None:
    torch.manual_seed(0)
    windows, layer = torch.randn(8 * rows + 8).unfold(0, 16, 8), Linear(16, 4)
    torch.testing.assert_close(layer(windows), F.linear(windows, layer.weight, layer.bias), rtol=1e-5, atol=1e-5)
    with torch.no_grad():
        torch.testing.assert_close(layer(windows), F.linear(windows, layer.weight, layer.bias), rtol=1e-5, atol=1e-5)
