"""Sampling: reference in plain Python, exact probabilities, independence of the batch, stopping, invalid arguments."""

import math
from bisect import bisect_right
from collections import Counter
from dataclasses import replace
from itertools import accumulate
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.exhaustive import all_sequences
from reference.scripted import ScriptedStepper, batch_of
from reference.tiny_models import make_batch, make_model
from torch import Tensor

from seqlab.search.beam import beam_search
from seqlab.search.config import SamplingConfig, SearchConfig
from seqlab.search.filters import apply_filters
from seqlab.search.greedy import greedy_search
from seqlab.search.sampling import draw_ids, sample

NEG_INF = float("-inf")


class RepeatableStepper(ScriptedStepper):
    """A scripted model whose batches may contain a sentence several times."""

    def _check_rows(self, keys: Tensor) -> None:
        self.rows_per_step.append(len(keys))


def sample_by_definition(
    model: ScriptedStepper,
    key: int,
    number: int,
    config: SamplingConfig,
    banned_ids: list[int],
    ends_at_eos: bool,
    sample_number: int = 0,
) -> tuple[list[int], list[float]]:
    """Sample one row with Python floats. Return its ids, including eos, and their log-probabilities."""
    philox = np.random.Philox(
        key=np.array([config.seed, number], dtype=np.uint64),
        counter=np.array([0, 0, 0, sample_number], dtype=np.uint64),
    )
    generator = np.random.Generator(philox)
    ids: list[int] = []
    log_probs: list[float] = []
    for length in range(1, config.max_length + 1):
        table = model.table(key, tuple(ids))
        scores = [NEG_INF if i in banned_ids else score for i, score in enumerate(table)]
        if ends_at_eos and length < config.min_length:
            scores[model.eos_id] = NEG_INF
        if max(scores) == NEG_INF:
            break
        filtered = apply_filters(torch.tensor([scores]), torch.tensor([ids], dtype=torch.int64), config)[0].tolist()
        cumulative = list(accumulate(math.exp(score - max(filtered)) for score in filtered))
        ids.append(bisect_right(cumulative, generator.random() * cumulative[-1]))
        log_probs.append(table[ids[-1]])
        if ends_at_eos and ids[-1] == model.eos_id:
            break
    return ids, log_probs


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**64 - 1),
    eos_id=st.integers(0, 2),
    numbers=st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=5),
    config=st.builds(
        SamplingConfig,
        temperature=st.sampled_from([0.5, 1.0, 2.0]),
        top_k=st.sampled_from([0, 2]),
        top_p=st.sampled_from([0.8, 1.0]),
        repetition_penalty=st.sampled_from([1.0, 1.5]),
        min_length=st.integers(0, 4),
        max_length=st.integers(4, 7),
    ),
    banned_share=st.sampled_from([0.0, 0.4]),
    ends_at_eos=st.booleans(),
)
def test_samples_match_the_definition(
    seed: int, eos_id: int, numbers: list[int], config: SamplingConfig, banned_share: float, ends_at_eos: bool
) -> None:
    config = replace(config, seed=seed)
    model = ScriptedStepper(5, eos_id, seed=seed % 1000, banned_share=banned_share)
    banned = [3]
    batch = batch_of(list(range(len(numbers))))
    found = sample(model, batch, config, row_numbers=numbers, banned_ids=banned, ends_at_eos=ends_at_eos)
    for key, (number, h) in enumerate(zip(numbers, found, strict=True)):
        ids, log_probs = sample_by_definition(model, key, number, config, banned, ends_at_eos)
        finished = ends_at_eos and ids[-1:] == [eos_id]
        assert (h.ids, h.finished) == (ids[:-1] if finished else ids, finished)
        assert h.token_log_probs == pytest.approx(log_probs, rel=1e-6)
        assert h.score == h.log_prob == pytest.approx(math.fsum(log_probs), rel=1e-6)


def test_long_samples_match_the_definition() -> None:
    """The samples need several blocks of random numbers, and rows end at different steps."""
    model = ScriptedStepper(60, eos_id=0, spread=0.2)
    config = SamplingConfig(max_length=150, temperature=1.2)
    found = sample(model, batch_of(list(range(20))), config)
    lengths = [h.num_tokens for h in found]
    assert min(lengths) < 64 < max(lengths)
    for key, h in enumerate(found):
        assert [*h.ids, *([0] if h.finished else [])] == sample_by_definition(model, key, key, config, [], True)[0]


