"""Masks against their definitions, and fully masked queries."""

import torch

from seqlab.nn import masks


def test_padding_is_true_from_the_length_on() -> None:
    expected = torch.tensor([[False, True, True], [False, False, False]])
    assert torch.equal(masks.padding_mask(torch.tensor([1, 3]), 3), expected)


def test_keys_may_be_attended_to_where_there_is_no_padding() -> None:
    mask = torch.tensor([[False, True], [False, False]])
    permission = masks.can_attend_to_keys(mask)
    assert permission.shape == (2, 1, 1, 2)
    assert torch.equal(permission[:, 0, 0], ~mask)


def test_causal_permits_the_past_and_the_present() -> None:
    expected = [[j <= i for j in range(4)] for i in range(4)]
    assert masks.causal(4).tolist() == expected


def test_additive_is_zero_or_minus_infinity() -> None:
    assert masks.additive(torch.tensor([True, False])).tolist() == [0.0, float("-inf")]
