"""CTC prefix beam search with an n-gram language model, against brute force over all outputs."""

import math
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from reference.ctc_alignments import BLANK, EOS, VOCAB_SIZE, GivenFrames, draw_frames, sequence_probs

from seqlab.data.batch import TextBatch, collate_prompts
from seqlab.models import NgramConfig
from seqlab.models.ngram import NgramModel
from seqlab.search.beam import beam_search
from seqlab.search.config import SearchConfig
from seqlab.search.fusion import Fusion, WeightedLm
from seqlab.search.prefix_beam import prefix_beam_search

MODEL = GivenFrames()
LENGTHS = [5, 1, 3, 4]
WEIGHT, REWARD = 0.7, 0.9


@pytest.fixture(scope="module")
def lm() -> NgramModel:
    draw = random.Random(1)
    model = NgramModel(NgramConfig(order=3), VOCAB_SIZE, pad_id=BLANK, bos_id=BLANK, eos_id=EOS)
    model.fit([draw.choices([2, 3], [3, 1], k=draw.randint(0, 5)) for _ in range(60)])
    return model


def make_weighted_lm(lm: NgramModel, length_reward: float = REWARD) -> WeightedLm:
    def start(rows: int, device: torch.device) -> TextBatch:
        return collate_prompts([[BLANK]] * rows)

    return WeightedLm(lm, weight=WEIGHT, start_lm=start, length_reward=length_reward)


def lm_token_scores(lm: NgramModel, ids: Sequence[int], length_reward: float = REWARD) -> list[float]:
    """Compute the weighted score of each token in the language model, plus the length reward."""
    last_ids, state = lm.start(collate_prompts([[BLANK]]))
    found = []
    for index in (*ids, EOS):
        step = lm.step(last_ids, state)
        found.append(WEIGHT * float(step.scores[0, index]) + length_reward * (index != EOS))
        last_ids, state = torch.tensor([index]), step.state
    return found


@pytest.mark.parametrize("max_length", [256, 3])
@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_beam_of_all_prefixes_is_exact(lm: NgramModel, alpha: float, max_length: int) -> None:
    """A hypothesis of the maximum length is unfinished. Its probability includes all of its continuations."""
    config = SearchConfig(beam_size=100, num_hypotheses=100, length_alpha=alpha, max_length=max_length)
    frames = draw_frames(LENGTHS)
    found = prefix_beam_search(MODEL, frames, config, lm=make_weighted_lm(lm))
    without_scores = prefix_beam_search(
        MODEL, frames, replace(config, num_hypotheses=1), need_scores=False, lm=make_weighted_lm(lm)
    )
    for row, (best, (first,)) in enumerate(zip(found, without_scores, strict=True)):
        probs: dict[tuple[int, ...], float] = defaultdict(float)
        for ids, prob in sequence_probs(frames, row).items():
            probs[ids[:max_length]] += prob
        assert {tuple(each.ids) for each in best} == {ids for ids, prob in probs.items() if prob > 0}
        for each in (*best, first):
            lm_scores = lm_token_scores(lm, each.ids)[: each.num_tokens]
            expected = math.log(probs[tuple(each.ids)]) + sum(lm_scores)
            assert each.finished == (len(each.ids) < max_length)
            assert each.log_prob == pytest.approx(expected, rel=1e-4, abs=1e-5)
            assert each.score == pytest.approx(each.log_prob / each.num_tokens**alpha)
            if each is not first:
                ctc_scores = MODEL.score_sequences(frames, [each.ids] * len(frames.lengths))[row][: each.num_tokens]
                token_scores = [ctc_score + lm_score for ctc_score, lm_score in zip(ctc_scores, lm_scores, strict=True)]
                assert each.token_log_probs == pytest.approx(token_scores, rel=1e-4, abs=1e-5)
        assert [each.score for each in best] == sorted((each.score for each in best), reverse=True)
        assert first.score == pytest.approx(best[0].score, rel=1e-4)


def test_wide_beam_agrees_with_token_by_token_search(lm: NgramModel) -> None:
    lengths = list(range(1, 30))
    frames, config = (
        draw_frames(lengths, spread=3.0),
        SearchConfig(beam_size=32, length_alpha=0.0, early_stopping=False),
    )
    prefix_beams = prefix_beam_search(MODEL, frames, config, lm=make_weighted_lm(lm))
    token_beams = beam_search(Fusion(MODEL, make_weighted_lm(lm)), frames, config, banned_ids=[BLANK])
    for (found,), (expected,) in zip(prefix_beams, token_beams, strict=True):
        assert found.log_prob == pytest.approx(expected.log_prob, abs=1e-3)
    without_lm = prefix_beam_search(MODEL, frames, config)
    assert sum(a.ids != b.ids for (a,), (b,) in zip(prefix_beams, without_lm, strict=True)) >= 5


def test_length_reward_makes_hypotheses_longer(lm: NgramModel) -> None:
    frames, config = draw_frames(list(range(1, 30))), SearchConfig(beam_size=8, length_alpha=0.0)
    sizes = [
        sum(len(best.ids) for (best,) in prefix_beam_search(MODEL, frames, config, lm=make_weighted_lm(lm, reward)))
        for reward in (-1.0, 0.0, 1.0, 2.0)
    ]
    assert sizes == sorted(set(sizes))


@pytest.mark.parametrize("max_length", [256, 4])
def test_results_do_not_depend_on_other_sentences_and_padding(lm: NgramModel, max_length: int) -> None:
    lengths = [4, 17, 1, 9, 17]
    config = SearchConfig(beam_size=4, num_hypotheses=3, max_length=max_length)
    together = prefix_beam_search(MODEL, draw_frames(lengths), config, lm=make_weighted_lm(lm))
    for row, length in enumerate(lengths):
        assert prefix_beam_search(MODEL, draw_frames([length]), config, lm=make_weighted_lm(lm)) == [together[row]]


def test_fixed_context_reads_equal_steps(lm: NgramModel) -> None:
    contexts = lm.contexts_after(collate_prompts([[BLANK], [BLANK]]))
    for ids in ([2, 3], [3, 3], [2, 2]):
        last_ids, state = lm.start(collate_prompts([[BLANK, *ids]]))
        row = contexts[:1]
        for index in ids:
            _, row = lm.read(torch.tensor([index]), row)
        next_ids = torch.tensor([[EOS, 2, 3]])
        expected = lm.step(last_ids, state).scores[0, [EOS, 2, 3]]
        torch.testing.assert_close(lm.read(next_ids, row[:, None])[0][0].float(), expected)
