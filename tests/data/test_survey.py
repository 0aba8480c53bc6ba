"""Survey of a corpus: empty, copied and repeated pairs, held-out sources, and outliers of length."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seqlab.data.corpus import Corpus
from seqlab.data.held_out import HeldOutSources
from seqlab.data.survey import (
    LineHashes,
    Survey,
    find_duplicates,
    hash_lines,
    occur_in,
    ratio_outliers,
    sort_unique,
    survey_corpus,
)
from seqlab.tasks.translation.config import TranslationConfig

Pairs = list[tuple[str, str]]
side = st.text("ab ", max_size=3)
corpora = st.lists(st.lists(st.tuples(side, side), min_size=1, max_size=12), min_size=1, max_size=3)
with_files = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def make_surveys(config: TranslationConfig) -> list[Survey]:
    return [survey_corpus(corpus) for corpus in config.corpora("train")]


@with_files
@given(corpora=corpora)
def test_empty_copied_and_repeated_pairs_are_found(
    corpora: list[Pairs], write_config: Callable[..., TranslationConfig]
) -> None:
    found = make_surveys(write_config(*corpora))
    repeated = find_duplicates(found)
    seen: set[tuple[str, str]] = set()
    for pairs, each, mask in zip(corpora, found, repeated, strict=True):
        stripped = [(src.strip(), tgt.strip()) for src, tgt in pairs]
        assert each.empty.tolist() == [not (src and tgt) for src, tgt in stripped]
        assert each.copies.tolist() == [bool(src) and src == tgt for src, tgt in stripped]
        for pair, is_repeated in zip(stripped, mask.tolist(), strict=True):
            assert is_repeated == (all(pair) and pair in seen)
            seen.add(pair)


@with_files
@given(corpora=corpora, fraction=st.floats(0.01, 0.99), max_pairs=st.integers(1, 5))
def test_no_source_is_in_both_training_and_validation(
    corpora: list[Pairs], fraction: float, max_pairs: int, write_config: Callable[..., TranslationConfig]
) -> None:
    found = make_surveys(write_config(*corpora))
    flat = [(src.strip(), tgt.strip()) for pairs in corpora for src, tgt in pairs]
    sources = {src for src, tgt in flat if src and tgt}
    if len(sources) < 2:
        with pytest.raises(ValueError, match="at least 2 different lines are needed"):
            HeldOutSources.choose(found, fraction, max_pairs, advice="")
        return
    split = HeldOutSources.choose(found, fraction, max_pairs, advice="")
    held_out = [src for src, _ in flat if split.contains(hash_lines([src]))[0]]
    first = np.concatenate(split.validation_rows(found)).tolist()
    chosen = [pair for pair, is_first in zip(flat, first, strict=True) if is_first]
    expected = min(max(1, round(fraction * len(sources))), max_pairs, len(sources) - 1)
    assert len(chosen) == len({src for src, _ in chosen}) == expected
    assert {src for src, _ in chosen} == {src for src in held_out if src in sources}
    assert all(src and tgt for src, tgt in chosen)
    # Each chosen pair is the first with its source and a target.
    assert all(next(pair for pair in flat if pair[0] == src and pair[1]) == (src, tgt) for src, tgt in chosen)


@given(order=st.permutations(range(40)))
def test_the_split_depends_only_on_the_text(order: list[int]) -> None:
    lines = [f"line {index}" for index in range(40)]
    corpus = Corpus.from_specs("a", "b")

    def held_out(indices: list[int]) -> set[str]:
        hashes = hash_lines([lines[index] for index in indices])
        split = HeldOutSources.choose([Survey(corpus, [hashes, hashes], 1.0)], 0.25, 1000, advice="")
        return {lines[index] for index in indices if split.contains(hash_lines([lines[index]]))[0]}

    assert held_out(order) == held_out(list(range(40)))
    assert len(held_out(order)) == 10


def test_row_hashes_depend_on_the_order_of_the_sides(write_config: Callable[..., TranslationConfig]) -> None:
    found = make_surveys(write_config([("x", "y"), ("y", "x"), (" x", "y ")]))
    assert find_duplicates(found)[0].tolist() == [False, False, True]


def test_ratio_outliers_are_relative_to_the_typical_ratio_of_the_corpus(
    write_config: Callable[..., TranslationConfig],
) -> None:
    # Typically, a target has three times the characters of its source here.
    pairs = [("a" * n, "b" * 3 * n) for n in range(20, 80)]
    pairs += [("a" * 60, "b" * 5), ("a" * 5, "b" * 300), ("a", "b" * 20)]
    each = make_surveys(write_config(pairs))[0]
    lengths = [np.array([len(pair[index]) for pair in pairs]) for index in (0, 1)]
    outliers = ratio_outliers(lengths[0], lengths[1], each.chars_ratio, 4.0)
    assert np.flatnonzero(outliers).tolist() == [60, 61]


def test_a_corpus_without_lines_is_refused(write_config: Callable[..., TranslationConfig]) -> None:
    with pytest.raises(ValueError, match=r"train0\.src and .*train0\.tgt: have no lines"):
        make_surveys(write_config([]))


hashes = st.lists(st.integers(0, 20) | st.integers(0, 2**64 - 1), max_size=30).map(lambda row: np.array(row, np.uint64))


@given(values=hashes, pools=st.lists(hashes, max_size=3))
def test_hash_lookups_agree_with_sets(values: LineHashes, pools: list[LineHashes]) -> None:
    assert sort_unique(values).tolist() == sorted(set(values.tolist()))
    known = {value for pool in pools for value in pool.tolist()}
    assert occur_in(values, pools).tolist() == [value in known for value in values.tolist()]
