"""Shifts of sources against targets: found where they were planted, and nowhere else."""

from itertools import pairwise, product

import numpy as np
import pytest

from seqlab.diagnosis.alignment import UNSHIFTED, Alignment, Shift, align, align_tokens, most_probable_path
from seqlab.diagnosis.row_features import Standardized, features_of_targets


def first_shift(alignment: Alignment) -> Shift | None:
    return next(iter(alignment.shifts()), None)


def label_shift(features: np.ndarray, targets: np.ndarray) -> Shift | None:
    return first_shift(align(Standardized(features), features_of_targets(targets)))


def translations(count: int, seed: int = 0) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return random sources and targets in which each source token has one target token, in another order."""
    rng = np.random.default_rng(seed)
    mapping = rng.permutation(100) + 1000
    src = [rng.integers(0, 100, rng.integers(3, 9)) for _ in range(count)]
    return src, [mapping[rng.permutation(row)] for row in src]


@pytest.mark.parametrize("at", [0, 50, 200])
@pytest.mark.parametrize("removed", [1, 3])
def test_missing_targets_shift_the_pairs_from_their_row_on(at: int, removed: int) -> None:
    src, tgt = translations(300)
    tgt = tgt[:at] + tgt[at + removed :]
    shift = first_shift(align_tokens(src[: len(tgt)], tgt))
    assert shift is not None
    assert at - 2 <= shift.start <= at + removed + 2
    assert (shift.stop, shift.offset) == (len(tgt), -removed)


def test_a_shift_ends_where_the_other_side_lacks_a_row_too() -> None:
    src, tgt = translations(400)
    shifts = align_tokens(src[:250] + src[251:], tgt[:100] + tgt[101:]).shifts()
    assert [shift.offset for shift in shifts] == [-1]
    assert abs(shifts[0].start - 100) <= 2
    assert abs(shifts[0].stop - 250) <= 2


@pytest.mark.parametrize("seed", range(5))
def test_true_pairs_and_unrelated_rows_have_no_shift(seed: int) -> None:
    src, tgt = translations(200, seed)
    assert first_shift(align_tokens(src, tgt)) is None
    assert first_shift(align_tokens(src, translations(200, seed + 100)[1])) is None


def test_few_rows_or_empty_rows_have_no_shift() -> None:
    assert first_shift(align_tokens([], [])) is None
    empty = [np.zeros(0, np.int64)] * 100
    assert first_shift(align_tokens(empty, empty)) is None


@pytest.mark.parametrize("kind", ["classes", "numbers", "vectors", "nonlinear"])
def test_labels_and_numbers_shift_against_features(kind: str) -> None:
    rng = np.random.default_rng(1)
    features = rng.standard_normal((500, 6))
    targets = {
        "classes": features[:, :3].argmax(axis=1),
        "numbers": features @ rng.standard_normal(6),
        "vectors": features @ rng.standard_normal((6, 2)),
        "nonlinear": (np.abs(features[:, 0]) > 0.7).astype(np.int64),
    }[kind]
    assert label_shift(features, targets) is None
    shift = label_shift(features[:-1], np.delete(targets, 300, axis=0))
    assert shift is not None
    assert shift.offset == -1
    assert abs(shift.start - 300) <= 10
    assert label_shift(features, rng.permutation(targets)) is None


def test_sorted_labels_have_no_shift() -> None:
    rng = np.random.default_rng(2)
    labels = np.sort(rng.integers(0, 3, 300))
    assert label_shift(np.eye(3)[labels] + 0.3 * rng.standard_normal((300, 3)), labels) is None


def test_the_path_has_the_highest_score_of_all() -> None:
    rng = np.random.default_rng(3)
    scores = np.full((6, 11), -50.0)
    scores[:, UNSHIFTED - 1 : UNSHIFTED + 2] = rng.standard_normal((6, 3)) * 3
    cost = 2.0

    def total(path: tuple[int, ...]) -> float:
        changes = sum(one != other for one, other in pairwise((UNSHIFTED, *path)))
        return float(sum(scores[row, state] for row, state in enumerate(path)) - cost * changes)

    best = max(product(range(UNSHIFTED - 1, UNSHIFTED + 2), repeat=6), key=total)
    assert most_probable_path(scores, cost).tolist() == list(best)
