"""Exact search: brute force over all sequences, score bounds, step limits."""

import sys
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.exhaustive import all_sequences
from reference.scripted import ScriptedStepper, batch_of
from reference.tiny_translators import ALL, RECURRENT, SRC, TRANSFORMERS, build
from reference.tiny_translators import batch_of as batch_of_pairs

from seqlab.data.batch import collate
from seqlab.search.beam import beam_search
from seqlab.search.config import SearchConfig
from seqlab.search.exact import exact_search


@settings(max_examples=100)
@given(
    seed=st.integers(0, 10**6),
    vocab_size=st.integers(2, 4),
    eos_id=st.integers(0, 1),
    sentences=st.integers(1, 4),
    src_length=st.integers(1, 4),
    min_ratio=st.sampled_from([0.0, 0.5, 1.0]),
    no_repeat=st.integers(0, 2),
    alpha=st.sampled_from([-0.7, 0.0, 0.6, 1.0, 1.7]),
    formula=st.sampled_from(["plain", "gnmt"]),
    banned_share=st.sampled_from([0.0, 0.3]),
)
def test_exact_search_finds_the_best_of_all_sequences(
    seed: int, vocab_size: int, eos_id: int, sentences: int, src_length: int, min_ratio: float, no_repeat: int,
    alpha: float, formula: Any, banned_share: float,
) -> None:  # fmt: skip
    config = SearchConfig(
        length_penalty=formula,
        length_alpha=alpha,
        max_length=5,
        max_length_offset=3,
        min_length_ratio=min_ratio,
        no_repeat_ngram_size=no_repeat,
    )
    model = ScriptedStepper(vocab_size, eos_id, seed=seed, banned_share=banned_share)
    keys = list(range(sentences))
    max_length, min_length = min(5, 2 * src_length + 3), max(1, int(min_ratio * src_length))
    for key, found in zip(keys, exact_search(model, batch_of(keys, [src_length] * sentences), config), strict=True):
        sequences = all_sequences(
            lambda h, key=key: model.table(key, h), eos_id, config, min(min_length, max_length), max_length
        )
        finished = [each for each in sequences if each.finished]
        assert found.is_complete
        if not finished:
            assert found.best is None
        else:
            assert found.best is not None
            assert found.best.score == pytest.approx(max(each.score for each in finished), rel=1e-5, abs=1e-6)
            assert any(
                tuple(found.best.ids) == each.ids and found.best.log_prob == pytest.approx(each.log_prob, abs=1e-5)
                for each in finished
            )


def test_minimum_score_saves_steps_and_excludes_lower_scores() -> None:
    model, config = ScriptedStepper(), SearchConfig(max_length=6)
    (unbounded,) = exact_search(model, batch_of([3]), config)
    assert unbounded.best is not None
    (bounded,) = exact_search(model, batch_of([3]), config, min_scores=[unbounded.best.score - 1e-4])
    assert bounded.best == unbounded.best
    assert bounded.num_steps <= unbounded.num_steps
    (excluded,) = exact_search(model, batch_of([3]), config, min_scores=[unbounded.best.score])
    assert excluded.best is None
    assert excluded.is_complete


def test_search_is_incomplete_at_the_step_limit() -> None:
    (found,) = exact_search(ScriptedStepper(spread=0.01), batch_of([0]), SearchConfig(max_length=6), max_steps=3)
    assert not found.is_complete
    assert found.num_steps == 3


@pytest.mark.parametrize("seed", range(5))
def test_step_limit_equal_to_the_needed_steps_is_enough(seed: int) -> None:
    model, config, batch = ScriptedStepper(seed=seed), SearchConfig(max_length=6), batch_of([seed])
    (unbounded,) = exact_search(model, batch, config)
    assert exact_search(model, batch, config, max_steps=unbounded.num_steps) == [unbounded]
    (limited,) = exact_search(model, batch, config, max_steps=unbounded.num_steps - 1)
    assert not limited.is_complete


@pytest.mark.parametrize(("config", "rows"), [(TRANSFORMERS["pre"], ALL), (RECURRENT["lstm"], [0, 3])])
def test_scores_equal_one_teacher_forced_pass(config: Any, rows: list[int]) -> None:
    """Branches of the search do not change each other's states, and no beam finds a better score."""
    model = build(config)
    with torch.no_grad():
        model.projection.weight[model.eos_id] *= 8  # so that hypotheses end
    search = SearchConfig(beam_size=30, max_length=3, early_stopping=False)
    batch = batch_of_pairs(rows, with_target=False)
    beams = beam_search(model, batch, search)
    found = exact_search(model, batch, search, max_steps=3000)
    assert any(exact.is_complete and exact.best is not None for exact in found)
    for i, beam, exact in zip(rows, beams, found, strict=True):
        if exact.is_complete and exact.best is not None:
            pair = collate([SRC[i]], [exact.best.ids], [i], pad_id=0, bos_id=model.bos_id, eos_id=model.eos_id)
            assert float(model.score(pair).sum()) == pytest.approx(exact.best.log_prob, abs=1e-4)
            assert not beam[0].finished or exact.best.score >= beam[0].score - 1e-4


def test_long_hypotheses_do_not_exceed_the_recursion_limit() -> None:
    steps = sys.getrecursionlimit() + 100
    config = SearchConfig(max_length=2 * steps)
    (found,) = exact_search(ScriptedStepper(spread=0.0), batch_of([0]), config, max_steps=steps)
    assert found.num_steps == steps
