"""Padding masks, attention masks and additive masks against their definitions."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from seqlab.nn import masks


def test_padding_mask_is_true_at_and_after_the_length() -> None:
    expected = torch.tensor([[False, True, True], [False, False, False]])
    assert torch.equal(masks.padding_mask(torch.tensor([1, 3]), 3), expected)


def test_only_padding_keys_are_masked() -> None:
    mask = torch.tensor([[False, True], [False, False]])
    permission = masks.can_attend_to_keys(mask)
    assert permission.shape == (2, 1, 1, 2)
    assert torch.equal(permission[:, 0, 0], ~mask)


def test_causal_mask() -> None:
    expected = [[j <= i for j in range(4)] for i in range(4)]
    assert masks.causal(4).tolist() == expected


def test_additive_mask_is_zero_or_minus_infinity() -> None:
    assert masks.additive(torch.tensor([True, False])).tolist() == [0.0, float("-inf")]


@given(rows=st.lists(st.lists(st.integers(1, 5), max_size=5), min_size=1, max_size=4), extra=st.integers(0, 3))
def test_packed_rows_attend_only_within_documents(rows: list[list[int]], extra: int) -> None:
    """Rows hold documents of the given lengths, padded by zero positions and by columns beyond `positions`."""
    width = max(1, *(sum(row) for row in rows))
    documents = [[number for number, length in enumerate(row) for _ in range(length)] for row in rows]
    positions = [[position for length in row for position in range(length)] + [0] * (width - sum(row)) for row in rows]
    found = masks.causal_within_documents(torch.tensor(positions), width + extra)
    assert found.shape == (len(rows), 1, width + extra, width + extra)
    for permission, document in zip(found[:, 0].tolist(), documents, strict=True):
        for i in range(width + extra):
            if i < len(document):
                assert permission[i] == [
                    j <= i and j < len(document) and document[j] == document[i] for j in range(width + extra)
                ]
            assert permission[i][i], "a softmax over no position is NaN"
            assert not any(permission[i][i + 1 :])
