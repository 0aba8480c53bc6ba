"""Best path search and Viterbi alignments of CTC against all paths."""

import math
from typing import Any

import pytest
import torch
from reference.ctc_alignments import (
    BLANK,
    EOS,
    GivenFrames,
    alignment_log_prob,
    all_alignments,
    collapse,
    draw_frames,
    sequence_probs,
)

from seqlab.models.outputs import FrameLogProbs
from seqlab.search import ctc
from seqlab.search.beam import beam_search
from seqlab.search.config import SearchConfig
from seqlab.search.ctc import best_path_search, viterbi_alignments
from seqlab.search.prefix_beam import prefix_beam_search

MODEL = GivenFrames()


def test_best_path_may_have_a_less_probable_output() -> None:
    """Two frames with probability 0.6 for the blank: only one of four paths is empty (Graves et al. 2006, figure 2)."""
    log_probs = torch.tensor([[0.6, 0.0, 0.4, 0.0], [0.6, 0.0, 0.4, 0.0]]).log()[None]
    frames = FrameLogProbs(log_probs, torch.tensor([2]))
    (path,) = best_path_search(MODEL, frames, SearchConfig())
    assert (path.ids, path.log_prob) == ([], pytest.approx(2 * math.log(0.6)))  # only one path has an empty output
    ((best,),) = beam_search(MODEL, frames, SearchConfig(length_alpha=0.0))
    assert (best.ids, best.log_prob) == ([2], pytest.approx(math.log(1 - 0.36)))


def test_best_paths_have_the_highest_probability() -> None:
    frames = draw_frames([5, 1, 3, 4])
    config = SearchConfig(length_alpha=0.5)
    scored = best_path_search(MODEL, frames, config)
    without_scores = best_path_search(MODEL, frames, config, need_scores=False)
    for row, (found, unscored) in enumerate(zip(scored, without_scores, strict=True)):
        log_probs = frames.log_probs[row, : int(frames.lengths[row])]
        best = max(all_alignments(len(log_probs), (BLANK, 2, 3)), key=lambda path: alignment_log_prob(path, log_probs))
        assert tuple(found.ids) == tuple(unscored.ids) == collapse(best)
        assert math.isnan(unscored.log_prob)
        assert found.log_prob == pytest.approx(math.log(sequence_probs(frames, row)[tuple(found.ids)]), rel=1e-5)
        assert found.score == pytest.approx(found.log_prob / math.sqrt(len(found.ids) + 1))
        assert len(found.token_log_probs) == found.num_tokens
        assert sum(found.token_log_probs) == pytest.approx(found.log_prob)


def test_paths_exclude_banned_ids() -> None:
    frames = draw_frames([5, 1, 3, 4])
    frames.log_probs[:, :, EOS] = 0.0  # eos would be the best id in each frame
    for found in best_path_search(MODEL, frames, SearchConfig(), banned_ids=[BLANK, 3]):
        assert set(found.ids) <= {2}


@pytest.mark.parametrize("need_scores", [True, False])
def test_best_paths_are_cut_at_the_maximum_length(need_scores: bool) -> None:
    log_probs = torch.tensor([[0.1, 0.0, 0.7, 0.2], [0.1, 0.0, 0.2, 0.7], [0.1, 0.0, 0.7, 0.2]]).log()[None]
    frames = FrameLogProbs(log_probs, torch.tensor([3]))
    (unlimited,) = best_path_search(MODEL, frames, SearchConfig(max_length=4), need_scores=need_scores)
    assert (unlimited.ids, unlimited.finished) == ([2, 3, 2], True)
    for limit in (1, 2, 3):
        (limited,) = best_path_search(MODEL, frames, SearchConfig(max_length=limit), need_scores=need_scores)
        assert (limited.ids, limited.finished) == ([2, 3, 2][:limit], False)
        if need_scores:
            assert limited.token_log_probs == pytest.approx(unlimited.token_log_probs[:limit])
            assert limited.log_prob == pytest.approx(sum(limited.token_log_probs))


@pytest.mark.parametrize("target", [(), (2,), (3, 2), (2, 2), (2, 3, 3)])
def test_alignments_are_the_most_probable_paths_of_a_target(target: tuple[int, ...]) -> None:
    frames = draw_frames([5, 4, 1, 3])
    targets = torch.tensor([[*target, 3]] * 4)  # one id more than `lengths`, which is ignored
    lengths = torch.full((4,), len(target))
    log_probs, paths = viterbi_alignments(frames, targets, lengths, BLANK)
    for row in range(4):
        row_log_probs = frames.log_probs[row, : int(frames.lengths[row])]
        matching = [path for path in all_alignments(len(row_log_probs), (0, 2, 3)) if collapse(path) == target]
        best = max((alignment_log_prob(path, row_log_probs) for path in matching), default=-math.inf)
        assert float(log_probs[row]) == pytest.approx(best, rel=1e-6)
        if matching:
            path = paths[row].tolist()
            assert alignment_log_prob(path[: len(row_log_probs)], row_log_probs) == pytest.approx(best, rel=1e-6)
            assert collapse(path[: len(row_log_probs)]) == target
            assert set(path[len(row_log_probs) :]) <= {BLANK}


@pytest.mark.parametrize("block_frames", [1, 3, 7])
def test_alignments_do_not_depend_on_the_size_of_blocks(block_frames: int, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = draw_frames([20, 17, 1, 8])
    targets, lengths = torch.randint(2, 4, (4, 5)), torch.tensor([5, 4, 0, 2])
    costs = ctc.StateCosts(torch.rand(4, 20) * 3, torch.rand(4, 11) < 0.5)
    expected = viterbi_alignments(frames, targets, lengths, BLANK, costs)
    monkeypatch.setattr(ctc, "BLOCK_FRAMES", block_frames)
    found = viterbi_alignments(frames, targets, lengths, BLANK, costs)
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


@pytest.mark.parametrize("search", [best_path_search, prefix_beam_search])
def test_nan_scores_are_refused(search: Any) -> None:
    frames = draw_frames([3, 4])
    frames.log_probs[1, 2] = math.nan
    with pytest.raises(ValueError, match=r"not numbers \(NaN\)"):
        search(MODEL, frames, SearchConfig())


@pytest.mark.parametrize("search", [best_path_search, prefix_beam_search])
@pytest.mark.parametrize("field", [{"iterations": 2}, {"revise": True}, {"coverage_penalty": 0.2}])
def test_unsupported_options_are_refused(search: Any, field: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"`{next(iter(field))}` is for "):
        search(MODEL, draw_frames([3, 4]), SearchConfig(**field))
