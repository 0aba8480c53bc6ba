"""Best candidates of a beam and their order, against sorting in Python."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seqlab.search.top import best_candidates, top_ids

NEG_INF = float("-inf")


@settings(max_examples=150)
@given(
    seed=st.integers(0, 10**6),
    num_rows=st.integers(0, 6),
    width=st.integers(1, 40) | st.integers(41, 1500),
    levels=st.sampled_from([1, 2, 5, 50, 10**6]),
    banned_share=st.sampled_from([0.0, 0.5, 1.0]),
    data=st.data(),
)
def test_top_ids_prefers_lower_ids_among_equals(
    seed: int, num_rows: int, width: int, levels: int, banned_share: float, data: st.DataObject
) -> None:
    count = data.draw(st.integers(1, min(width, 30)))
    generator = torch.Generator().manual_seed(seed)
    scores = -torch.randint(levels, (num_rows, width), generator=generator) / 8
    scores = scores.masked_fill(torch.rand(scores.shape, generator=generator) < banned_share, NEG_INF)
    values, ids = top_ids(scores, count)
    for row, row_values, row_ids in zip(scores.tolist(), values.tolist(), ids.tolist(), strict=True):
        expected = sorted(range(width), key=lambda i: (-row[i], i))[:count]
        assert row_values == [row[i] for i in expected]
        possible_ids = [i for i in expected if row[i] > NEG_INF]
        assert row_ids[: len(possible_ids)] == possible_ids
        assert len(set(row_ids)) == count


@pytest.mark.parametrize(("num_rows", "width", "count"), [(1, 2, 6), (3, 2, 6), (3, 50, 6), (2, 1, 4)])
def test_best_candidates_prefers_lower_rows_then_lower_ids(num_rows: int, width: int, count: int) -> None:
    generator = torch.Generator().manual_seed(1)
    sentences = 5
    scores = -torch.randint(4, (sentences * num_rows, width), generator=generator) / 4
    log_probs = -torch.randint(3, (sentences, num_rows), generator=generator) / 4
    log_probs[0, -1] = NEG_INF
    found = best_candidates(scores, log_probs, count)
    for sentence in range(sentences):
        expected = []
        for row in range(num_rows):
            row_log_prob = log_probs[sentence, row].item()
            flat = sentence * num_rows + row
            expected += [
                (-(row_log_prob + scores[flat, i].item()), flat, i, scores[flat, i].item()) for i in range(width)
            ]
        expected = [e for e in sorted(expected) if e[0] < float("inf")][:count]
        actual = zip(*(field[sentence].tolist() for field in found), strict=True)
        assert [(-a, b, c, d) for a, b, c, d in actual if a > NEG_INF] == expected
        assert found.log_probs.shape == (sentences, count)


def test_lowest_ids_are_chosen_if_all_scores_are_equal() -> None:
    values, ids = top_ids(torch.zeros(3, 10_000), 7)
    assert ids.tolist() == [list(range(7))] * 3
    assert values.tolist() == [[0.0] * 7] * 3
