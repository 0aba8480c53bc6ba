"""CPU attention against torch's: values, gradients of the bias, dropout, batch invariance."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from seqlab.nn import masks
from seqlab.nn.cpu.attention_kernels import batched_product, step_attention
from seqlab.nn.kernels import attention, pad_bias, prepare_keys


@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("has_gradient", [False, True])
def test_attention_equals_torch(is_causal: bool, has_gradient: bool) -> None:
    torch.manual_seed(0)
    query, key, value = torch.randn(3, 2, 4, 6, 8).unbind(0)
    allowed = torch.rand(2, 1, 1, 6) < 0.7
    allowed[..., 0] = True
    permission = masks.causal(6).expand(2, 1, 6, 6) if is_causal else allowed
    bias = None if is_causal else masks.additive(allowed)
    with torch.set_grad_enabled(has_gradient):
        found, weights = attention(query, key, value, bias, is_causal, 0.0, need_weights=True)
    expected = F.scaled_dot_product_attention(query, key, value, permission)
    torch.testing.assert_close(found, expected.transpose(1, 2).flatten(2))
    assert weights is not None
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 4, 6))
    assert bool((weights[~permission.expand_as(weights)] == 0).all())


@torch.inference_mode()
@pytest.mark.parametrize(
    ("heads", "head_dim", "length"),
    [(4, 8, 1), (4, 8, 3), (4, 8, 16), (2, 20, 40), (1, 64, 1000), (3, 22, 33), (1, 15, 64)],
)
def test_steps_do_not_depend_on_other_sentences(heads: int, head_dim: int, length: int) -> None:
    torch.manual_seed(0)
    query, key, value = (torch.randn(64, heads, size, head_dim) for size in (1, length + 9, length + 9))
    key, value = key[:, :, :length], value[:, :, :length]  # as a cache returns them
    merged, weights = step_attention(query, key, value, None)
    for rows in ([], [0], [63], [1, 4], [7, 8, 9]):
        found, _ = step_attention(query[rows], key[rows], value[rows], None)
        assert torch.equal(found, merged[rows]), rows
    expected = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
    torch.testing.assert_close(merged, expected, rtol=1e-5, atol=1e-5)
    scores = query @ key.transpose(2, 3) * head_dim**-0.5
    torch.testing.assert_close(weights, scores.softmax(dim=-1), rtol=1e-5, atol=1e-5)


def attend(query: Tensor, key: Tensor, value: Tensor, bias: Tensor, is_step: bool) -> Tensor:
    """Compute attention as in a layer, or as in a decoding step with prepared keys and values."""
    if not is_step:
        return attention(query, key, value, bias)[0]
    key, value = (prepare_keys(x, x.size(3)) for x in (key, value))
    return step_attention(query, key, value, pad_bias(bias, key.size(2)))[0]


@torch.inference_mode()
@pytest.mark.parametrize("head_dim", [4, 8, 15, 16, 20, 22, 32, 64])
@pytest.mark.parametrize("queries", [1, 2, 5, None])
def test_attention_does_not_depend_on_other_rows_and_padding(head_dim: int, queries: int | None) -> None:
    """`queries` is the number of queries of a step, or None for as many as keys (as in an encoder)."""
    for length in (3, 16, 37):
        torch.manual_seed(length)
        sentence = torch.randn(3, 4, length, head_dim)
        sentence_query = torch.randn(4, length if queries is None else queries, head_dim)
        reference = None
        for extra, batch, row in ((0, 1, 0), (0, 3, 1), (20, 2, 1), (71, 1, 0), (100, 5, 4)):
            tensors = torch.randn(3, batch, 4, length + extra, head_dim)
            tensors[:, row, :, :length] = sentence
            query, key, value = tensors.unbind(0)
            if queries is None:
                query[row, :, :length] = sentence_query
            else:
                query = torch.randn(batch, 4, queries, head_dim)
                query[row] = sentence_query
            permission = masks.can_attend_to_keys(masks.padding_mask(torch.full((batch,), length), length + extra))
            found = attend(query, key, value, masks.additive(permission), queries is not None)
            found = found[row, : sentence_query.size(1)]
            reference = found if reference is None else reference
            assert torch.equal(found, reference), (length, extra, batch)


@torch.inference_mode()
@pytest.mark.parametrize("is_step", [False, True])
def test_batched_product_is_batch_invariant(is_step: bool) -> None:
    torch.manual_seed(0)
    for size in (16, 48, 256):
        a, b = torch.randn(9, 40, size), torch.randn(9, size, 32)
        full = batched_product(a, b, is_step)
        torch.testing.assert_close(full, a @ b, rtol=1e-4, atol=1e-4)
        for rows in ([0], [3, 4], [8, 1, 2]):
            assert torch.equal(batched_product(a[rows], b[rows], is_step), full[rows])
        if not is_step:
            for queries in (1, 3, 16, 33):
                assert torch.equal(batched_product(a[:, :queries], b, is_step), full[:, :queries])


def test_bias_with_a_gradient_equals_torch() -> None:
    torch.manual_seed(0)
    query, key, value = torch.randn(3, 2, 4, 6, 8).unbind(0)
    bias = torch.randn(1, 4, 6, 6, requires_grad=True)
    found, _ = attention(query, key, value, bias)
    expected = F.scaled_dot_product_attention(query, key, value, bias).transpose(1, 2).flatten(2)
    grads = [torch.autograd.grad(each.square().sum(), bias)[0] for each in (found, expected)]
    torch.testing.assert_close(*grads, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_dropout_works_with_gradients_disabled() -> None:
    torch.manual_seed(0)
    query, key, value = torch.randn(3, 2, 4, 6, 8).unbind(0)
    plain, dropped = (attention(query, key, value, dropout_p=p)[0] for p in (0.0, 0.5))
    assert (plain != dropped).float().mean() > 0.9


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (2, 1, 6, 1), (1, 4, 1, 6), (6, 6), (6,)])
@pytest.mark.parametrize("has_gradient", [False, True])
def test_bias_is_broadcast_to_the_scores(shape: tuple[int, ...], has_gradient: bool) -> None:
    torch.manual_seed(0)
    query, key, value = torch.randn(3, 2, 4, 6, 8).unbind(0)
    bias = torch.randn(shape)
    with torch.set_grad_enabled(has_gradient):
        found, _ = attention(query, key, value, bias)
    expected = F.scaled_dot_product_attention(query, key, value, bias.expand(2, 4, 6, 6))
    torch.testing.assert_close(found, expected.transpose(1, 2).flatten(2))
    with pytest.raises(TypeError, match=r"`bias` is added to the scores, but is of torch\.bool"):
        attention(query, key, value, bias > 0)
