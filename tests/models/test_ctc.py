"""CTC as an autoregressive model: prefix scores against sums over all paths, and searches."""

import math
from collections.abc import Sequence

import pytest
import torch
from reference.ctc_alignments import BLANK, EOS, VOCAB_SIZE, GivenFrames, draw_frames, sequence_probs
from reference.scripted import ScriptedStepper, batch_of
from torch import Tensor

from seqlab.data.batch import IGNORE
from seqlab.models.ctc import IMPOSSIBLE_LOG_PROB, CtcPrefixes
from seqlab.models.interfaces import Step
from seqlab.models.outputs import FrameLogProbs
from seqlab.search.beam import beam_search
from seqlab.search.config import SearchConfig
from seqlab.search.exact import exact_search
from seqlab.search.fusion import Fusion, WeightedLm

LENGTHS = [5, 1, 3, 4]
MODEL = GivenFrames()
PLAIN = {"length_alpha": 0.0, "early_stopping": False}
"""Search without length normalization."""


def step_through(frames: FrameLogProbs, prefix: Sequence[int]) -> list[Step]:
    """Feed a prefix to the model, and return the step after each of its tokens, for all sentences."""
    last_ids, state = MODEL.start(frames)
    steps = []
    for index in (*prefix, BLANK):
        steps.append(MODEL.step(last_ids, state))
        last_ids, state = torch.full_like(last_ids, index), steps[-1].state
    return steps


@pytest.mark.parametrize("prefix", [(), (2,), (3, 3), (2, 3), (2, 3, 3), (3, 2, 3, 2)])
def test_prefix_scores_are_sums_over_all_paths(prefix: tuple[int, ...]) -> None:
    frames = draw_frames(LENGTHS)
    steps = step_through(frames, prefix)
    for row in range(len(frames)):
        probs = sequence_probs(frames, row)

        def prefix_prob(ids: tuple[int, ...], probs: dict[tuple[int, ...], float] = probs) -> float:
            return sum(prob for sequence, prob in probs.items() if sequence[: len(ids)] == ids)

        log_prob = 0.0
        for position, index in enumerate(prefix):
            log_prob += float(steps[position].scores[row, index])
        assert math.exp(log_prob) == pytest.approx(prefix_prob(prefix), rel=1e-5)
        if not prefix_prob(prefix):
            continue
        scores = steps[-1].scores[row].exp()
        expected = [0.0, probs.get(prefix, 0.0), prefix_prob((*prefix, 2)), prefix_prob((*prefix, 3))]
        assert scores.tolist() == pytest.approx([each / prefix_prob(prefix) for each in expected], rel=1e-5)
        assert float(scores.sum()) == pytest.approx(1.0, rel=1e-5)


def test_beam_and_exact_search_find_the_most_probable_sequence() -> None:
    for seed in range(5):
        frames = draw_frames(LENGTHS, seed=seed)
        found = beam_search(MODEL, frames, SearchConfig(beam_size=40, num_hypotheses=40, **PLAIN))
        exact = exact_search(MODEL, frames, SearchConfig(**PLAIN))
        for row, (hypotheses, best) in enumerate(zip(found, exact, strict=True)):
            ranked = sorted(sequence_probs(frames, row).items(), key=lambda item: -item[1])
            most_probable = ranked[: len(hypotheses)]
            assert [tuple(each.ids) for each in hypotheses if each.finished] == [ids for ids, _ in most_probable]
            log_probs = [math.log(prob) for _, prob in most_probable]
            assert [each.log_prob for each in hypotheses] == pytest.approx(log_probs, abs=1e-4)
            assert best.best is not None
            assert tuple(best.best.ids) == ranked[0][0]


def test_hypotheses_are_not_longer_than_the_frames_allow() -> None:
    frames = draw_frames([2])
    (found,) = beam_search(MODEL, frames, SearchConfig(beam_size=30, num_hypotheses=30, **PLAIN))
    assert len(found) == len([ids for ids, prob in sequence_probs(frames, 0).items() if prob > 0])
    assert max(len(each.ids) for each in found) == 2
    assert [2, 2] not in [each.ids for each in found]


