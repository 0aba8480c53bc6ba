"""CTC prefix beam search against all paths, and against token-by-token beam search."""

import math
from collections import defaultdict
from dataclasses import replace

import pytest
import torch
from reference.ctc_alignments import BLANK, EOS, GivenFrames, draw_frames, sequence_probs

from seqlab.models.outputs import FrameLogProbs
from seqlab.search.beam import beam_search
from seqlab.search.config import SearchConfig
from seqlab.search.ctc import best_path_search
from seqlab.search.prefix_beam import prefix_beam_search

MODEL = GivenFrames()
LENGTHS = [5, 1, 3, 4]


@pytest.mark.parametrize(("seed", "max_length"), [*((seed, 256) for seed in range(5)), (0, 1), (0, 2), (0, 3)])
def test_beam_of_all_prefixes_is_exact(seed: int, max_length: int) -> None:
    """The probability of outputs above the maximum length is added to their prefix, which is unfinished."""
    frames = draw_frames(LENGTHS, seed=seed)
    config = SearchConfig(beam_size=100, num_hypotheses=100, length_alpha=0.0, max_length=max_length)
    single = replace(config, num_hypotheses=1)
    found = prefix_beam_search(MODEL, frames, config)
    without_scores = prefix_beam_search(MODEL, frames, single, need_scores=False)
    for row, (hypotheses, (best,)) in enumerate(zip(found, without_scores, strict=True)):
        expected_probs: dict[tuple[int, ...], float] = defaultdict(float)
        for ids, prob in sequence_probs(frames, row).items():
            expected_probs[ids[:max_length]] += prob
        assert {tuple(each.ids) for each in hypotheses} == {ids for ids, prob in expected_probs.items() if prob}
        assert len(hypotheses) == len({tuple(each.ids) for each in hypotheses})
        for each in (*hypotheses, best):
            assert each.log_prob == pytest.approx(math.log(expected_probs[tuple(each.ids)]), rel=1e-5, abs=1e-6)
            assert each.score == each.log_prob
            assert each.finished == (len(each.ids) < max_length)
            assert each.num_tokens == len(each.ids) + each.finished
            assert len(each.token_log_probs) == (0 if each is best else each.num_tokens)
        probs = [expected_probs[tuple(each.ids)] for each in hypotheses]
        assert probs == pytest.approx(sorted(probs, reverse=True))
        assert expected_probs[tuple(best.ids)] == pytest.approx(probs[0])


def test_small_beam_is_as_good_as_token_by_token_search() -> None:
    """Neither beam is exact, but for these frames they agree in nearly all cases."""
    lengths = list(range(1, 30))
    frames = draw_frames(lengths, spread=3.0)
    config = SearchConfig(beam_size=8, length_alpha=0.0)
    prefix_beams = [best.log_prob for (best,) in prefix_beam_search(MODEL, frames, config)]
    token_beams = [best.log_prob for (best,) in beam_search(MODEL, frames, config)]
    is_equal = [a == pytest.approx(b, abs=1e-4) for a, b in zip(prefix_beams, token_beams, strict=True)]
    assert sum(is_equal) >= 26
    greedy = [best.log_prob for best in best_path_search(MODEL, frames, config)]
    assert sum(a > b + 1e-6 for a, b in zip(prefix_beams, greedy, strict=True)) >= 5
    assert all(a >= b - 1e-4 for a, b in zip(prefix_beams, greedy, strict=True))


def test_padding_does_not_change_the_order_of_ties() -> None:
    probs = torch.tensor([[0.5, 0.0, 0.25, 0.25]] * 3)
    config = SearchConfig(beam_size=5, num_hypotheses=5, length_alpha=0.0)
    unpadded = prefix_beam_search(MODEL, FrameLogProbs(probs.log()[None], torch.tensor([3])), config)
    for extra in range(1, 20):
        padded = torch.cat((probs, torch.full((extra, 4), math.nan))).log()[None]
        assert prefix_beam_search(MODEL, FrameLogProbs(padded, torch.tensor([3])), config) == unpadded


def test_an_id_is_repeated_only_after_a_blank() -> None:
    probs = torch.tensor([[0.1, 0.0, 0.9, 0.0], [0.8, 0.0, 0.2, 0.0], [0.1, 0.0, 0.9, 0.0]])
    frames = FrameLogProbs(probs.log()[None], torch.tensor([3]))
    config = SearchConfig(beam_size=2, num_hypotheses=2, length_alpha=0.0)
    ((first, second),) = prefix_beam_search(MODEL, frames, config)
    assert (first.ids, first.log_prob) == ([2, 2], pytest.approx(math.log(0.9 * 0.8 * 0.9)))
    assert second.ids == [2]
    assert second.log_prob == pytest.approx(math.log(sequence_probs(frames, 0)[(2,)]))


def test_hypotheses_are_sorted_by_the_sum_over_their_paths() -> None:
    frames = draw_frames(list(range(1, 20)), spread=0.5)
    config = SearchConfig(beam_size=4, num_hypotheses=4, length_alpha=0.0)
    found = prefix_beam_search(MODEL, frames, config)
    assert prefix_beam_search(MODEL, frames, config, need_scores=False) == found, "the result must not change"
    single = SearchConfig(beam_size=4, length_alpha=0.0)
    assert [best[0].ids for best in prefix_beam_search(MODEL, frames, single)] != [best[0].ids for best in found]
    for best in found:
        assert [each.score for each in best] == sorted((each.score for each in best), reverse=True)


def test_banned_ids_and_eos_are_never_output() -> None:
    frames = draw_frames(LENGTHS)
    frames.log_probs[:, :, EOS] = 0.0
    config = SearchConfig(beam_size=3, num_hypotheses=3)
    for best in prefix_beam_search(MODEL, frames, config, banned_ids=[BLANK, 3]):
        assert {id_ for each in best for id_ in each.ids} <= {2}
        assert len({tuple(each.ids) for each in best}) == len(best)


def test_length_penalty_is_applied_to_the_final_prefixes() -> None:
    frames = draw_frames(LENGTHS)
    for alpha in (-2.0, 0.0, 2.0):
        config = SearchConfig(beam_size=6, num_hypotheses=6, length_alpha=alpha)
        without_scores = prefix_beam_search(MODEL, frames, replace(config, num_hypotheses=1), need_scores=False)
        for best in without_scores + prefix_beam_search(MODEL, frames, config):
            for each in best:
                assert each.score == pytest.approx(each.log_prob / (len(each.ids) + 1) ** alpha)
            assert [each.score for each in best] == sorted((each.score for each in best), reverse=True)
