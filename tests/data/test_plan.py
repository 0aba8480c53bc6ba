"""Plan of a chunk: micro-steps within the token budget, and steps of nearly equal size."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqlab.data.plan import cut_micro_steps, distribute_micro_steps, length_order, plan_chunk

lengths = st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40)), min_size=1, max_size=80)


def length_arrays(pairs: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([pair[0] for pair in pairs], np.int64), np.array([pair[1] for pair in pairs], np.int64)


@given(pairs=lengths, seed=st.integers(0, 99), budget=st.integers(1, 100), factor=st.integers(1, 4))
def test_every_pair_is_in_one_micro_step_within_the_budget(
    pairs: list[tuple[int, int]], seed: int, budget: int, factor: int
) -> None:
    src, tgt = length_arrays(pairs)
    rng = np.random.default_rng(seed)
    steps = plan_chunk(src, tgt, rng, batch_tokens=budget * factor, micro_batch_tokens=budget)
    micro_steps = [micro_step for step in steps for micro_step in step]
    assert sorted(np.concatenate(micro_steps).tolist()) == list(range(len(pairs)))
    for micro_step in micro_steps:
        padded = len(micro_step) * max(src[micro_step].max(), tgt[micro_step].max())
        assert padded <= budget or len(micro_step) == 1
    assert all(steps)
    assert len(steps) == min(max(1, round(tgt.sum() / (budget * factor))), len(micro_steps))


@given(seed=st.integers(0, 99))
def test_steps_are_of_nearly_equal_size(seed: int) -> None:
    rng = np.random.default_rng(seed)
    src, tgt = rng.integers(3, 30, 2000), rng.integers(3, 30, 2000)
    steps = plan_chunk(src, tgt, rng, batch_tokens=2000, micro_batch_tokens=250)
    tokens = np.array([sum(int(tgt[micro_step].sum()) for micro_step in step) for step in steps])
    assert abs(tokens.mean() - 2000) < 100
    assert tokens.max() - tokens.min() <= 2 * 250


@given(pairs=lengths, seed=st.integers(0, 99))
def test_the_plan_depends_only_on_lengths_and_seed(pairs: list[tuple[int, int]], seed: int) -> None:
    src, tgt = length_arrays(pairs)

    def plan() -> list[list[list[int]]]:
        rng = np.random.default_rng(seed)
        steps = plan_chunk(src, tgt, rng, batch_tokens=100, micro_batch_tokens=50)
        return [[micro_step.tolist() for micro_step in step] for step in steps]

    assert plan() == plan()


@given(pairs=lengths, seed=st.integers(0, 99))
def test_pairs_of_one_length_are_ordered_by_length_difference(pairs: list[tuple[int, int]], seed: int) -> None:
    src, tgt = length_arrays(pairs)
    order = length_order(src, tgt, np.random.default_rng(seed), nudged_share=0)
    longer = np.maximum(src, tgt)[order]
    assert (np.diff(longer) >= 0).all()
    for length in set(longer.tolist()):
        difference = np.diff((src - tgt)[order][longer == length])
        assert (difference >= 0).all() or (difference <= 0).all()


def test_pairs_of_one_length_are_grouped_differently_in_each_epoch() -> None:
    src = tgt = np.full(64, 8)
    groups = []
    for seed in range(2):
        steps = plan_chunk(src, tgt, np.random.default_rng(seed), batch_tokens=64, micro_batch_tokens=64)
        groups.append({tuple(sorted(micro_step.tolist())) for step in steps for micro_step in step})
    assert not groups[0] & groups[1]


def test_the_order_of_steps_does_not_depend_on_length() -> None:
    rng = np.random.default_rng(0)
    src = tgt = np.repeat(np.arange(2, 34), 40)
    first_steps = []
    for seed in range(200):
        steps = plan_chunk(src, tgt, np.random.default_rng(seed), batch_tokens=512, micro_batch_tokens=128)
        first_steps.append(np.concatenate([tgt[micro_step] for micro_step in steps[0]]))
    lengths_drawn = np.concatenate(first_steps)
    # Each pair is equally likely to be in the first_steps step, so the mean length there is the overall mean.
    standard_error = tgt.std() / np.sqrt(len(first_steps) * 4)  # a step has about four micro-steps of one length each
    assert abs(lengths_drawn.mean() - tgt.mean()) < 4 * standard_error, rng


def test_the_first_budget_limits_the_first_micro_step() -> None:
    widths = np.full(10, 3)
    micro_steps = cut_micro_steps(np.arange(10), widths, budget=12, first_budget=6)
    assert [micro_step.tolist() for micro_step in micro_steps] == [[0, 1], [2, 3, 4, 5], [6, 7, 8, 9]]
    assert cut_micro_steps(np.arange(0), widths, budget=12) == []


@pytest.mark.parametrize("num_steps", [1, 3, 7])
def test_micro_steps_are_distributed_evenly(num_steps: int) -> None:
    micro_steps = [np.array([index]) for index in range(7)]
    steps = distribute_micro_steps(micro_steps, [5] * 7, num_steps, np.random.default_rng(0))
    sizes = [len(step) for step in steps]
    assert sum(sizes) == 7
    assert max(sizes) - min(sizes) <= 1