def test_shallow_fusion_with_a_language_model() -> None:
    lm = ScriptedStepper(VOCAB_SIZE, EOS, bos_id=2, spread=2.0)
    fused = Fusion(MODEL, WeightedLm(lm, weight=0.7, start_lm=lambda rows, _: batch_of([0] * rows)))
    frames = draw_frames(LENGTHS)
    found = beam_search(fused, frames, SearchConfig(beam_size=40, **PLAIN), banned_ids=[BLANK])
    for row, (best,) in enumerate(found):
        expected = {}
        for ids, prob in sequence_probs(frames, row).items():
            if prob:
                likelihood = [lm.table(0, ids[:i])[index] for i, index in enumerate((*ids, EOS))]
                expected[ids] = math.log(prob) + 0.7 * sum(likelihood)
        assert tuple(best.ids) == max(expected, key=lambda ids: expected[ids])
        assert best.log_prob == pytest.approx(max(expected.values()), rel=1e-4)


def test_scores_of_given_sequences_equal_step_scores() -> None:
    frames = draw_frames(LENGTHS)
    rows = [[2, 3, 3], [3], [], [3, 2]]
    tgt_out = torch.full((4, 4), IGNORE)
    for row, ids in enumerate(rows):
        tgt_out[row, : len(ids) + 1] = torch.tensor([*ids, EOS])
    scores = MODEL.prefixes.score(frames, tgt_out)
    for row, ids in enumerate(rows):
        steps = step_through(frames, ids)
        expected = [float(step.scores[row, index]) for step, index in zip(steps, [*ids, EOS], strict=True)]
        assert scores[row].tolist() == pytest.approx([*expected, *[0.0] * (3 - len(ids))], rel=1e-5)
        prob = sequence_probs(frames, row)[tuple(ids)]
        assert float(scores[row].sum()) == pytest.approx(math.log(prob), rel=1e-5)


@pytest.mark.parametrize("vocab_size", [7, 37, 101])
def test_scores_do_not_depend_on_memory_alignment(vocab_size: int) -> None:
    """Unpadded rows of this size would be unaligned, and the order of summation may depend on alignment."""
    prefixes = CtcPrefixes(blank_id=0, bos_id=1, eos_id=2)

    def steps(log_probs: Tensor, lengths: list[int]) -> list[Tensor]:
        first = prefixes.step(*prefixes.start(FrameLogProbs(log_probs, torch.tensor(lengths))))
        rows = torch.arange(len(lengths)).repeat_interleave(3)
        second = prefixes.step(first.scores.topk(3).indices.flatten(), first.state.select(rows))
        return [first.scores, second.scores.view(len(lengths), 3, -1)]

    generator = torch.Generator().manual_seed(0)
    for _ in range(10):
        lengths = torch.randint(1, 70, (13,), generator=generator).tolist()
        log_probs = (3 * torch.randn(13, max(lengths), vocab_size, generator=generator)).log_softmax(2)
        together = steps(log_probs, lengths)
        for row, length in enumerate(lengths):
            single_steps = steps(log_probs[row : row + 1, :length].clone(), [length])
            for scores, expected in zip(single_steps, together, strict=True):
                assert torch.equal(scores[0], expected[row])


def test_impossible_tokens_have_a_finite_score() -> None:
    """Two frames cannot contain three tokens or the same token twice."""
    frames = draw_frames([2, 2, 2])
    tgt_out = torch.tensor([[2, 3, 2, EOS], [2, 2, EOS, IGNORE], [2, 3, EOS, IGNORE]])
    scores = MODEL.prefixes.score(frames, tgt_out)
    assert scores[0, 2:].tolist() == [IMPOSSIBLE_LOG_PROB, IMPOSSIBLE_LOG_PROB]
    assert scores[1, 1:].tolist() == [IMPOSSIBLE_LOG_PROB, IMPOSSIBLE_LOG_PROB, 0.0]
    assert float(scores[2].sum()) == pytest.approx(math.log(sequence_probs(frames, 2)[2, 3]))
