"""Cross-validation folds: equal sizes, stratification by class, and groups."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqlab.data.folds import assign_folds, hold_out, repeated_rows


@given(st.integers(2, 200), st.integers(2, 12), st.integers(0, 3))
def test_folds_are_of_equal_size(count: int, num_folds: int, seed: int) -> None:
    if count < num_folds:
        with pytest.raises(ValueError, match="too few for"):
            assign_folds(count, num_folds, seed)
        return
    folds = assign_folds(count, num_folds, seed)
    sizes = np.bincount(folds, minlength=num_folds)
    assert sizes.max() - sizes.min() <= 1
    assert np.array_equal(folds, assign_folds(count, num_folds, seed))


def test_the_seed_changes_the_folds() -> None:
    assert not np.array_equal(assign_folds(50, 5, 1), assign_folds(50, 5, 2))
    assert not np.array_equal(hold_out(50, 0.2, 1), hold_out(50, 0.2, 2))


@given(st.lists(st.integers(0, 4), min_size=20, max_size=150), st.integers(2, 6))
def test_stratified_folds_have_equal_shares_of_each_class(classes: list[int], num_folds: int) -> None:
    values = np.array(classes)
    folds = assign_folds(len(values), num_folds, 1, classes=values)
    for each in np.unique(values):
        counts = np.bincount(folds[values == each], minlength=num_folds)
        assert counts.max() - counts.min() <= 1
    sizes = np.bincount(folds, minlength=num_folds)
    assert sizes.max() - sizes.min() <= 1


@given(st.lists(st.integers(0, 30), min_size=60, max_size=150), st.integers(2, 4))
def test_groups_are_not_split_among_folds(groups: list[int], num_folds: int) -> None:
    values = np.array(groups)
    if len(np.unique(values)) < num_folds:
        return
    folds = assign_folds(len(values), num_folds, 1, groups=values)
    assert all(len(np.unique(folds[values == group])) == 1 for group in np.unique(values))
    assert len(np.unique(folds)) == num_folds


@pytest.mark.parametrize("fraction", [0.01, 0.1, 0.3, 0.4, 0.75, 0.9])
def test_the_requested_share_is_held_out(fraction: float) -> None:
    """The requested share is held out, also of each class; groups are not split."""
    classes = np.repeat([0, 1, 2], [40, 300, 660])
    chosen = hold_out(1000, fraction, 1, classes=classes)
    assert chosen.sum() == round(1000 * fraction)
    for label, size in enumerate((40, 300, 660)):
        assert abs(chosen[classes == label].sum() - fraction * size) <= 1
    assert hold_out(1000, fraction, 1).sum() == round(1000 * fraction)
    assert not np.array_equal(hold_out(1000, fraction, 1), hold_out(1000, fraction, 2))
    groups = np.arange(1000) % 250
    chosen = hold_out(1000, fraction, 1, groups=groups)
    assert abs(chosen.mean() - fraction) < 0.02
    assert all(len(set(chosen[groups == group])) == 1 for group in range(250))


@pytest.mark.parametrize("fraction", [0.01, 0.5, 0.99])
@pytest.mark.parametrize("count", [2, 3, 5])
def test_neither_part_of_a_split_is_empty(count: int, fraction: float) -> None:
    assert 0 < hold_out(count, fraction, 1).sum() < count
    assert 0 < hold_out(count, fraction, 1, groups=np.arange(count)).sum() < count


def test_repeated_rows_equal_a_training_row_in_all_arrays() -> None:
    inputs = np.array([[1.0, 2.0], [1.0, np.nan], [1.0, 2.0], [1.0, np.nan], [1.0, 2.0], [3.0, 4.0]], np.float32)
    targets = np.array([7, 8, 7, 8, 9, 7])
    is_held_out = np.array([False, False, True, True, True, True])
    assert repeated_rows([inputs, targets], is_held_out).tolist() == [2, 3]  # row 4 has another target
    assert repeated_rows([inputs, targets], ~is_held_out).tolist() == [0, 1]