def test_several_samples_of_a_row_match_the_definition() -> None:
    model = RepeatableStepper(5, 0, seed=3)
    config = SamplingConfig(max_length=6, seed=9)
    found = sample(model, batch_of([0, 1, 2]), config, row_numbers=[4, 0, 7], num_samples=3)
    expected = [
        sample_by_definition(model, key, number, config, [], True, sample_number)[0]
        for key, number in enumerate([4, 0, 7])
        for sample_number in range(3)
    ]
    assert [[*h.ids, *[0] * h.finished] for h in found] == expected
    assert len({tuple(each) for each in expected}) > 3


def test_limits_of_rows_cut_their_samples() -> None:
    model = RepeatableStepper(40, 0, spread=0.1, seed=3)
    batch = batch_of([0, 1], src_lengths=[2, 5])
    config = SamplingConfig(max_length=11, max_length_ratio=2.0, max_length_offset=3, seed=1)
    unlimited = sample(model, batch, replace(config, max_length_ratio=None), num_samples=8)
    limited = sample(model, batch, config, num_samples=8)
    for h, full, limit in zip(limited, unlimited, [7] * 8 + [11] * 8, strict=True):
        assert h.ids == full.ids[:limit]
    assert max(len(h.ids) for h in unlimited[:8]) > 7


@pytest.mark.parametrize(
    "config",
    [
        SamplingConfig(max_length=3),
        SamplingConfig(max_length=3, temperature=0.6, seed=5),
        SamplingConfig(max_length=3, temperature=2.0, min_length=2),
    ],
)
def test_sample_frequencies_match_their_probabilities(config: SamplingConfig) -> None:
    """Pearson's chi-squared statistic over all sequences is within 5 standard deviations of its expectation."""
    count, model = 20_000, RepeatableStepper(4, spread=1.0)

    def sampling_table(history: tuple[int, ...]) -> list[float]:
        weights = [math.exp(score / config.temperature) for score in model.table(3, history)]
        if len(history) + 1 < config.min_length:
            weights[model.eos_id] = 0.0
        return [math.log(weight / sum(weights)) if weight else NEG_INF for weight in weights]

    found = Counter((tuple(h.ids), h.finished) for h in sample(model, batch_of([3] * count), config))
    exact = list(all_sequences(sampling_table, 0, SearchConfig(), max(1, config.min_length), 3))
    assert sum(math.exp(e.log_prob) for e in exact) == pytest.approx(1)
    expected = {(e.ids, e.finished): count * math.exp(e.log_prob) for e in exact}
    assert found.keys() <= expected.keys()
    statistic = sum((found[key] - expected_count) ** 2 / expected_count for key, expected_count in expected.items())
    degrees_of_freedom = len(expected) - 1
    assert abs(statistic - degrees_of_freedom) < 5 * math.sqrt(2 * degrees_of_freedom)


def config_with_all_filters(seed: int = 1) -> SamplingConfig:
    return SamplingConfig(
        temperature=1.1, top_k=17, top_p=0.95, min_p=0.01, typical_p=0.95, repetition_penalty=1.2,
        max_length=9, seed=seed,
    )  # fmt: skip


@pytest.mark.parametrize(
    "config", [SamplingConfig(max_length=9), config_with_all_filters(), config_with_all_filters(seed=2)]
)
def test_samples_do_not_depend_on_the_batch(config: SamplingConfig) -> None:
    """Results are bitwise equal for a neural model, with a vocabulary size that does not fill vector registers."""
    model = make_model().eval()
    lengths = [(3 + i % 4, 1) for i in range(11)]
    batch = make_batch(lengths)

    def select_rows(indices: list[int]) -> Any:
        rows = torch.tensor(indices)
        return replace(batch, src=batch.src[rows], src_lengths=batch.src_lengths[rows])

    together = sample(model, batch, config)
    assert len({h.num_tokens for h in together}) > 1
    for indices in ([10, 3, 7, 0], [5], [6, 2], list(reversed(range(11)))):
        assert sample(model, select_rows(indices), config, row_numbers=indices) == [together[i] for i in indices]


