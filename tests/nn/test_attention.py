"""Attention against torch's kernels and modules with the same weights; the cache; what padding must not change."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqlab.nn import masks
from seqlab.nn.attention import CrossAttention, DecodingStep, KeyValueCache, SelfAttention, attend, pad_positions
from seqlab.nn.explicit_attention import explicit_attention, split_heads
from seqlab.nn.linear import pad_rows
from seqlab.nn.positions import RotaryPositions

D_MODEL, HEADS = 24, 3


def torch_attention(own: SelfAttention | CrossAttention) -> nn.MultiheadAttention:
    """Copy weights into torch's module."""
    module = nn.MultiheadAttention(D_MODEL, HEADS, batch_first=True)
    if isinstance(own, SelfAttention):
        weights, biases = [own.project_in.weight], [own.project_in.bias]
    else:
        weights = [own.project_query.weight, own.project_memory.weight]
        biases = [own.project_query.bias, own.project_memory.bias]
    with torch.no_grad():
        module.in_proj_weight.copy_(torch.cat(weights))
        module.in_proj_bias.copy_(torch.cat(biases))
        module.out_proj.weight.copy_(own.project_out.weight)
        module.out_proj.bias.copy_(own.project_out.bias)
    return module


@pytest.mark.parametrize("is_causal", [False, True])
def test_explicit_attention_is_scaled_dot_product_attention(is_causal: bool) -> None:
    torch.manual_seed(0)
    query, key, value = torch.randn(3, 2, 4, 6, 8).unbind(0)
    allowed = torch.rand(2, 1, 1, 6) < 0.7
    allowed[..., 0] = True
    permission = masks.causal(6).expand(2, 1, 6, 6) if is_causal else allowed
    bias = None if is_causal else masks.additive(allowed)
    found, weights = attend(query, key, value, bias, is_causal, 0.0, torch.float32, need_weights=True)
    expected = F.scaled_dot_product_attention(query, key, value, permission)
    torch.testing.assert_close(found, expected.transpose(1, 2).flatten(2))
    assert weights is not None
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 4, 6))
    assert bool((weights[~permission.expand_as(weights)] == 0).all())


