"""Mask-predict: its definition in plain Python, brute force over targets, end of targets, length limits, options."""

from itertools import product
from typing import Any

import pytest
import torch
from reference.scripted_positions import EOS, VOCAB_SIZE, Batch, ScriptedPositions

from seqlab.data.batch import IGNORE
from seqlab.models.outputs import TargetLengths
from seqlab.search.config import SearchConfig
from seqlab.search.mask_predict import mask_predict


def by_definition(
    model: ScriptedPositions,
    sentence: int,
    length: int,
    iterations: int,
    banned_ids: set[int],
    prefix: tuple[int, ...] = (),
    early_stopping: bool = False,
    revise: bool = False,
) -> tuple[list[int], list[float], list[int]]:
    """Run the paper's algorithm for one row with lists.

    Return ids, their log-probabilities, and the number of observed tokens when each was predicted.
    """
    unconditional = model.logits(sentence, length, [IGNORE] * length).log_softmax(-1)
    ids = [*prefix, *[IGNORE] * (length - len(prefix))]
    log_probs = [0.0] * length
    for position, id_ in enumerate(prefix):
        log_probs[position] = float(unconditional[position, id_])
    free, num_observed = range(len(prefix), length), [0] * length
    for iteration in range(iterations):
        count = len(free) * (iterations - iteration) // iterations
        if not count:
            break
        masked = sorted(free, key=lambda position: log_probs[position])[:count] if iteration else list(free)
        shown = [IGNORE if position in masked else ids[position] for position in range(length)]
        scores, previous_ids = model.logits(sentence, length, shown).log_softmax(-1), list(ids)
        for position in free if revise else masked:
            best = max((i for i in range(VOCAB_SIZE) if i not in banned_ids), key=lambda i: float(scores[position, i]))
            ids[position], log_probs[position] = best, float(scores[position, best])
            num_observed[position] = length - len(masked)
        if early_stopping and ids == previous_ids:
            break
    return ids, log_probs, num_observed


@pytest.mark.parametrize(("iterations", "revise"), [(1, False), *product([2, 4, 10], [False, True])])
@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("prefix", [(), (4, 3), (2, 2, 5)])
def test_targets_of_each_length_equal_the_definition(
    iterations: int, prefix: tuple[int, ...], early_stopping: bool, revise: bool
) -> None:
    """The third prefix fills the shortest length. `revise` selects the algorithm of the second paper."""
    model = ScriptedPositions([[5, 7, 3], [8, 2, 9]])
    config = SearchConfig(
        beam_size=3,
        num_hypotheses=3,
        iterations=iterations,
        length_alpha=0.6,
        early_stopping=early_stopping,
        pseudo_likelihood=False,
        revise=revise,
    )
    found = mask_predict(model, Batch([9, 9]), config, prefixes=[prefix, ()], banned_ids=[0], need_attention=True)
    for sentence, hypotheses in enumerate(found):
        sentence_prefix, expected = (prefix, ())[sentence], []
        for rank, length in enumerate(model.lengths[sentence]):
            options = iterations, {0, EOS}, sentence_prefix, early_stopping, revise
            ids, log_probs, num_observed = by_definition(model, sentence, length, *options)
            log_prob = sum(log_probs) - 0.25 * rank
            expected.append((log_prob / (length + 1) ** 0.6, ids, [*log_probs, -0.25 * rank], num_observed))
        expected.sort(reverse=True)
        for hypothesis, (score, ids, token_log_probs, num_observed) in zip(hypotheses, expected, strict=True):
            assert hypothesis.ids == ids
            assert hypothesis.attention is not None
            assert hypothesis.attention.argmax(1).tolist() == num_observed
            assert hypothesis.attention.sum(1).tolist() == [1.0] * len(ids)
            assert hypothesis.score == pytest.approx(score, abs=1e-5)
            assert hypothesis.token_log_probs == pytest.approx(token_log_probs, abs=1e-5)
            assert hypothesis.finished


