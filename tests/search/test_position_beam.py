"""Non-autoregressive search with an n-gram language model, against brute force over all targets."""

import random
from collections.abc import Sequence
from itertools import product
from typing import Any

import pytest
import torch
from reference.scripted_positions import EOS, VOCAB_SIZE, Batch, ScriptedPositions
from torch import Tensor

from seqlab.data.batch import IGNORE, TextBatch, collate_prompts
from seqlab.models import NgramConfig
from seqlab.models.ngram import NgramModel
from seqlab.search.config import SearchConfig
from seqlab.search.fusion import WeightedLm, lm_token_scores
from seqlab.search.mask_predict import mask_predict
from seqlab.search.position_beam import choose_candidates_with_lm

START, WEIGHT, REWARD = 0, 0.7, 0.4
TOKEN_IDS = [2, 3, 4, 5]
"""All ids except special ids."""
EXHAUSTIVE_BEAM_SIZE = 300


def start_lm(rows: int, device: torch.device) -> TextBatch:
    return collate_prompts([[START]] * rows)


@pytest.fixture(scope="module")
def ngrams() -> NgramModel:
    draw = random.Random(1)
    model = NgramModel(NgramConfig(order=3), VOCAB_SIZE, pad_id=START, bos_id=START, eos_id=EOS)
    model.fit([draw.choices(TOKEN_IDS, [4, 3, 2, 1], k=draw.randint(0, 6)) for _ in range(60)])
    return model


@pytest.fixture(scope="module")
def lm(ngrams: NgramModel) -> WeightedLm:
    return WeightedLm(ngrams, weight=WEIGHT, start_lm=start_lm, length_reward=REWARD)


def lm_token_scores_by_steps(lm: NgramModel, ids: Sequence[int]) -> list[float]:
    """Compute the weighted score of each token by steps of the language model, plus the length reward."""
    last_ids, state = lm.start(collate_prompts([[START]]))
    found = []
    for index in (*ids, EOS):
        step = lm.step(last_ids, state)
        found.append(WEIGHT * float(step.scores[0, index]) + REWARD * (index != EOS))
        last_ids, state = torch.tensor([index]), step.state
    return found


def most_probable(log_probs: Tensor, ngrams: NgramModel, shown: Sequence[int]) -> list[int]:
    """Find the best ids by brute force over all positions that are not observed: log_probs (P, V)."""
    free = [[id_] if id_ != IGNORE else TOKEN_IDS for id_ in shown]

    def total(ids: Sequence[int]) -> float:
        model_score = sum(
            float(log_probs[position, ids[position]]) for position, id_ in enumerate(shown) if id_ == IGNORE
        )
        return model_score + sum(lm_token_scores_by_steps(ngrams, ids))

    return list(max(product(*free), key=total))


def test_language_model_scores_match_its_steps(ngrams: NgramModel, lm: WeightedLm) -> None:
    ids = torch.tensor([[2, 3, 3, 2], [4, 2, IGNORE, IGNORE], [IGNORE] * 4])
    token_scores, end_scores = lm_token_scores(lm, ids, torch.tensor([4, 2, 0]))
    for row, row_ids in enumerate(([2, 3, 3, 2], [4, 2], [])):
        expected = lm_token_scores_by_steps(ngrams, row_ids)
        found = [*token_scores[row].tolist(), float(end_scores[row])]
        assert found == pytest.approx([*expected[:-1], *[0.0] * (4 - len(row_ids)), expected[-1]], abs=1e-5)


def test_beam_of_all_prefixes_is_exact(ngrams: NgramModel, lm: WeightedLm) -> None:
    lengths = torch.tensor([4, 1, 3, 4, 2, 4])
    log_probs = torch.randn(6, 4, VOCAB_SIZE, generator=torch.Generator().manual_seed(2)).log_softmax(2)
    log_probs[2, 1, 3:] = -torch.inf
    ids = torch.arange(VOCAB_SIZE).expand(log_probs.shape)
    choices = log_probs.index_fill(2, torch.tensor([START, EOS]), -torch.inf)
    indices = choose_candidates_with_lm(choices, ids, lengths, lm, EXHAUSTIVE_BEAM_SIZE)
    for row, length in enumerate(lengths.tolist()):
        expected = most_probable(choices[row], ngrams, [IGNORE] * length)
        assert indices[row].tolist() == [*expected, *[0] * (4 - length)]
    without_lm = choices.argmax(2)
    assert sum(indices[row, :n].tolist() != without_lm[row, :n].tolist() for row, n in enumerate(lengths.tolist())) >= 2


@pytest.mark.parametrize("prefix", [(), (4, 3)])
@pytest.mark.parametrize(("iterations", "revise"), [(1, False), (3, False), (3, True)])
def test_each_pass_maximizes_the_sum_of_both_models(
    ngrams: NgramModel, lm: WeightedLm, iterations: int, prefix: tuple[int, ...], revise: bool
) -> None:
    model = ScriptedPositions([[3, 4]])
    config = SearchConfig(
        beam_size=EXHAUSTIVE_BEAM_SIZE,
        num_hypotheses=2,
        iterations=iterations,
        length_alpha=0.6,
        pseudo_likelihood=False,
        revise=revise,
    )
    (found,) = mask_predict(model, Batch([9]), config, prefixes=[prefix], banned_ids=[START], lm=lm)
    expected = []
    for rank, length in enumerate(model.lengths[0]):
        unconditional = model.logits(0, length, [IGNORE] * length).log_softmax(-1)
        ids = [*prefix, *[IGNORE] * (length - len(prefix))]
        log_probs = [0.0] * length
        for position, id_ in enumerate(prefix):
            log_probs[position] = float(unconditional[position, id_])
        for iteration in range(iterations):
            free = range(len(prefix), length)
            count = len(free) * (iterations - iteration) // iterations
            masked = sorted(free, key=lambda position: log_probs[position])[:count] if iteration else list(free)
            if not masked:
                break
            shown = [IGNORE if position in masked else ids[position] for position in range(length)]
            scores = model.logits(0, length, shown).log_softmax(-1)
            forced = [*prefix, *[IGNORE] * (length - len(prefix))]
            ids = most_probable(scores, ngrams, forced if revise else shown)
            for position in free if revise else masked:
                log_probs[position] = float(scores[position, ids[position]])
        sums = [
            score + lm_score
            for score, lm_score in zip([*log_probs, -0.25 * rank], lm_token_scores_by_steps(ngrams, ids), strict=True)
        ]
        expected.append((sum(sums) / (length + 1) ** 0.6, ids, sums))
    for hypothesis, (score, ids, sums) in zip(found, sorted(expected, reverse=True), strict=True):
        assert hypothesis.ids == ids
        assert hypothesis.score == pytest.approx(score, abs=1e-5)
        assert hypothesis.token_log_probs == pytest.approx(sums, abs=1e-5)


def test_results_do_not_depend_on_other_sentences_and_padding(lm: WeightedLm) -> None:
    lengths = [[5, 7, 3], [8, 2, 9], [1, 2, 3]]
    fields: dict[str, Any] = {"beam_size": 3, "num_hypotheses": 3, "iterations": 4}
    model = ScriptedPositions(lengths)
    together = mask_predict(model, Batch([9] * 3), SearchConfig(**fields), banned_ids=[START], lm=lm)
    for row in range(3):
        single_model = ScriptedPositions([lengths[row]])
        single_model.tables = model.tables[row : row + 1]
        assert mask_predict(single_model, Batch([9]), SearchConfig(**fields), banned_ids=[START], lm=lm) == [
            together[row]
        ]