@pytest.mark.parametrize("size", [5, 21])
def test_gradients_of_explicit_attention_are_those_of_its_formula(size: int) -> None:
    torch.manual_seed(0)
    packed, memory = torch.randn(2, 7, 3 * 8), torch.randn(2, size, 2 * 8)
    bias = masks.additive(masks.can_attend_to_keys(masks.padding_mask(torch.tensor([size, 3]), size)))
    to_merged, to_weights = torch.randn(2, 7, 8), torch.randn(2, 2, 7, size)

    def by_formula(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        query = x[..., 8:16].unflatten(-1, (2, 4)).transpose(1, 2)
        key, value = (part.unflatten(-1, (2, 4)).transpose(1, 2) for part in y.chunk(2, dim=-1))
        weights = torch.softmax(query @ key.transpose(2, 3) / 2 + bias, dim=-1)
        return (weights @ value).transpose(1, 2).flatten(2), weights

    def written_out(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        _, query, _ = split_heads(x, 3, 2)
        return explicit_attention(query, *split_heads(y, 2, 2), bias, 0.0, torch.float32)

    gradients = []
    for function in (by_formula, written_out):
        leaves = packed.clone().requires_grad_(), memory.clone().requires_grad_()
        merged, weights = function(*leaves)
        ((merged * to_merged).sum() + (weights * to_weights).sum()).backward()
        gradients.append([leaf.grad for leaf in leaves])
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-5, atol=1e-6)


def test_self_attention_is_torch_multihead_attention() -> None:
    torch.manual_seed(0)
    own, x = SelfAttention(D_MODEL, HEADS), torch.randn(2, 5, D_MODEL)
    padding = masks.padding_mask(torch.tensor([5, 3]), 5)
    expected, _ = torch_attention(own)(x, x, x, key_padding_mask=padding)
    torch.testing.assert_close(
        own(x, masks.additive(masks.can_attend_to_keys(padding))), expected, rtol=1e-5, atol=1e-5
    )
    forbidden = ~masks.causal(5)
    expected, _ = torch_attention(own)(x, x, x, attn_mask=forbidden)
    torch.testing.assert_close(own(x, is_causal=True), expected, rtol=1e-5, atol=1e-5)


def test_cross_attention_and_its_weights_are_torch_multihead_attention() -> None:
    torch.manual_seed(0)
    own, x, memory = CrossAttention(D_MODEL, HEADS), torch.randn(2, 4, D_MODEL), torch.randn(2, 6, D_MODEL)
    padding = masks.padding_mask(torch.tensor([6, 2]), 6)
    expected, weights = torch_attention(own)(x, memory, memory, key_padding_mask=padding)
    found = own(x, *own.keys_and_values(memory), masks.additive(masks.can_attend_to_keys(padding)), need_weights=True)
    torch.testing.assert_close(found[0], expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found[1], weights, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("rotary", [False, True])
def test_one_position_at_a_time_with_a_cache_is_the_whole_sequence(rotary: bool) -> None:
    torch.manual_seed(0)
    own, x = SelfAttention(D_MODEL, HEADS, rotary=rotary), torch.randn(2, 40, D_MODEL)
    cache = KeyValueCache()
    with torch.inference_mode():
        steps = [own.step(pad_rows(x[:, t]), cache, DecodingStep(t, 2, 2, None))[:2] for t in range(40)]
    torch.testing.assert_close(torch.stack(steps, dim=1), own(x, is_causal=True).detach(), rtol=1e-5, atol=1e-5)


@torch.inference_mode()
def test_rotated_cross_attention_depends_on_distances_alone() -> None:
    torch.manual_seed(0)
    own = CrossAttention(D_MODEL, HEADS, rotary=True)
    x, memory = torch.randn(2, 9, D_MODEL), torch.randn(2, 20, D_MODEL)
    _, weights = own(x, *own.keys_and_values(memory), None, need_weights=True)
    own.rotary = None
    _, unaware = own(x, *own.keys_and_values(memory), None, need_weights=True)
    assert (weights - unaware).abs().max() > 0.01
    own.rotary = RotaryPositions(D_MODEL // HEADS)
    further_on = [torch.cat((torch.zeros_like(part[:, :5]), part), dim=1) for part in (x, memory)]
    is_ahead = torch.zeros(25).index_fill(0, torch.arange(5), float("-inf"))
    _, moved = own(further_on[0], *own.keys_and_values(further_on[1]), is_ahead, need_weights=True)
    torch.testing.assert_close(moved[:, 5:, 5:], weights, rtol=1e-4, atol=1e-5)


def contents(cache: KeyValueCache) -> Tensor:
    assert cache.entries is not None
    return cache.entries[:, :, :, : cache.length]


def test_a_cache_that_is_selected_again_and_again_holds_what_plain_indexing_holds() -> None:
    torch.manual_seed(0)
    cache, expected = KeyValueCache(), torch.randn(3, 2, 0, 4)
    for step in range(40):
        key = torch.randn(expected.size(0), 2, 1, 4)
        cache.append(torch.stack((key, -key)))
        expected = torch.cat([expected, key], dim=2)
        rows = torch.randint(0, expected.size(0), (int(torch.randint(1, 9, ())),))
        kept = cache.fork()
        before = expected
        cache.select(rows)
        expected = expected[rows]
        for fork, content in ((kept, before), (cache, expected)):
            assert torch.equal(contents(fork), torch.stack((content, -content))), step


def test_a_cache_has_room_for_little_more_than_it_holds() -> None:
    cache, copies, at = KeyValueCache(), 0, None
    for length in [100] + [1] * 900:
        cache.append(torch.zeros(2, 3, 2, length, 4))
        assert cache.entries is not None
        assert cache.entries.size(3) <= 2 * cache.length + 16
        copies, at = copies + (cache.entries is not at), cache.entries
    assert copies <= 1 + 4, "it grows by what it holds, not step by step"
    assert contents(cache).shape == (2, 3, 2, 1000, 4)


@pytest.mark.parametrize(
    ("heads", "head_dim", "length"),
    [(4, 8, 1), (4, 8, 3), (4, 8, 16), (2, 20, 40), (1, 64, 1000), (3, 22, 33), (1, 15, 64)],
)
def test_one_query_without_a_bias_is_attention_as_ever(heads: int, head_dim: int, length: int) -> None:
    torch.manual_seed(0)
    query, key, value = (torch.randn(64, heads, size, head_dim) for size in (1, length + 9, length + 9))
    key, value = key[:, :, :length], value[:, :, :length]  # as a cache gives them
    with torch.inference_mode():
        merged, weights = explicit_attention(query, key, value, None, 0.0, torch.float32)
        for rows in ([], [0], [63], [1, 4], [7, 8, 9]):
            found, _ = explicit_attention(query[rows], key[rows], value[rows], None, 0.0, torch.float32)
            assert torch.equal(found, merged[rows]), rows
    expected = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
    torch.testing.assert_close(merged, expected, rtol=1e-5, atol=1e-5)
    scores = query @ key.transpose(2, 3) * head_dim**-0.5
    torch.testing.assert_close(weights, scores.softmax(dim=-1), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("head_dim", [4, 8, 15, 16, 20, 22, 32, 64])
@pytest.mark.parametrize("queries", [1, 2, 5, None])
def test_padding_and_neighbours_change_no_bit(head_dim: int, queries: int | None) -> None:
    """`queries` None: as many as keys, as in an encoder."""
    for length in (3, 16, 37):
        torch.manual_seed(length)
        sentence = torch.randn(3, 4, length, head_dim)
        if queries is not None:
            sentence[0, :, :queries] = torch.randn(4, queries, head_dim) if queries <= length else sentence[0]
        reference = None
        for extra, batch, place in ((0, 1, 0), (0, 3, 1), (20, 2, 1), (70, 1, 0), (100, 5, 4)):
            padded = pad_positions(torch.zeros(1, length + extra, 1), head_dim).size(1)
            tensors = torch.randn(3, batch, 4, padded, head_dim)
            tensors[:, place, :, :length] = sentence
            query, key, value = tensors.unbind(0)
            if queries is not None:
                query = query[:, :, :queries].contiguous()
            permission = masks.can_attend_to_keys(masks.padding_mask(torch.full((batch,), length), padded))
            found, _ = explicit_attention(query, key, value, masks.additive(permission), 0.0, torch.float32)
            found = found[place, : min(length, query.size(2))]
            reference = found if reference is None else reference
            assert torch.equal(found, reference), (length, extra, batch)
