"""Division of steps among ranks: no pair is lost, and all ranks have about equally much to compute."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqlab.data.batch import IGNORE, Batch, ValueBatch, collate_frames, collate_values
from seqlab.data.plan import Indices
from seqlab.data.step import MAX_BORDER_SHIFT, collate_rank, split_among_ranks

steps = st.lists(st.lists(st.integers(1, 60), min_size=1, max_size=12), min_size=1, max_size=6)


def step_of(lengths: list[list[int]]) -> tuple[list[Indices], Indices]:
    """Return micro-steps with these widths as indices in random order, and the widths of the pairs."""
    widths = np.array([width for micro_step in lengths for width in micro_step], np.int64)
    order = np.random.default_rng(0).permutation(len(widths))
    numbered = np.empty_like(widths)
    numbered[order] = widths
    ends = np.cumsum([len(micro_step) for micro_step in lengths])
    return np.split(order, ends[:-1]), numbered


@given(lengths=steps, world_size=st.integers(1, 5))
def test_every_pair_is_on_one_rank(lengths: list[list[int]], world_size: int) -> None:
    micro_steps, widths = step_of(lengths)
    shares = split_among_ranks(micro_steps, widths, world_size)
    assert len(shares) == world_size
    assert len({len(own) for own in shares}) == 1
    assert np.concatenate([rows for own in shares for rows in own]).tolist() == np.concatenate(micro_steps).tolist()
    for rows in (rows for own in shares for rows in own if len(rows)):
        assert any(set(rows.tolist()) <= set(micro_step.tolist()) for micro_step in micro_steps)


@given(lengths=steps, world_size=st.integers(1, 5))
def test_parts_of_ranks_are_equal_up_to_one_pair_and_the_shift(lengths: list[list[int]], world_size: int) -> None:
    micro_steps, widths = step_of(lengths)
    cost = {int(row): int(widths[rows].max()) for rows in micro_steps for row in rows}
    part = sum(cost.values()) / world_size
    for own in split_among_ranks(micro_steps, widths, world_size):
        tokens = sum(cost[int(row)] for rows in own for row in rows)
        assert abs(tokens - part) <= max(cost.values()) + 2 * MAX_BORDER_SHIFT * part


@given(lengths=steps)
def test_a_single_rank_has_the_micro_steps_unchanged(lengths: list[list[int]]) -> None:
    micro_steps, widths = step_of(lengths)
    [own] = split_among_ranks(micro_steps, widths, 1)
    assert [rows.tolist() for rows in own] == [rows.tolist() for rows in micro_steps]


def test_micro_steps_of_nearly_equal_size_are_not_split() -> None:
    micro_steps, widths = step_of([[10] * 10, [11] * 9, [25] * 4, [33] * 3])
    shares = split_among_ranks(micro_steps, widths, 2)
    assert [[len(rows) for rows in own] for own in shares] == [[10, 9], [4, 3]]


def of_labels(rows: Indices) -> Batch:
    return collate_values([np.arange(1, 3)] * len(rows), np.ones(len(rows), np.int64), rows.tolist(), pad_id=0)


def of_numbers(rows: Indices) -> Batch:
    return collate_values(np.ones((len(rows), 3)), np.ones((len(rows), 2)), rows.tolist())


def of_frames(rows: Indices) -> Batch:
    special = {"pad_id": 0, "bos_id": 1, "eos_id": 2}
    return collate_frames([np.ones((4, 3))] * len(rows), [[5, 6]] * len(rows), rows.tolist(), **special)


@pytest.mark.parametrize("collate", [of_labels, of_numbers, of_frames])
def test_an_empty_micro_step_has_no_targets(collate: Callable[[Indices], Batch]) -> None:
    """For each type of targets: tokens, labels and numbers."""
    nothing = np.zeros(0, np.int64)
    shares = [[np.array([3, 4]), np.array([5])], [np.array([7]), nothing]]
    own = [collate_rank(shares, rank, collate) for rank in (0, 1)]
    assert [[len(batch.indices) for batch in each] for each in own] == [[2, 1], [1, 1]]
    assert [[batch.num_targets > 0 for batch in each] for each in own] == [[True, True], [True, False]]
    targets = own[1][1].targets if isinstance(own[1][1], ValueBatch) else own[1][1].tgt_out  # type: ignore[attr-defined]
    assert (targets.isnan() if targets.is_floating_point() else targets == IGNORE).all()
