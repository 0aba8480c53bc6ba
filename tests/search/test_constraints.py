"""Constraints of a search against plain loops; invalid arguments."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from reference.exhaustive import has_repeats
from reference.scripted import ScriptedStepper, batch_of

from seqlab.models.outputs import NEG_INF
from seqlab.search.beam import beam_search
from seqlab.search.config import SearchConfig
from seqlab.search.constraints import (
    NOT_FORCED,
    ban_early_end,
    ban_ids,
    ban_repeated_ngrams,
    force_ids,
    has_repeated_ngram,
)
from seqlab.search.greedy import greedy_search


@given(
    ids=st.integers(0, 7).flatmap(
        lambda n: st.lists(st.lists(st.integers(0, 2), min_size=n, max_size=n), min_size=1, max_size=4)
    ),
    size=st.integers(1, 4),
)
def test_banned_ids_are_those_that_complete_a_repeated_ngram(ids: list[list[int]], size: int) -> None:
    scores = torch.randn(len(ids), 3)
    before = scores.clone()
    allowed = ban_repeated_ngrams(scores, torch.tensor(ids, dtype=torch.int64).view(len(ids), -1), size)
    assert torch.equal(scores, before)
    for row, history in enumerate(ids):
        earlier_ngrams = {tuple(history[i : i + size]) for i in range(len(history) - size + 1)}
        assert has_repeated_ngram(history, size) == has_repeats(history, size)
        for i in range(3):
            completes = (*history, i)[-size:] in earlier_ngrams
            assert allowed[row, i] == (NEG_INF if completes else scores[row, i])


def test_constraints_other_than_ban_ids_do_not_change_their_input() -> None:
    scores = torch.arange(-6.0, 0.0).view(2, 3)
    before = scores.clone()
    assert ban_ids(scores.clone(), torch.tensor([0, 2])).tolist() == [[NEG_INF, -5, NEG_INF], [NEG_INF, -2, NEG_INF]]
    assert ban_early_end(scores, torch.tensor([True, False]), 1).tolist() == [[-6, NEG_INF, -4], [-3, -2, -1]]
    free = scores - 10
    forced = force_ids(scores, free, torch.tensor([NOT_FORCED, 2]))
    assert forced.tolist() == [[-6, -5, -4], [NEG_INF, NEG_INF, -11]]
    assert torch.equal(scores, before)


@pytest.mark.parametrize("beam_size", [1, 4])
@pytest.mark.parametrize("size", [1, 2, 3])
def test_no_hypothesis_repeats_an_ngram(beam_size: int, size: int) -> None:
    model = ScriptedStepper(5, spread=0.3)
    config = SearchConfig(beam_size=beam_size, num_hypotheses=beam_size, max_length=9, no_repeat_ngram_size=size)
    for found in beam_search(model, batch_of(list(range(8))), config):
        assert not any(has_repeats(h.ids, size) for h in found)


@pytest.mark.parametrize("beam_size", [1, 4])
def test_prefixes_override_other_constraints(beam_size: int) -> None:
    model = ScriptedStepper(5)
    config = SearchConfig(beam_size=beam_size, num_hypotheses=beam_size, max_length=9, no_repeat_ngram_size=1)
    prefixes = [[2, 2, 3, 3], [], [4]]
    batch = batch_of([0, 1, 2])
    for prefix, found in zip(
        prefixes, beam_search(model, batch, config, prefixes=prefixes, banned_ids=[3]), strict=True
    ):
        for h in found:
            assert h.ids[: len(prefix)] == prefix
            assert 3 not in h.ids[len(prefix) :]


@pytest.mark.parametrize("search", [greedy_search, beam_search])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"prefixes": [[0]]}, r"`prefixes\[0\]` must not contain `eos_id` \(0\), but is \[0\] instead"),
        ({"prefixes": [[1, 4]]}, r"`prefixes\[0\]` must hold ids from 0 to 3, but holds 4"),
        ({"prefixes": [[-1]]}, r"`prefixes\[0\]` must hold ids from 0 to 3, but holds -1"),
        ({"prefixes": [[1], [1]]}, r"`prefixes` must have one entry per sentence \(1\), but has 2"),
        ({"prefixes": [[1] * 6]}, r"`prefixes\[0\]` has 6 ids, which leaves no room for eos .* maximum length of 6"),
        ({"banned_ids": [0]}, r"`banned_ids` must not contain `eos_id` \(0\)"),
        ({"banned_ids": [9]}, r"`banned_ids` must be from 0 to 3, but one is 9"),
    ],
)
def test_invalid_arguments_are_refused(search: Any, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        search(ScriptedStepper(), batch_of([0]), SearchConfig(max_length=6), **arguments)


def test_minimum_length_ratio_without_a_source_is_refused() -> None:
    with pytest.raises(ValueError, match=r"`min_length_ratio` is 0\.5, but the batch has no `src_lengths`"):
        beam_search(ScriptedStepper(), batch_of([0]), SearchConfig(min_length_ratio=0.5))