def test_other_seeds_and_row_numbers_give_other_samples() -> None:
    model = RepeatableStepper(50, spread=0.5)
    config = SamplingConfig(max_length=20, min_length=20)
    batch = batch_of([0] * 10)
    first, second = (sample(model, batch, replace(config, seed=seed)) for seed in (1, 2))
    assert len({tuple(h.ids) for h in first + second}) == 20
    assert sample(model, batch, config, row_numbers=range(5, 15))[:5] == first[5:]


def test_top_k_of_1_is_greedy_search() -> None:
    model = ScriptedStepper(6, levels=3)  # with ties
    batch = batch_of(list(range(10)))
    found = sample(model, batch, SamplingConfig(top_k=1, max_length=12))
    expected = greedy_search(model, batch, SearchConfig(max_length=12, length_alpha=0))
    assert [(h.ids, h.finished) for h in found] == [(h.ids, h.finished) for h in expected]
    assert [h.token_log_probs for h in found] == [h.token_log_probs for h in expected]
    assert [h.score for h in found] == pytest.approx([h.score for h in expected])


def test_finished_rows_are_removed() -> None:
    model = ScriptedStepper(3, eos_id=0)
    model.table = lambda key, history: (0.0, NEG_INF, NEG_INF) if len(history) == key else (NEG_INF, 0.0, NEG_INF)
    found = sample(model, batch_of([2, 0, 1]), SamplingConfig())
    assert [h.ids for h in found] == [[1, 1], [], [1]]
    assert all(h.finished for h in found)
    assert model.rows_per_step == [3, 2, 1]


def test_continuous_text_continues_after_eos() -> None:
    model = ScriptedStepper(3, eos_id=0, spread=0.5)
    config = SamplingConfig(max_length=30, min_length=3)
    for key, h in enumerate(sample(model, batch_of([0, 1, 2, 3]), config, ends_at_eos=False)):
        assert len(h.ids) == len(h.token_log_probs) == h.num_tokens == 30
        assert 0 in h.ids[:-1]
        assert not h.finished
        assert h.token_log_probs == pytest.approx([model.table(key, tuple(h.ids[:i]))[n] for i, n in enumerate(h.ids)])
    without_eos = sample(model, batch_of([0]), config, ends_at_eos=False, banned_ids=[0])
    assert 0 not in without_eos[0].ids


@pytest.mark.parametrize("ends_at_eos", [True, False])
def test_stop_function_ends_rows_after_the_minimum_length(ends_at_eos: bool) -> None:
    model = ScriptedStepper(5, eos_id=0, spread=0.5)
    config = SamplingConfig(max_length=40, min_length=4)
    keys = list(range(12))
    unstopped = sample(model, batch_of(keys), config, ends_at_eos=ends_at_eos)
    stopped = sample(model, batch_of(keys), config, ends_at_eos=ends_at_eos, stop=lambda ids: ids[-2:] == [2, 3])
    for long, short in zip(unstopped, stopped, strict=True):
        ends = [n for n in range(4, len(long.ids) + 1) if long.ids[n - 2 : n] == [2, 3]]
        if ends:
            assert (short.ids, short.finished) == (long.ids[: ends[0]], False)
            assert short.token_log_probs == long.token_log_probs[: ends[0]]
        else:
            assert short == long
    assert {h.finished for h in stopped} == {ends_at_eos, False}


def test_on_step_receives_all_ids() -> None:
    steps: list[tuple[list[int], list[int]]] = []
    keys = list(range(10))
    model = ScriptedStepper(5, spread=0.5, banned_share=0.5)
    found = sample(model, batch_of(keys), SamplingConfig(max_length=8), on_step=lambda *step: steps.append(step))
    received: list[list[int]] = [[] for _ in keys]
    for rows, ids in steps:
        for row, drawn in zip(rows, ids, strict=True):
            received[row].append(drawn)
    assert received == [[*h.ids, *([0] if h.finished else [])] for h in found]
    assert len(steps) == max(map(len, received))
    assert all(len(received[row]) > i for i, (rows, _) in enumerate(steps) for row in rows)


