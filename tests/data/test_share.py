"""How a step is dealt to ranks: nothing is lost, and none has more to compute than another."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from seqlab.data.plan import Indices
from seqlab.data.share import TOLERANCE, share

steps = st.lists(st.lists(st.integers(1, 60), min_size=1, max_size=12), min_size=1, max_size=6)


def step_of(lengths: list[list[int]]) -> tuple[list[Indices], Indices]:
    """Number the pairs of micro-steps of these widths, out of order."""
    widths = np.array([width for micro_step in lengths for width in micro_step], np.int64)
    order = np.random.default_rng(0).permutation(len(widths))
    numbered = np.empty_like(widths)
    numbered[order] = widths
    ends = np.cumsum([len(micro_step) for micro_step in lengths])
    return np.split(order, ends[:-1]), numbered


@given(lengths=steps, world_size=st.integers(1, 5))
def test_every_pair_has_one_rank(lengths: list[list[int]], world_size: int) -> None:
    micro_steps, widths = step_of(lengths)
    shares = share(micro_steps, widths, world_size)
    assert len(shares) == world_size
    assert len({len(own) for own in shares}) == 1
    assert np.concatenate([rows for own in shares for rows in own]).tolist() == np.concatenate(micro_steps).tolist()
    for rows in (rows for own in shares for rows in own if len(rows)):
        assert any(set(rows.tolist()) <= set(micro_step.tolist()) for micro_step in micro_steps)


@given(lengths=steps, world_size=st.integers(1, 5))
def test_parts_are_equal_up_to_a_pair_and_the_tolerance(lengths: list[list[int]], world_size: int) -> None:
    micro_steps, widths = step_of(lengths)
    cost = {int(row): int(widths[rows].max()) for rows in micro_steps for row in rows}
    part = sum(cost.values()) / world_size
    for own in share(micro_steps, widths, world_size):
        tokens = sum(cost[int(row)] for rows in own for row in rows)
        assert abs(tokens - part) <= max(cost.values()) + 2 * TOLERANCE * part


@given(lengths=steps)
def test_one_rank_has_the_micro_steps_as_they_are(lengths: list[list[int]]) -> None:
    micro_steps, widths = step_of(lengths)
    [own] = share(micro_steps, widths, 1)
    assert [rows.tolist() for rows in own] == [rows.tolist() for rows in micro_steps]


def test_whole_micro_steps_stay_whole_where_they_are_nearly_equal() -> None:
    micro_steps, widths = step_of([[10] * 10, [11] * 9, [25] * 4, [33] * 3])
    shares = share(micro_steps, widths, 2)
    assert [[len(rows) for rows in own] for own in shares] == [[10, 9], [4, 3]]
