"""Attention layers against `torch.nn.MultiheadAttention` with the same weights, and the KV cache."""

import torch
from torch import Tensor, nn

from seqlab.nn import masks
from seqlab.nn.attention import CrossAttention, SelfAttention
from seqlab.nn.embedding import RotaryPositions
from seqlab.nn.kv_cache import KeyValueCache

D_MODEL, HEADS = 24, 3


def torch_attention(module: SelfAttention | CrossAttention) -> nn.MultiheadAttention:
    """Build `torch.nn.MultiheadAttention` with the same weights."""
    reference = nn.MultiheadAttention(D_MODEL, HEADS, batch_first=True)
    if isinstance(module, SelfAttention):
        weights, biases = [module.project_in.weight], [module.project_in.bias]
    else:
        weights = [module.project_query.weight, module.project_memory.weight]
        biases = [module.project_query.bias, module.project_memory.bias]
    with torch.no_grad():
        reference.in_proj_weight.copy_(torch.cat(weights))
        reference.in_proj_bias.copy_(torch.cat(biases))
        reference.out_proj.weight.copy_(module.project_out.weight)
        reference.out_proj.bias.copy_(module.project_out.bias)
    return reference


def test_self_attention_equals_torch() -> None:
    torch.manual_seed(0)
    module, x = SelfAttention(D_MODEL, HEADS), torch.randn(2, 5, D_MODEL)
    padding = masks.padding_mask(torch.tensor([5, 3]), 5)
    expected, _ = torch_attention(module)(x, x, x, key_padding_mask=padding)
    torch.testing.assert_close(
        module(x, masks.additive(masks.can_attend_to_keys(padding))), expected, rtol=1e-5, atol=1e-5
    )
    forbidden = ~masks.causal(5)
    expected, _ = torch_attention(module)(x, x, x, attn_mask=forbidden)
    torch.testing.assert_close(module(x, is_causal=True), expected, rtol=1e-5, atol=1e-5)


def test_cross_attention_and_weights_equal_torch() -> None:
    torch.manual_seed(0)
    module, x, memory = CrossAttention(D_MODEL, HEADS), torch.randn(2, 4, D_MODEL), torch.randn(2, 6, D_MODEL)
    padding = masks.padding_mask(torch.tensor([6, 2]), 6)
    expected, weights = torch_attention(module)(x, memory, memory, key_padding_mask=padding)
    found = module(x, module.prepare(memory, masks.additive(masks.can_attend_to_keys(padding))), need_weights=True)
    torch.testing.assert_close(found[0], expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found[1], weights, rtol=1e-5, atol=1e-5)


@torch.inference_mode()
def test_rotary_cross_attention_depends_only_on_distances() -> None:
    torch.manual_seed(0)
    module = CrossAttention(D_MODEL, HEADS, rotary=True)
    x, memory = torch.randn(2, 9, D_MODEL), torch.randn(2, 20, D_MODEL)
    bias = torch.zeros(1, 1, 1, 20)
    _, weights = module(x, module.prepare(memory, bias), need_weights=True)
    module.rotary = None
    _, unrotated = module(x, module.prepare(memory, bias), need_weights=True)
    assert (weights - unrotated).abs().max() > 0.01
    module.rotary = RotaryPositions(D_MODEL // HEADS)
    shifted = [torch.cat((torch.zeros_like(each[:, :5]), each), dim=1) for each in (x, memory)]
    shifted_bias = torch.zeros(1, 1, 1, 25).index_fill(3, torch.arange(5), float("-inf"))
    _, shifted_weights = module(shifted[0], module.prepare(shifted[1], shifted_bias), need_weights=True)
    torch.testing.assert_close(shifted_weights[:, 5:, 5:25], weights[..., :20], rtol=1e-4, atol=1e-5)


def keys_and_values(cache: KeyValueCache) -> Tensor:
    """Return the cached keys and values (2, B, H, L, head_dim)."""
    assert cache.entries is not None
    return cache.entries[:, :, :, : cache.length]


def test_repeated_select_equals_row_indexing() -> None:
    torch.manual_seed(0)
    cache, expected = KeyValueCache(), torch.randn(3, 2, 0, 4)
    for step in range(40):
        key = torch.randn(expected.size(0), 2, 1, 4)
        cache.append(key, -key)
        expected = torch.cat([expected, key], dim=2)
        rows = torch.randint(0, expected.size(0), (int(torch.randint(1, 9, ())),))
        fork = cache.fork()
        before = expected
        cache.select(rows)
        expected = expected[rows]
        for each, content in ((fork, before), (cache, expected)):
            assert torch.equal(keys_and_values(each), torch.stack((content, -content))), step


def test_cache_capacity_doubles_and_stays_bounded() -> None:
    cache, num_copies, previous = KeyValueCache(), 0, None
    for length in [100] + [1] * 900:
        cache.append(*torch.zeros(2, 3, 2, length, 4))
        assert cache.entries is not None
        assert cache.entries.size(3) <= 2 * cache.length + 16
        num_copies, previous = num_copies + (cache.entries is not previous), cache.entries
    assert num_copies <= 1 + 4, "the capacity doubles instead of growing at each step"
    assert keys_and_values(cache).shape == (2, 3, 2, 1000, 4)
