"""Folds are equally large, disjoint and whole; stratified ones have as much of each class, groups stay together."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqlab.data.folds import deal_folds


@given(st.integers(2, 200), st.integers(2, 12), st.integers(0, 3))
def test_folds_are_equally_large(count: int, num_folds: int, seed: int) -> None:
    if count < num_folds:
        with pytest.raises(ValueError, match="too few for"):
            deal_folds(count, num_folds, seed)
        return
    folds = deal_folds(count, num_folds, seed)
    sizes = np.bincount(folds, minlength=num_folds)
    assert sizes.max() - sizes.min() <= 1
    assert np.array_equal(folds, deal_folds(count, num_folds, seed))


@given(st.lists(st.integers(0, 4), min_size=20, max_size=150), st.integers(2, 6))
def test_stratified_folds_have_as_much_of_each_class(classes: list[int], num_folds: int) -> None:
    values = np.array(classes)
    folds = deal_folds(len(values), num_folds, 1, classes=values)
    for each in np.unique(values):
        counts = np.bincount(folds[values == each], minlength=num_folds)
        assert counts.max() - counts.min() <= 1
    sizes = np.bincount(folds, minlength=num_folds)
    assert sizes.max() - sizes.min() <= 1


@given(st.lists(st.integers(0, 30), min_size=60, max_size=150), st.integers(2, 4))
def test_groups_stay_together(groups: list[int], num_folds: int) -> None:
    values = np.array(groups)
    if len(np.unique(values)) < num_folds:
        return
    folds = deal_folds(len(values), num_folds, 1, groups=values)
    assert all(len(np.unique(folds[values == group])) == 1 for group in np.unique(values))
    assert len(np.unique(folds)) == num_folds