def test_samples_end_unfinished_if_all_ids_are_forbidden() -> None:
    model = ScriptedStepper(4)
    model.table = lambda key, history: (NEG_INF, -1.0, -2.0, NEG_INF) if len(history) < key else (NEG_INF,) * 4
    config = SamplingConfig(top_k=1, top_p=0.9, typical_p=0.9, repetition_penalty=0.9)
    found = sample(model, batch_of([2, 0, 1]), config, need_attention=True)
    for h, steps in zip(found, (2, 0, 1), strict=True):
        assert (h.ids, h.finished, h.log_prob) == ([1] * steps, False, -1.0 * steps)
        assert h.attention is not None
        assert h.attention.shape == (steps, 3)


def test_attention_belongs_to_its_row() -> None:
    model = ScriptedStepper(5)
    for key, h in enumerate(sample(model, batch_of([0, 1, 2]), SamplingConfig(max_length=6), need_attention=True)):
        expected = torch.tensor([model.attention_row(key, tuple(h.ids[:i])) for i in range(h.num_tokens)])
        assert h.attention is not None
        assert torch.equal(h.attention, expected)


def test_empty_batches_give_an_empty_list() -> None:
    assert [
        sample(ScriptedStepper(), batch_of([]), config) for config in (SamplingConfig(), config_with_all_filters())
    ] == [[], []]


@pytest.mark.parametrize("width", [1, 3, 68, 5000])
def test_drawn_ids_match_inverse_transform_sampling(width: int) -> None:
    generator = torch.Generator().manual_seed(width)
    scores = torch.randn(200, width, generator=generator) * 3
    scores[:, 1::3] = NEG_INF
    uniforms = torch.rand(200, generator=generator, dtype=torch.float64)
    weights = np.exp(scores.double().numpy())
    cumulative = np.cumsum(weights / weights.sum(axis=1, keepdims=True), axis=1)
    expected = (cumulative <= uniforms.numpy()[:, None]).sum(axis=1)
    assert draw_ids(scores, uniforms).tolist() == expected.tolist()


def test_extreme_random_numbers_draw_valid_ids() -> None:
    scores = torch.tensor([NEG_INF, -50.3, NEG_INF, -52.0, NEG_INF]).expand(2, 5)
    assert draw_ids(scores, torch.tensor([0.0, 1 - 2**-53], dtype=torch.float64)).tolist() == [1, 3]


def test_all_searches_accept_batches_without_a_source() -> None:
    """Without a source, the length limit is `max_length`."""
    model = ScriptedStepper(4)
    model.table = lambda key, history: (-9.0, -1.0, -2.0, -1.5)
    prompts: Any = SimpleNamespace(keys=torch.tensor([0, 1, 2]))
    hypotheses = greedy_search(model, prompts, SearchConfig(max_length=7))
    hypotheses += [found[0] for found in beam_search(model, prompts, SearchConfig(beam_size=3, max_length=7))]
    hypotheses += sample(model, prompts, SamplingConfig(max_length=7, top_k=2))
    assert [len(h.ids) for h in hypotheses] == [7] * 9


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"banned_ids": [0]}, r"`banned_ids` must not contain `eos_id` \(0\).*set `ends_at_eos` to False"),
        ({"banned_ids": [9]}, r"`banned_ids` must be from 0 to 3, but one is 9"),
        ({"banned_ids": [-1], "ends_at_eos": False}, r"`banned_ids` must be from 0 to 3, but one is -1"),
        ({"row_numbers": [1]}, r"`row_numbers` must have one number per row \(2\), but has 1"),
        ({"row_numbers": [1, -1]}, r"`row_numbers` must be from 0 to 18446744073709551615, but one is -1"),
    ],
)
def test_invalid_arguments_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sample(ScriptedStepper(), batch_of([0, 1]), SamplingConfig(max_length=6), **arguments)


def test_nan_scores_are_refused() -> None:
    model = ScriptedStepper(4)
    table = model.table
    model.table = lambda key, history: (float("nan"),) * 4 if len(history) == 1 else table(key, history)
    with pytest.raises(ValueError, match=r"not numbers \(NaN\) at position 1"):
        sample(model, batch_of([0, 1]), SamplingConfig(min_length=3))