def test_lengths_are_chosen_by_pseudo_likelihood() -> None:
    model = ScriptedPositions([[5, 7, 3], [8, 2, 9]])
    fields: dict[str, Any] = {"beam_size": 3, "num_hypotheses": 3, "iterations": 3, "length_alpha": 0.6}
    found = mask_predict(model, Batch([9, 9]), SearchConfig(**fields), prefixes=[(4, 3), ()], banned_ids=[0])
    config_without_rescoring = SearchConfig(**fields, pseudo_likelihood=False)
    without_rescoring = mask_predict(
        model, Batch([9, 9]), config_without_rescoring, prefixes=[(4, 3), ()], banned_ids=[0]
    )
    for sentence, hypotheses in enumerate(found):
        assert sorted(each.ids for each in hypotheses) == sorted(each.ids for each in without_rescoring[sentence])
        for each in hypotheses:
            expected = [0.0] * len(each.ids)
            for parity in (0, 1):
                shown = [IGNORE if position % 2 == parity else id_ for position, id_ in enumerate(each.ids)]
                scores = model.logits(sentence, len(each.ids), shown).log_softmax(-1)
                for position in range(parity, len(each.ids), 2):
                    expected[position] = float(scores[position, each.ids[position]])
            assert each.token_log_probs[:-1] == pytest.approx(expected, abs=1e-5)
            assert each.log_prob == pytest.approx(sum(each.token_log_probs), abs=1e-5)
        assert [each.score for each in hypotheses] == sorted((each.score for each in hypotheses), reverse=True)
    assert [best[0].ids for best in found] != [best[0].ids for best in without_rescoring]
    # Without alternatives, nothing is rescored.
    for overrides in ({"iterations": 1}, {"beam_size": 1, "num_hypotheses": 1}):
        config, num_calls = SearchConfig(**(fields | overrides)), len(model.calls)
        mask_predict(model, Batch([9, 9]), config)
        assert len(model.calls) == num_calls + (config.iterations or 0)


def test_one_pass_finds_the_most_probable_target() -> None:
    model = ScriptedPositions([[4]])
    ((best,),) = mask_predict(model, Batch([5]), SearchConfig(beam_size=1))
    scores = model.logits(0, 4, [IGNORE] * 4).log_softmax(-1)
    allowed = [i for i in range(VOCAB_SIZE) if i != EOS]
    most_probable = max(product(allowed, repeat=4), key=lambda ids: float(scores[range(4), list(ids)].sum()))
    assert best.ids == list(most_probable)
    assert best.log_prob == pytest.approx(float(scores[range(4), list(most_probable)].sum()))


def test_early_stopping_removes_unchanged_rows() -> None:
    """Logits of the first sentence do not depend on the observed tokens, so its second pass repeats the first."""
    model = ScriptedPositions([[6], [6]])
    model.tables[0] = model.tables[0, :, :, :1]
    mask_predict(model, Batch([9, 9]), SearchConfig(beam_size=1, iterations=10, early_stopping=True))
    rows = [len(call) for call in model.calls]
    assert rows[:2] == [2, 2]
    assert set(rows[2:]) == {1}


def test_first_eos_ends_the_target_of_models_with_an_end_mark() -> None:
    model = ScriptedPositions([[5], [4], [3]], ends_at_eos=True)
    model.tables *= 0.0
    for position, best in enumerate([3, 4, EOS, 3, EOS]):
        model.tables[0, position, 0, VOCAB_SIZE, best] = 5.0
    model.tables[1, :, 0, VOCAB_SIZE, 2] = 5.0
    model.tables[2, 0, 0, VOCAB_SIZE, EOS] = 5.0
    (first,), (second,), (third,) = mask_predict(
        model, Batch([3, 3, 3]), SearchConfig(beam_size=1), need_attention=True
    )
    assert [each.attention.shape for each in (first, second, third) if each.attention is not None] == [
        *((3, 12), (4, 12), (1, 12))
    ]
    assert (third.ids, third.finished, len(third.token_log_probs)) == ([], True, 1)
    assert (first.ids, first.finished, len(first.token_log_probs)) == ([3, 4], True, 3)
    assert (second.ids, second.finished, len(second.token_log_probs)) == ([2, 2, 2, 2], False, 4)
    assert first.log_prob == pytest.approx(3 * float(torch.tensor([5.0, *[0.0] * 5]).log_softmax(0)[0]))


