"""Chunks of an epoch: weights, sizes and seeds."""

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from seqlab.data.encoded import Span
from seqlab.data.epoch import derive_seed, epoch_chunks, seeded_generator


def make_spans(sizes: list[int]) -> list[Span]:
    edges = np.cumsum([0, *sizes]).tolist()
    return [Span(("a", "b"), start, stop) for start, stop in itertools.pairwise(edges)]


def count_draws(sizes: list[int], weights: list[float], chunk_pairs: int, seed: int = 0) -> np.ndarray:
    rng = seeded_generator(seed, 0)
    chunks = epoch_chunks(make_spans(sizes), weights, chunk_pairs, rng)
    drawn = [chunk.draw(seeded_generator(seed, 0, number)) for number, chunk in enumerate(chunks)]
    return np.bincount(np.concatenate([*drawn, np.zeros(0, np.int64)]), minlength=sum(sizes))


@given(
    corpora=st.lists(
        st.tuples(st.integers(0, 300), st.sampled_from([1.0, 2.0, 0.25, 2.5, 0.01])), min_size=1, max_size=3
    ),
    chunk_pairs=st.integers(1, 200),
    seed=st.integers(0, 99),
)
def test_each_pair_occurs_as_often_as_its_weight(corpora: list[tuple[int, float]], chunk_pairs: int, seed: int) -> None:
    sizes, weights = [size for size, _ in corpora], [weight for _, weight in corpora]
    seen = np.split(count_draws(sizes, weights, chunk_pairs, seed), np.cumsum(sizes)[:-1])
    for pair_counts, (size, weight) in zip(seen, corpora, strict=True):
        assert set(pair_counts.tolist()) <= {int(weight), int(np.ceil(weight))}
        blocks = -(-size // max(1, chunk_pairs // 32))
        assert abs(pair_counts.sum() - size * weight) <= blocks


def test_fractional_weights_hold_on_average_and_select_different_pairs_in_each_epoch() -> None:
    seen = np.array([count_draws([500], [0.3], 64, seed) for seed in range(200)])
    assert abs(seen.mean() - 0.3) < 0.005
    # Every pair occurs: 200 draws of probability 0.3 have a standard deviation of 6.5.
    assert np.abs(seen.sum(0) - 60).max() < 5 * 6.5


@given(size=st.integers(1, 3000), chunk_pairs=st.integers(1, 500))
def test_chunks_have_about_the_requested_size(size: int, chunk_pairs: int) -> None:
    chunks = epoch_chunks(make_spans([size]), [1.0], chunk_pairs, seeded_generator(0, 0))
    assert len(chunks) == max(1, round(size / chunk_pairs))
    block = max(1, chunk_pairs // 32)
    for chunk in chunks:
        assert abs(int(chunk.sizes.sum()) - size / len(chunks)) <= block + 1
        assert (np.diff(chunk.starts) > 0).all()  # read in file order


def test_chunks_are_reproducible_and_differ_between_epochs() -> None:
    def first_chunk(epoch: int) -> list[int]:
        return epoch_chunks(make_spans([1000]), [1.0], 100, seeded_generator(0, epoch))[0].starts.tolist()

    assert first_chunk(0) == first_chunk(0)
    assert first_chunk(0) != first_chunk(1)


def test_generators_of_different_keys_are_independent() -> None:
    keys = [(0,), (1,), (0, 0), (0, 1), (1, 0), (0, 0, 0)]
    drawn = {int(seeded_generator(seed, *key).integers(2**62)) for key in keys for seed in range(3)}
    drawn |= {derive_seed(seed, *key) for key in keys for seed in range(3)}
    assert len(drawn) == 2 * 3 * len(keys)
