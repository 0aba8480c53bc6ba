"""Greedy search against a reference implementation in plain Python, and against beam search."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.exhaustive import greedy
from reference.scripted import ScriptedStepper, batch_of

from seqlab.search.beam import beam_search
from seqlab.search.config import SearchConfig
from seqlab.search.greedy import greedy_search


@settings(max_examples=60)
@given(
    seed=st.integers(0, 10**6),
    eos_id=st.integers(0, 2),
    src_lengths=st.lists(st.integers(1, 6), min_size=1, max_size=5),
    min_ratio=st.sampled_from([0.0, 1.0]),
    no_repeat=st.integers(0, 3),
    alpha=st.sampled_from([-1.0, 0.0, 1.0]),
    levels=st.sampled_from([None, 2]),
    banned_share=st.sampled_from([0.0, 0.4]),
    data=st.data(),
)
def test_greedy_search_takes_the_best_allowed_id(
    seed: int, eos_id: int, src_lengths: list[int], min_ratio: float, no_repeat: int, alpha: float,
    levels: int | None, banned_share: float, data: Any,
) -> None:  # fmt: skip
    config = SearchConfig(
        beam_size=1,
        length_alpha=alpha,
        max_length_ratio=1.5,
        max_length_offset=1,
        min_length_ratio=min_ratio,
        no_repeat_ngram_size=no_repeat,
    )
    model = ScriptedStepper(4, eos_id, seed=seed, levels=levels, banned_share=banned_share)
    others = [i for i in range(4) if i != eos_id]
    prefixes = [data.draw(st.lists(st.sampled_from(others), max_size=n)) for n in src_lengths]
    keys = list(range(len(src_lengths)))
    batch = batch_of(keys, src_lengths)
    found = greedy_search(model, batch, config, prefixes=prefixes, banned_ids=others[:1])
    for key, h in enumerate(found):
        n = src_lengths[key]
        min_length, max_length = max(1, int(min_ratio * n)), int(1.5 * n) + 1
        expected = greedy(
            lambda history, key=key: model.table(key, history), eos_id, config, min_length, max_length,
            tuple(prefixes[key]), others[:1],
        )  # fmt: skip
        assert (tuple(h.ids), h.finished) == (expected.ids, expected.finished)
        assert h.log_prob == pytest.approx(expected.log_prob, rel=1e-5, abs=1e-6)
        assert h.score == pytest.approx(expected.score, rel=1e-5, abs=1e-6)
        assert len(h.token_log_probs) == len(h.ids) + h.finished
    assert beam_search(model, batch, config, prefixes=prefixes, banned_ids=others[:1]) == [[h] for h in found]


def test_finished_sentences_are_removed() -> None:
    model = ScriptedStepper(3, eos_id=0)
    model.table = lambda key, history: (-0.1, -1.0, -2.0) if len(history) == key else (-1.0, -0.1, -2.0)
    found = greedy_search(model, batch_of([2, 0, 1]), SearchConfig())
    assert [h.ids for h in found] == [[1, 1], [], [1]]
    assert model.rows_per_step == [3, 2, 1]
