"""Beam search: exhaustive search as a reference, stopping rules, ties, attention, independence of the batch."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.exhaustive import all_sequences, best
from reference.scripted import ScriptedStepper, batch_of

from seqlab.search import beam as beam_module
from seqlab.search.beam import beam_search
from seqlab.search.config import SearchConfig
from seqlab.search.hypothesis import Hypothesis

EXHAUSTIVE_BEAM_SIZE = 400  # more than all candidates of a step with 4 ids and 5 steps (4 * 3^4)


def assert_same(found: list[Hypothesis], expected: list[Any]) -> None:
    assert [tuple(h.ids) for h in found] == [e.ids for e in expected]
    assert [h.finished for h in found] == [e.finished for e in expected]
    for h, e in zip(found, expected, strict=True):
        assert h.score == pytest.approx(e.score, rel=1e-5, abs=1e-6)
        assert h.log_prob == pytest.approx(e.log_prob, rel=1e-5, abs=1e-6)
        assert sum(h.token_log_probs) == pytest.approx(e.log_prob, rel=1e-5, abs=1e-6)
        assert len(h.token_log_probs) == len(h.ids) + h.finished


@pytest.mark.parametrize("formula", ["plain", "gnmt"])
@pytest.mark.parametrize("alpha", [-1.0, 0.0, 0.6, 1.0, 2.5])
def test_beam_of_all_candidates_is_exact(formula: Any, alpha: float) -> None:
    config = SearchConfig(
        beam_size=EXHAUSTIVE_BEAM_SIZE,
        num_hypotheses=7,
        length_penalty=formula,
        length_alpha=alpha,
        max_length=5,
        early_stopping=False,
    )
    keys = list(range(6))
    model = ScriptedStepper()
    for key, found in zip(keys, beam_search(model, batch_of(keys), config), strict=True):
        expected = best(all_sequences(lambda h, key=key: model.table(key, h), 0, config, 1, 5), 7)
        assert_same(found, expected)


@settings(max_examples=150)
@given(
    seed=st.integers(0, 10**6),
    vocab_size=st.integers(2, 4),
    eos_id=st.integers(0, 1),
    num_hypotheses=st.integers(1, 40),
    src_lengths=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    min_ratio=st.sampled_from([0.0, 0.5, 1.0, 3.0]),
    max_ratio=st.sampled_from([0.0, 0.7, 1.0, 2.0]),
    offset=st.integers(-1, 3),
    no_repeat=st.integers(0, 3),
    alpha=st.sampled_from([-0.7, 0.0, 0.6, 1.0, 1.7]),
    formula=st.sampled_from(["plain", "gnmt"]),
    banned_share=st.sampled_from([0.0, 0.3]),
    data=st.data(),
)
def test_beam_of_all_candidates_is_exact_under_all_constraints(
    seed: int, vocab_size: int, eos_id: int, num_hypotheses: int, src_lengths: list[int], min_ratio: float,
    max_ratio: float, offset: int, no_repeat: int, alpha: float, formula: Any, banned_share: float, data: Any,
) -> None:  # fmt: skip
    config = SearchConfig(
        beam_size=EXHAUSTIVE_BEAM_SIZE,
        num_hypotheses=num_hypotheses,
        length_penalty=formula,
        length_alpha=alpha,
        max_length_ratio=max_ratio,
        max_length_offset=offset,
        max_length=5,
        min_length_ratio=min_ratio,
        no_repeat_ngram_size=no_repeat,
        early_stopping=False,
    )
    model = ScriptedStepper(vocab_size, eos_id, seed=seed, banned_share=banned_share)
    others = [i for i in range(vocab_size) if i != eos_id]
    max_lengths = [max(1, min(5, int(max_ratio * n) + offset)) for n in src_lengths]
    min_lengths = [min(limit, max(1, int(min_ratio * n))) for n, limit in zip(src_lengths, max_lengths, strict=True)]
    prefixes = [data.draw(st.lists(st.sampled_from(others), max_size=limit - 1)) for limit in max_lengths]
    banned_ids = data.draw(st.lists(st.sampled_from(others), max_size=1))
    keys = list(range(len(src_lengths)))
    batch = batch_of(keys, src_lengths)
    found = beam_search(model, batch, config, prefixes=prefixes, banned_ids=banned_ids)
    for key in keys:
        sequences = all_sequences(
            lambda h, key=key: model.table(key, h), eos_id, config, min_lengths[key], max_lengths[key],
            tuple(prefixes[key]), banned_ids,
        )  # fmt: skip
        expected = best(sequences, num_hypotheses)
        if expected:
            assert_same(found[key], expected)
        else:  # all ids are forbidden at some step: the hypotheses until then are returned
            assert found[key]
            assert not any(h.finished for h in found[key])
            assert all(len(h.ids) < max_lengths[key] for h in found[key])


@pytest.mark.parametrize("beam_size", [2, 3, 5])
@pytest.mark.parametrize("alpha", [-1.0, 0.0, 1.0, 2.0])
def test_stopping_without_early_stopping_does_not_change_the_result(
    beam_size: int, alpha: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = SearchConfig(
        beam_size=beam_size,
        num_hypotheses=2,
        length_alpha=alpha,
        max_length_ratio=2,
        max_length_offset=4,
        early_stopping=False,
    )
    keys = list(range(40))
    batch = batch_of(keys, [1 + key % 5 for key in keys])
    model = ScriptedStepper(6, spread=2.5)
    stopped = beam_search(model, batch, config)
    num_rows = sum(model.rows_per_step)

    def is_done_at_max_length(pool: Any, live: Any, beam: Any, rules: Any, length: int) -> torch.Tensor:
        is_dead = live.log_probs[:, 0] == float("-inf")
        return is_dead | (length >= rules.max_lengths[beam.active])

    monkeypatch.setattr(beam_module, "_is_done", is_done_at_max_length)
    assert beam_search(model, batch, config) == stopped
    if alpha <= 1:  # with an alpha of 2, a longer hypothesis can nearly always win
        assert sum(model.rows_per_step) > num_rows


def search_until_beam_size_have_finished(
    model: ScriptedStepper, key: int, config: SearchConfig, max_length: int
) -> tuple[int, ...]:
    """Search in plain Python until `beam_size` hypotheses have finished and no unfinished one is better."""
    rows: list[tuple[tuple[int, ...], float]] = [((), 0.0)]
    finished: list[tuple[float, tuple[int, ...]]] = []
    for length in range(1, max_length + 1):
        candidates = [((*ids, i), total + x) for ids, total in rows for i, x in enumerate(model.table(key, ids))]
        candidates.sort(key=lambda row: -row[1])
        ended = [row for row in candidates[: config.beam_size] if row[0][-1] == model.eos_id]
        finished += [(total / length**config.length_alpha, ids[:-1]) for ids, total in ended]
        rows = [row for row in candidates if row[0][-1] != model.eos_id][: config.beam_size]
        if len(finished) >= config.beam_size and rows[0][1] / length**config.length_alpha <= max(finished)[0]:
            break
    return max(finished)[1]


@pytest.mark.parametrize("beam_size", [2, 3, 5])
def test_early_stopping_returns_the_best_of_the_first_finished(beam_size: int) -> None:
    config = SearchConfig(beam_size=beam_size, early_stopping=True, max_length_ratio=2, max_length_offset=8)
    keys = list(range(60))
    model = ScriptedStepper(6, spread=2.5)
    found = beam_search(model, batch_of(keys, [1 + key % 5 for key in keys]), config)
    num_rows = sum(model.rows_per_step)
    expected = [search_until_beam_size_have_finished(model, key, config, 2 * (1 + key % 5) + 8) for key in keys]
    assert [tuple(best[0].ids) for best in found] == expected
    beam_search(model, batch_of(keys, [1 + key % 5 for key in keys]), replace(config, early_stopping=False))
    assert sum(model.rows_per_step) > 1.5 * num_rows


def test_improbable_short_hypotheses_do_not_stop_the_search() -> None:
    """Each letter is almost certain, as in a spelling model. Other rows end early, with a low probability."""

    class NearlyCertain(ScriptedStepper):
        def _table(self, key: int, history: tuple[int, ...]) -> tuple[float, ...]:
            likely_id = self.eos_id if len(history) == 12 else 2 + len(history) % 3
            return tuple(
                -0.01 if i == likely_id else -4.0 if i == self.eos_id else -9.0 for i in range(self.vocab_size)
            )

    model = NearlyCertain(6)
    for beam_size in (2, 5):
        config = SearchConfig(beam_size=beam_size, max_length_ratio=3, max_length_offset=9)
        (best,) = beam_search(model, batch_of([0], [4]), config)[0]
        assert best.ids == [2 + i % 3 for i in range(12)]


@pytest.mark.parametrize("levels", [None, 2])
@pytest.mark.parametrize("beam_size", [1, 2, 5])
def test_results_do_not_depend_on_the_batch(levels: int | None, beam_size: int) -> None:
    """Results are bitwise equal for single sentences and for batches in any order, even if most scores are equal."""
    config = SearchConfig(
        beam_size=beam_size, num_hypotheses=beam_size, length_alpha=0.7, max_length_offset=3, no_repeat_ngram_size=3
    )
    model = ScriptedStepper(7, levels=levels)
    keys = list(range(12))
    lengths = [1 + (key * 5) % 7 for key in keys]
    prefixes = [[2, 3, 4][: key % 4] for key in keys]

    def search(order: list[int]) -> dict[int, list[Hypothesis]]:
        batch = batch_of(order, [lengths[i] for i in order])
        found = beam_search(model, batch, config, prefixes=[prefixes[i] for i in order])
        return dict(zip(order, found, strict=True))

    together = search(keys)
    for order in (keys[::-1], keys[5:] + keys[:5], keys[::2], *([key] for key in keys)):
        assert search(order) == {key: together[key] for key in order}


def test_ties_go_to_the_lower_rank_then_the_lower_id() -> None:
    model = ScriptedStepper(5, eos_id=4)
    model.table = lambda key, history: (-1.0,) * 5
    config = SearchConfig(beam_size=3, num_hypotheses=3, length_alpha=0, max_length=4)
    # After step 1, the rows are 0, 1, 2. After step 2, they are 00, 01, 02.
    # Eos is the last id, so it is never among the best K.
    (found,) = beam_search(model, batch_of([0]), config)
    assert [h.ids for h in found] == [[0, 0, 0, 0], [0, 0, 0, 1], [0, 0, 0, 2]]
    assert not any(h.finished for h in found)
    model.eos_id = 0
    (found,) = beam_search(model, batch_of([0]), config)
    # Eos is the first id: the shortest hypothesis has the highest log-probability, then the lower rank wins.
    assert [h.ids for h in found] == [[], [1], [1, 1]]


def test_beams_are_full_and_finished_sentences_are_removed() -> None:
    config = SearchConfig(beam_size=3, max_length_ratio=1, max_length_offset=0, length_alpha=0)
    model = ScriptedStepper(5, spread=0.1)
    model.eos_id = 4
    table = model.table
    # Eos is impossible, so every sentence ends at its maximum length.
    model.table = lambda key, history: (*table(key, history)[:4], float("-inf"))
    found = beam_search(model, batch_of([0, 1, 2], [2, 4, 3]), config)
    assert model.rows_per_step == [3, 9, 6, 3]
    assert [len(hypotheses[0].ids) for hypotheses in found] == [2, 4, 3]


def test_unfinished_hypotheses_are_returned_only_after_too_few_finished_ones() -> None:
    model = ScriptedStepper(3)
    impossible = float("-inf")
    model.table = lambda key, history: (-3.0 if len(history) == 1 else impossible, -0.1, -0.2)
    config = SearchConfig(beam_size=6, num_hypotheses=4, max_length=3, length_alpha=1)
    (found,) = beam_search(model, batch_of([0]), config)
    assert [h.finished for h in found] == [True, True, False, False]
    assert [h.ids for h in found] == [[1], [2], [1, 1, 1], [1, 1, 2]]
    assert found[2].score > found[0].score  # finished hypotheses come first


def test_hypotheses_may_be_empty() -> None:
    model = ScriptedStepper(3)
    model.table = lambda key, history: (-0.1, -5.0, -6.0)
    (found,) = beam_search(model, batch_of([0]), SearchConfig(beam_size=2, length_alpha=0))
    assert (found[0].ids, found[0].finished) == ([], True)
    assert model.rows_per_step == [1]


@pytest.mark.parametrize("beam_size", [1, 3])
@pytest.mark.parametrize("steps", [0, 1, 2])
def test_hypotheses_are_returned_unfinished_if_all_ids_are_forbidden(beam_size: int, steps: int) -> None:
    model = ScriptedStepper(4)
    impossible = float("-inf")
    model.table = lambda key, history: (
        (impossible, -1.0, -2.0, impossible) if len(history) < steps else (impossible,) * 4
    )
    config = SearchConfig(beam_size=beam_size, num_hypotheses=1)
    (found,) = beam_search(model, batch_of([0], [3]), config, need_attention=True)
    assert found[0].ids == [1] * steps
    assert not found[0].finished
    assert found[0].log_prob == -1.0 * steps
    assert found[0].token_log_probs == [-1.0] * steps
    if beam_size > 1:
        assert found[0].score == (-1.0 if steps else 0.0)


@pytest.mark.parametrize("beam_size", [1, 4])
def test_attention_belongs_to_its_hypothesis(beam_size: int) -> None:
    model = ScriptedStepper(5, spread=0.7)
    config = SearchConfig(beam_size=beam_size, num_hypotheses=beam_size, max_length_offset=2)
    keys = [0, 1, 2, 3]
    for key, found in zip(
        keys, beam_search(model, batch_of(keys, [1, 2, 3, 1]), config, need_attention=True), strict=True
    ):
        for h in found:
            histories = [tuple(h.ids[:i]) for i in range(len(h.token_log_probs))]
            expected = torch.tensor([model.attention_row(key, history) for history in histories])
            assert h.attention is not None
            assert torch.equal(h.attention, expected)
            tokens = [*h.ids, *([model.eos_id] if h.finished else [])]
            assert h.token_log_probs == [model.table(key, histories[i])[n] for i, n in enumerate(tokens)]


def test_scores_may_be_wider_than_the_vocabulary() -> None:
    """Ids of at least `vocab_size` are source positions (copying)."""
    model = ScriptedStepper(5)
    model.vocab_size = 3
    scores = torch.tensor([[-3.0, -9.0, -2.0, -1.0, -0.5]])
    model.table = lambda key, history: tuple(scores[0].tolist())
    step = model.step

    def wide_step(last_ids: torch.Tensor, state: Any) -> Any:
        model.vocab_size = 5
        result = step(last_ids, state)
        model.vocab_size = 3
        return result

    model.step = wide_step
    (found,) = beam_search(model, batch_of([0]), SearchConfig(beam_size=2, max_length=2, length_alpha=0))
    assert found[0].ids == [4, 4]


def test_empty_batches_give_an_empty_list() -> None:
    for beam_size in (1, 2):
        assert beam_search(ScriptedStepper(), batch_of([]), SearchConfig(beam_size=beam_size)) == []


@pytest.mark.parametrize("size", [1, 2, 4, 16])
def test_no_beam_is_better_than_exact_search(size: int) -> None:
    model = ScriptedStepper(4, spread=2)
    config = SearchConfig(beam_size=size, max_length=5)
    for key in range(10):
        exact = best(all_sequences(lambda h, key=key: model.table(key, h), 0, config, 1, 5), 1)[0]
        found = beam_search(model, batch_of([key]), config)[0][0]
        assert not found.finished or found.score <= exact.score + 1e-6


@pytest.mark.parametrize("beam_size", [1, 3])
@pytest.mark.parametrize("field", [{"iterations": 2}, {"pseudo_likelihood": False}, {"revise": True}])
def test_options_of_non_autoregressive_search_are_refused(beam_size: int, field: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"`{next(iter(field))}` is for mask-predict"):
        beam_search(ScriptedStepper(), batch_of([0]), SearchConfig(beam_size=beam_size, **field))


@pytest.mark.parametrize("beam_size", [1, 3])
def test_nan_scores_are_refused(beam_size: int) -> None:
    model = ScriptedStepper(4)
    table = model.table
    model.table = lambda key, history: (float("nan"),) * 4 if len(history) == 1 else table(key, history)
    config = SearchConfig(beam_size=beam_size, min_length_ratio=1)
    with pytest.raises(ValueError, match=r"not numbers \(NaN\) at position 1"):
        beam_search(model, batch_of([0, 1], [4, 4]), config)
