"""CTranslate2 as an engine: limits, prefixes, constraints and scores equal those of the torch engine."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

import seqlab
from seqlab.export.ctranslate2_engine import batches_of_equal_limits
from seqlab.search.config import SearchConfig
from seqlab.search.hypothesis import Hypothesis
from seqlab.tasks.translation.run import Run

from .conftest import LINES, WORDS

SEPARATE = {"tied_embeddings": "decoder", "positions": "learned"}


@pytest.fixture(scope="module", params=[{}, SEPARATE], ids=["joint", "separate"])
def runs(make_run: Callable[..., Path], request: pytest.FixtureRequest) -> tuple[Run, Run]:
    """Load the same model with CTranslate2 and with torch."""
    run_dir = make_run(**request.param)
    return seqlab.load(run_dir, engine="ctranslate2", threads=2), seqlab.load(run_dir, precision="fp32")


def rows_of(run: Run, lines: Sequence[str]) -> list[list[int]]:
    return run.src_tokenizer.encode(lines)


def assert_same(found: Sequence[Sequence[Hypothesis]], expected: Sequence[Sequence[Hypothesis]]) -> None:
    for [one], [other] in zip(found, expected, strict=True):
        assert (one.ids, one.finished, one.num_tokens) == (other.ids, other.finished, other.num_tokens)
        assert one.token_log_probs == pytest.approx(other.token_log_probs, abs=1e-4)
        assert one.log_prob == pytest.approx(other.log_prob, abs=1e-3)
        assert one.score == pytest.approx(other.score, abs=1e-3)


@pytest.mark.parametrize(
    "search",
    [
        {},
        {"max_length": 7},
        {"max_length_ratio": 0.5, "max_length_offset": 3},
        {"min_length_ratio": 1.5},
        {"no_repeat_ngram_size": 2},
        {"length_alpha": 0.6},
        {"length_alpha": 0, "length_penalty": "gnmt"},
    ],
    ids=str,
)
def test_greedy_search_equals_torch(runs: tuple[Run, Run], search: dict[str, float]) -> None:
    config = SearchConfig(**{"beam_size": 1, "max_length": 30, **search})  # type: ignore[arg-type]
    rows = [[], *rows_of(runs[0], LINES[:20]), []]
    assert_same(*(run.engine.decode(rows, config) for run in runs))


def test_greedy_search_after_a_prefix_equals_torch(runs: tuple[Run, Run]) -> None:
    config = SearchConfig(beam_size=1, max_length=20)
    prefixes = [(), *runs[0].tgt_tokenizer.encode(["red horse", "the", "dog dog dog"])]
    rows = rows_of(runs[0], LINES[:4])
    assert_same(*(run.engine.decode(rows, config, prefixes=prefixes) for run in runs))


@pytest.mark.parametrize("search", [{}, {"min_length_ratio": 1.2}, {"no_repeat_ngram_size": 1}, {"length_alpha": 0}])
@pytest.mark.parametrize("prefix", ["", "red horse"])
def test_beams_are_ranked_by_exact_scores(runs: tuple[Run, Run], search: dict[str, float], prefix: str) -> None:
    config = SearchConfig(**{"beam_size": 4, "num_hypotheses": 4, "max_length": 12, **search})  # type: ignore[arg-type]
    rows = rows_of(runs[0], LINES[:6])
    (prefix_ids,) = runs[0].tgt_tokenizer.encode([prefix])
    for row, best in zip(rows, runs[0].engine.decode(rows, config, prefixes=[prefix_ids] * 6), strict=True):
        assert 1 <= len(best) <= 4
        ranks = [(not hypothesis.finished, -hypothesis.score) for hypothesis in best]
        assert ranks == sorted(ranks)
        assert len({tuple(hypothesis.ids) for hypothesis in best}) == len(best)
        exact = runs[1].engine.score([row] * len(best), [hypothesis.ids for hypothesis in best])
        for hypothesis, forced_score in zip(best, exact, strict=True):
            assert hypothesis.ids[: len(prefix_ids)] == prefix_ids
            assert hypothesis.num_tokens <= 12
            expected = forced_score.token_log_probs[: hypothesis.num_tokens]
            assert hypothesis.token_log_probs == pytest.approx(expected, abs=1e-4)
            assert hypothesis.score == pytest.approx(sum(expected) / len(expected) ** config.length_alpha, abs=1e-3)


def test_beam_search_with_early_stopping_equals_torch(make_run: Callable[..., Path]) -> None:
    run_dir = make_run(seed=5)  # with 320 ids, the missing probability of pad and bos in CTranslate2 is small
    config = SearchConfig(beam_size=4, max_length=12, early_stopping=True)
    runs = seqlab.load(run_dir, engine="ctranslate2"), seqlab.load(run_dir, precision="fp32")
    assert_same(*(run.engine.decode(rows_of(run, LINES), config) for run in runs))


def test_special_ids_are_never_output(runs: tuple[Run, Run]) -> None:
    rows = rows_of(runs[0], LINES[:10])
    for best in runs[0].engine.decode(rows, SearchConfig(beam_size=4, num_hypotheses=4, max_length=20)):
        assert not {0, 1, 2} & {token_id for hypothesis in best for token_id in hypothesis.ids}


def test_approximate_scores_choose_the_same_hypotheses(runs: tuple[Run, Run]) -> None:
    rows, config = rows_of(runs[0], LINES[:10]), SearchConfig(beam_size=3, max_length=20)
    approximate, exact = (runs[0].engine.decode(rows, config, need_scores=needed) for needed in (False, True))
    assert [best[0].ids for best in approximate] == [best[0].ids for best in exact]


def test_greedy_outputs_do_not_depend_on_the_batch(runs: tuple[Run, Run]) -> None:
    rows, config = rows_of(runs[0], LINES), SearchConfig(beam_size=1, max_length=20)
    together = runs[0].engine.decode(rows, config)
    progress: list[int] = []
    separate = runs[0].engine.decode([*rows[::-1], []], config, batch_tokens=1, progress=progress.append)
    assert [best[0].ids for best in separate] == [best[0].ids for best in together[::-1]] + [[]]
    assert sum(progress) == len(rows) + 1


def test_scores_of_given_pairs_equal_torch(runs: tuple[Run, Run]) -> None:
    src_lines, tgt_lines = LINES[:10], [*LINES[5:14], ""]
    found, expected = (run.score(src_lines, tgt_lines) for run in runs)
    for one, other in zip(found, expected, strict=True):
        assert one.num_tokens == other.num_tokens
        assert one.token_log_probs == pytest.approx(other.token_log_probs, abs=1e-4)
    for run in runs:
        with pytest.raises(ValueError, match=r"^b: the target has [3-9]\d tokens, but the model reads at most 30"):
            run.score(["dog", "dog"], ["dog", " ".join(WORDS * 3)], locations=["a", "b"])


def test_long_empty_and_unusual_lines_equal_torch(runs: tuple[Run, Run]) -> None:
    lines = ["", "   ", " ".join(WORDS * 4) + ". the dog", "the\u2028dog", "a cat."]
    options = {"beam_size": 1, "max_length": 12}
    found, expected = (run.translate_detailed(lines, **options) for run in runs)
    assert [each.text for each in found] == [each.text for each in expected]
    assert [(each.num_pieces, each.truncated) for each in found] == [
        (each.num_pieces, each.truncated) for each in expected
    ]
    assert found[2].truncated
    assert found[0].hypotheses == expected[0].hypotheses


def test_unsupported_searches_are_refused(runs: tuple[Run, Run]) -> None:
    with pytest.raises(ValueError, match="`length_penalty: gnmt` is not supported by CTranslate2"):
        runs[0].translate(["the dog"], length_penalty="gnmt")
    with pytest.raises(ValueError, match="`early_stopping: false` is not supported by CTranslate2"):
        runs[0].translate(["the dog"], early_stopping=False)
    with pytest.raises(ValueError, match="`iterations` is for mask-predict"):
        runs[0].translate(["the dog"], iterations=3)


def test_batches_contain_only_rows_of_equal_limits() -> None:
    config = SearchConfig(max_length=9, min_length_ratio=0.5, max_length_offset=1)
    rows: list[list[int]] = [[4] * length for length in (3, 0, 2, 7, 3, 8, 8, 1)]
    batches = list(batches_of_equal_limits(rows, config, batch_tokens=10))
    assert sorted(i for indices, _ in batches for i in indices) == [0, 2, 3, 4, 5, 6, 7]
    for indices, (shortest, longest) in batches:
        for i in indices:
            length = len(rows[i]) + 1
            assert (shortest, longest) == (max(1, length // 2), min(9, 2 * length + 1))
        assert len(indices) * (len(rows[indices[0]]) + 1) <= 10 or len(indices) == 1
