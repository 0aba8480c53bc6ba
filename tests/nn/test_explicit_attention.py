"""The written-out backward pass against autograd's, with dropout and with gradients of the weights."""

import pytest
import torch

from seqlab.nn.dropout import random_bytes, scaled_keep_mask
from seqlab.nn.explicit_attention import explicit_attention
from seqlab.training.accumulator import seeded


@pytest.mark.parametrize("dropout_p", [0.0, 0.4])
@pytest.mark.parametrize("keys", [5, 20])  # a softmax below 16 keys is padded
def test_values_and_gradients_are_those_of_the_plain_formula(dropout_p: float, keys: int) -> None:
    torch.manual_seed(0)
    batch, heads, queries, size = 3, 2, 6, 8
    query = torch.randn(batch, heads, queries, size, requires_grad=True)
    key, value = (torch.randn(batch, heads, keys, size, requires_grad=True) for _ in range(2))
    bias = torch.zeros(batch, 1, 1, keys)
    bias[1, ..., -2:] = float("-inf")
    with seeded(3, torch.device("cpu")):
        merged, weights = explicit_attention(query, key, value, bias, dropout_p, torch.float32)
    plain = torch.softmax(query @ key.transpose(2, 3) * size**-0.5 + bias, dim=-1)
    dropped = plain
    if dropout_p > 0:
        with seeded(3, torch.device("cpu")):
            dropped = plain * scaled_keep_mask(random_bytes(plain.shape), dropout_p, torch.float32)
        assert (dropped == 0).sum() > (plain == 0).sum()
    expected = (dropped @ value).transpose(1, 2).flatten(2)
    torch.testing.assert_close(merged, expected)
    torch.testing.assert_close(weights, plain)
    out, on_weights = torch.randn_like(merged), torch.randn_like(weights)
    for mine, theirs in zip(
        torch.autograd.grad((merged * out).sum() + (weights * on_weights).sum(), (query, key, value)),
        torch.autograd.grad((expected * out).sum() + (plain * on_weights).sum(), (query, key, value)),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)