def test_prefixes_leave_a_position_for_eos() -> None:
    model = ScriptedPositions([[3, 4]], ends_at_eos=True)
    ((best,),) = mask_predict(model, Batch([9]), SearchConfig(beam_size=2), prefixes=[(2, 3, 4)])
    assert len(best.token_log_probs) == 4


def test_lengths_outside_the_limits_are_excluded() -> None:
    model = ScriptedPositions([[5, 7, 3, 11]])
    config = SearchConfig(beam_size=4, num_hypotheses=4, max_length=8, min_length_ratio=1.0, iterations=2)
    (found,) = mask_predict(model, Batch([6]), config)
    assert sorted(len(each.ids) for each in found) == [5, 7]
    assert all(each.finished for each in found)


def test_hypotheses_cut_at_the_length_limit_are_unfinished() -> None:
    model = ScriptedPositions([[11, 7, 5], [7, 11, 5]])
    config = SearchConfig(beam_size=3, num_hypotheses=3, max_length=8)
    for row, found in enumerate(mask_predict(model, Batch([6, 6]), config)):
        assert {len(each.ids): each.finished for each in found} == {7: row == 1, 5: True}
        for each in found:
            assert len(each.token_log_probs) == len(each.ids) + each.finished
            assert each.log_prob == pytest.approx(sum(each.token_log_probs))


@pytest.mark.parametrize(
    ("fields", "ends_at_eos", "name"),
    [
        ({"no_repeat_ngram_size": 2}, False, "no_repeat_ngram_size"),
        ({"coverage_penalty": 0.2}, False, "coverage_penalty"),
        ({"min_length_ratio": 0.5}, True, "min_length_ratio"),
        ({"num_hypotheses": 2}, True, "num_hypotheses"),
        ({"iterations": 2}, True, "iterations"),
        ({"early_stopping": True}, True, "early_stopping"),
        ({"pseudo_likelihood": False}, True, "pseudo_likelihood"),
        ({"revise": True}, True, "revise"),
    ],
)
def test_unsupported_options_are_refused(fields: dict[str, float], ends_at_eos: bool, name: str) -> None:
    with pytest.raises(ValueError, match=f"`{name}` is for "):
        mask_predict(ScriptedPositions([[3]], ends_at_eos), Batch([3]), SearchConfig(**fields))
    with pytest.raises(ValueError, match="`revise` is for mask-predict with several passes"):
        mask_predict(ScriptedPositions([[3]]), Batch([3]), SearchConfig(revise=True, iterations=1))
    with pytest.raises(ValueError, match="`iterations` must be at least 1"):
        SearchConfig(iterations=0)


def test_invalid_prefixes_and_nan_are_refused() -> None:
    for prefix, message in (
        ((99,), "from 0 to 5"),
        ((EOS,), "must not contain `eos_id`"),
        ((2,) * 9, "no room for eos"),
    ):
        with pytest.raises(ValueError, match=message):
            mask_predict(ScriptedPositions([[3]]), Batch([3]), SearchConfig(max_length=8), prefixes=[prefix])
    nan_model = ScriptedPositions([[3]])
    nan_model.tables *= torch.nan
    with pytest.raises(ValueError, match="not numbers"):
        mask_predict(nan_model, Batch([3]), SearchConfig(beam_size=1))
    nan_model = ScriptedPositions([[3, 4]])
    nan_model.target_lengths = lambda *_: TargetLengths(torch.tensor([[3, 4]]), torch.tensor([[torch.nan, -1.0]]))  # type: ignore[method-assign]
    with pytest.raises(ValueError, match="not numbers"):
        mask_predict(nan_model, Batch([3]), SearchConfig(beam_size=2))


def test_rows_without_masked_positions_are_removed() -> None:
    model = ScriptedPositions([[1], [8]])
    mask_predict(model, Batch([9, 9]), SearchConfig(beam_size=1, iterations=4))
    assert [len(call) for call in model.calls] == [2, 1, 1, 1]
