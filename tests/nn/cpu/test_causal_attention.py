"""Blockwise causal attention in bf16 against torch's attention in fp64 on the same inputs."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from seqlab.nn.attention import split_heads
from seqlab.nn.cpu import attention_kernels
from seqlab.nn.embedding import RotaryPositions
from seqlab.nn.kernels import attention


def torch_attention(projected: Tensor, num_heads: int, rotary: RotaryPositions | None) -> Tensor:
    """Compute attention with torch: (B, T, 3 * D) in fp64 -> (B, T, D)."""
    batch, length, _ = projected.shape
    query, key, value = projected.view(batch, length, 3, num_heads, -1).permute(2, 0, 3, 1, 4)
    if rotary is not None:
        query, key = rotary(query), rotary(key)
    return scaled_dot_product_attention(query, key, value, is_causal=True).transpose(1, 2).reshape(batch, length, -1)


def causal_attention(projected: Tensor, num_heads: int, rotary: RotaryPositions | None) -> Tensor:
    """Compute attention as in a layer: (B, T, 3 * D) in bf16 -> (B, T, D)."""
    query, key, value = split_heads(projected, 3, num_heads)
    if rotary is not None:
        query, key = rotary(query), rotary(key)
    return attention(query, key, value, is_causal=True)[0]


def relative_error(found: Tensor, expected: Tensor) -> float:
    return float((found.double() - expected).norm() / expected.norm())


@pytest.mark.parametrize("has_rotary", [False, True])
@pytest.mark.parametrize(("batch", "length", "num_heads", "head_dim"), [(3, 64, 2, 8), (1, 300, 3, 16), (2, 257, 1, 4)])
@pytest.mark.parametrize("cached_scores", [1, 1 << 20])
def test_values_and_gradients_equal_torch(
    batch: int,
    length: int,
    num_heads: int,
    head_dim: int,
    has_rotary: bool,
    cached_scores: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(attention_kernels, "MAX_CACHED_SCORES", cached_scores)
    generator = torch.Generator().manual_seed(1)
    shape = batch, length, 3 * num_heads * head_dim
    projected = torch.randn(shape, generator=generator).bfloat16().requires_grad_()
    grad = torch.randn(*shape[:2], num_heads * head_dim, generator=generator).bfloat16()
    rotary = RotaryPositions(head_dim) if has_rotary else None
    found = causal_attention(projected, num_heads, rotary)
    found.backward(grad)
    exact = projected.detach().double().requires_grad_()
    expected = torch_attention(exact, num_heads, rotary)
    expected.backward(grad.double())
    assert found.dtype == torch.bfloat16
    assert relative_error(found.detach(), expected.detach()) < 0.01  # bf16 keeps 8 bits: 0.004 for each rounding
    assert projected.grad is not None
    assert exact.grad is not None
    assert relative_error(projected.grad, exact.grad) < 0.015
