"""Attention against torch's kernels and modules with the same weights; the cache; what padding must not change."""

import pytest
import torch
from torch import Tensor, nn

from seqlab.nn import masks
from seqlab.nn.attention import CrossAttention, SelfAttention
from seqlab.nn.embedding import RotaryPositions
from seqlab.nn.kv_cache import DecodingStep, KeyValueCache

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
    found = own(x, own.prepare(memory, masks.additive(masks.can_attend_to_keys(padding))), need_weights=True)
    torch.testing.assert_close(found[0], expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found[1], weights, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("rotary", [False, True])
def test_one_position_at_a_time_with_a_cache_is_the_whole_sequence(rotary: bool) -> None:
    torch.manual_seed(0)
    own, x = SelfAttention(D_MODEL, HEADS, rotary=rotary), torch.randn(2, 40, D_MODEL)
    cache = KeyValueCache()
    with torch.inference_mode():
        steps = [own.step(x[:, t], cache, DecodingStep(t, 2, 2, None)) for t in range(40)]
    torch.testing.assert_close(torch.stack(steps, dim=1), own(x, is_causal=True).detach(), rtol=1e-5, atol=1e-5)


@torch.inference_mode()
def test_rotated_cross_attention_depends_on_distances_alone() -> None:
    torch.manual_seed(0)
    own = CrossAttention(D_MODEL, HEADS, rotary=True)
    x, memory = torch.randn(2, 9, D_MODEL), torch.randn(2, 20, D_MODEL)
    everywhere = torch.zeros(1, 1, 1, 20)
    _, weights = own(x, own.prepare(memory, everywhere), need_weights=True)
    own.rotary = None
    _, unaware = own(x, own.prepare(memory, everywhere), need_weights=True)
    assert (weights - unaware).abs().max() > 0.01
    own.rotary = RotaryPositions(D_MODEL // HEADS)
    further_on = [torch.cat((torch.zeros_like(part[:, :5]), part), dim=1) for part in (x, memory)]
    is_ahead = torch.zeros(1, 1, 1, 25).index_fill(3, torch.arange(5), float("-inf"))
    _, moved = own(further_on[0], own.prepare(further_on[1], is_ahead), need_weights=True)
    torch.testing.assert_close(moved[:, 5:, 5:25], weights[..., :20], rtol=1e-4, atol=1e-5)


def contents(cache: KeyValueCache) -> Tensor:
    assert cache.entries is not None
    return cache.entries[:, :, :, : cache.length]


def test_a_cache_that_is_selected_again_and_again_holds_what_plain_indexing_holds() -> None:
    torch.manual_seed(0)
    cache, expected = KeyValueCache(), torch.randn(3, 2, 0, 4)
    for step in range(40):
        key = torch.randn(expected.size(0), 2, 1, 4)
        cache.append(key, -key)
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
        cache.append(*torch.zeros(2, 3, 2, length, 4))
        assert cache.entries is not None
        assert cache.entries.size(3) <= 2 * cache.length + 16
        copies, at = copies + (cache.entries is not at), cache.entries
    assert copies <= 1 + 4, "it grows by what it holds, not step by step"
    assert contents(cache).shape == (2, 3, 2, 1000, 4)
