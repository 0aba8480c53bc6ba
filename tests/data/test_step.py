"""Division of steps among ranks: each pair on one rank, and shares of similar cost."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqlab.data.batch import IGNORE, Batch, ValueBatch, collate_frames, collate_values
from seqlab.data.plan import Indices
from seqlab.data.step import MAX_BORDER_SHIFT, collate_rank, split_among_ranks

steps = st.lists(st.lists(st.integers(1, 60), min_size=1, max_size=12), min_size=1, max_size=6)


def make_step(lengths: list[list[int]]) -> tuple[list[Indices], Indices]:
    """Return micro-steps with these widths as indices in random order, and the widths of the pairs."""
    widths = np.array([width for micro_step in lengths for width in micro_step], np.int64)
    order = np.random.default_rng(0).permutation(len(widths))
    widths_by_index = np.empty_like(widths)
    widths_by_index[order] = widths
    ends = np.cumsum([len(micro_step) for micro_step in lengths])
    return np.split(order, ends[:-1]), widths_by_index


@given(lengths=steps, world_size=st.integers(1, 5))
def test_every_pair_is_on_one_rank(lengths: list[list[int]], world_size: int) -> None:
    micro_steps, widths = make_step(lengths)
    shares = split_among_ranks(micro_steps, widths, world_size)
    assert len(shares) == world_size
    assert len({len(share) for share in shares}) == 1
    assert np.concatenate([rows for share in shares for rows in share]).tolist() == np.concatenate(micro_steps).tolist()
    for rows in (rows for share in shares for rows in share if len(rows)):
        assert any(set(rows.tolist()) <= set(micro_step.tolist()) for micro_step in micro_steps)


@given(lengths=steps, world_size=st.integers(1, 5))
def test_rank_shares_are_equal_up_to_one_pair_and_the_border_shift(lengths: list[list[int]], world_size: int) -> None:
    micro_steps, widths = make_step(lengths)
    cost = {int(row): int(widths[rows].max()) for rows in micro_steps for row in rows}
    mean_cost = sum(cost.values()) / world_size
    for share in split_among_ranks(micro_steps, widths, world_size):
        tokens = sum(cost[int(row)] for rows in share for row in rows)
        assert abs(tokens - mean_cost) <= max(cost.values()) + 2 * MAX_BORDER_SHIFT * mean_cost


@given(lengths=steps)
def test_a_single_rank_has_the_micro_steps_unchanged(lengths: list[list[int]]) -> None:
    micro_steps, widths = make_step(lengths)
    [share] = split_among_ranks(micro_steps, widths, 1)
    assert [rows.tolist() for rows in share] == [rows.tolist() for rows in micro_steps]


def test_micro_steps_of_nearly_equal_size_are_not_split() -> None:
    micro_steps, widths = make_step([[10] * 10, [11] * 9, [25] * 4, [33] * 3])
    shares = split_among_ranks(micro_steps, widths, 2)
    assert [[len(rows) for rows in share] for share in shares] == [[10, 9], [4, 3]]


def collate_label_rows(rows: Indices) -> Batch:
    return collate_values([np.arange(1, 3)] * len(rows), np.ones(len(rows), np.int64), rows.tolist(), pad_id=0)


def collate_number_rows(rows: Indices) -> Batch:
    return collate_values(np.ones((len(rows), 3)), np.ones((len(rows), 2)), rows.tolist())


def collate_frame_rows(rows: Indices) -> Batch:
    special = {"pad_id": 0, "bos_id": 1, "eos_id": 2}
    return collate_frames([np.ones((4, 3))] * len(rows), [[5, 6]] * len(rows), rows.tolist(), **special)


@pytest.mark.parametrize("collate", [collate_label_rows, collate_number_rows, collate_frame_rows])
def test_an_empty_micro_step_has_no_targets(collate: Callable[[Indices], Batch]) -> None:
    """For each type of targets: tokens, labels and numbers."""
    no_rows = np.zeros(0, np.int64)
    shares = [[np.array([3, 4]), np.array([5])], [np.array([7]), no_rows]]
    batches = [collate_rank(shares, rank, collate) for rank in (0, 1)]
    assert [[len(batch.indices) for batch in each] for each in batches] == [[2, 1], [1, 1]]
    assert [[batch.num_targets > 0 for batch in each] for each in batches] == [[True, True], [True, False]]
    idle = batches[1][1]
    targets = idle.targets if isinstance(idle, ValueBatch) else idle.tgt_out  # type: ignore[attr-defined]
    assert (targets.isnan() if targets.is_floating_point() else targets == IGNORE).all()
