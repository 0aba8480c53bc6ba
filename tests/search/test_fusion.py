"""Shallow fusion against exhaustive search with weighted sums of both models' scores."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from reference.exhaustive import all_sequences, best
from reference.recurrent_models import recurrent_lm
from reference.scripted import ScriptedBatch, ScriptedStepper, batch_of
from reference.tiny_translators import TRANSFORMERS
from torch import Tensor

from seqlab.data.batch import collate_prompts
from seqlab.models.interfaces import Step
from seqlab.models.outputs import NEG_INF
from seqlab.search.beam import beam_search
from seqlab.search.config import SearchConfig
from seqlab.search.fusion import Fusion, WeightedLm
from seqlab.search.greedy import greedy_search
from seqlab.testing import check_stepper, texts, token_pairs
from seqlab.testing.models import build as build_model

LM_KEY = 7  # the language model has no source, so all its rows have the same key


class RecordingStepper(ScriptedStepper):
    """Records the ids that the model receives."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.inputs: list[list[int]] = []

    def step(self, last_ids: Tensor, state: Any) -> Step:
        self.inputs.append(last_ids.tolist())
        return super().step(last_ids, state)


def start_lm(rows: int, device: torch.device) -> ScriptedBatch:
    return batch_of([LM_KEY] * rows)


def fuse(translator: ScriptedStepper, lm: ScriptedStepper, weight: float = 0.5, length_reward: float = 0.0) -> Fusion:
    return Fusion(translator, WeightedLm(lm, weight=weight, start_lm=start_lm, length_reward=length_reward))


def fused_table(
    translator: ScriptedStepper, lm: ScriptedStepper, weight: float, key: int, length_reward: float = 0.0
) -> Callable[[tuple[int, ...]], list[float]]:
    def scores(history: tuple[int, ...]) -> list[float]:
        pairs = zip(translator.table(key, history), lm.table(LM_KEY, history), strict=True)
        sums = [score + weight * lm_score for score, lm_score in pairs]
        return [each + length_reward * (id_ != translator.eos_id) for id_, each in enumerate(sums)]

    return scores


@pytest.mark.parametrize("weight", [0.3, 1.0, 2.5])
@pytest.mark.parametrize("banned_share", [0.0, 0.3])
@pytest.mark.parametrize(("length_reward", "alpha"), [(0.0, 1.0), (2.5, 1.0), (2.5, 0.0), (6.0, -0.5), (-1.0, 0.0)])
def test_search_in_a_fusion_is_exact(weight: float, banned_share: float, length_reward: float, alpha: float) -> None:
    translator, lm = (ScriptedStepper(4, seed=seed, spread=2, banned_share=banned_share) for seed in range(2))
    config = SearchConfig(beam_size=400, num_hypotheses=2, max_length=5, length_alpha=alpha, early_stopping=False)
    keys = list(range(5))
    fusion = fuse(translator, lm, weight, length_reward)
    for key, found in zip(keys, beam_search(fusion, batch_of(keys), config), strict=True):
        expected = best(all_sequences(fused_table(translator, lm, weight, key, length_reward), 0, config, 1, 5), 2)
        # A sentence with only forbidden ids has one hypothesis, which is empty.
        assert [tuple(h.ids) for h in found] == ([e.ids for e in expected] or [()])
        scores = [e.score for e in expected] or [0.0]
        assert [h.score for h in found] == pytest.approx(scores, rel=1e-5, abs=1e-6)


class TwoLengths(ScriptedStepper):
    """A model with two hypotheses: the empty one with probability 0.6, and one of three tokens with 0.4."""

    def _table(self, key: int, history: tuple[int, ...]) -> tuple[float, ...]:
        if not history:
            return (math.log(0.6), NEG_INF, math.log(0.4), NEG_INF)
        return (NEG_INF, NEG_INF, 0.0, NEG_INF) if len(history) < 3 else (0.0, NEG_INF, NEG_INF, NEG_INF)


@pytest.mark.parametrize(("length_reward", "length"), [(0.0, 0), (0.1, 0), (0.3, 3)])
def test_stopping_rule_includes_the_length_reward(length_reward: float, length: int) -> None:
    """log(0.6 / 0.4) is less than three rewards of 0.3, but more than one."""
    lm = ScriptedStepper(4, seed=1)
    fusion = fuse(TwoLengths(4), lm, 1e-6, length_reward)
    config = SearchConfig(beam_size=2, max_length=8, length_alpha=0.0, early_stopping=False)
    ((best_one,),) = beam_search(fusion, batch_of([0]), config)
    assert len(best_one.ids) == length


def test_language_model_starts_from_its_own_start_id() -> None:
    translator, lm = RecordingStepper(5, bos_id=1, seed=0), RecordingStepper(5, bos_id=3, seed=1)
    fusion = fuse(translator, lm, 0.5)
    greedy_search(fusion, batch_of([0, 1, 2]), SearchConfig(max_length=4))
    assert (translator.inputs[0], lm.inputs[0]) == ([1] * 3, [3] * 3)
    assert len(lm.inputs) > 1
    assert lm.inputs[1:] == translator.inputs[1:]


def test_rows_can_be_selected_before_the_first_step() -> None:
    fusion = fuse(ScriptedStepper(5), ScriptedStepper(5, bos_id=3, seed=1))
    last_ids, state = fusion.start(batch_of([0, 1, 2]))
    scores = fusion.step(last_ids[1:], state.select(torch.tensor([2, 0]))).scores
    for row, key in zip(scores, (2, 0), strict=True):
        last_ids, state = fusion.start(batch_of([key]))
        assert torch.equal(fusion.step(last_ids, state).scores[0], row)


def test_fusions_pass_the_public_checks() -> None:
    """The vocabulary size does not fill vector registers."""
    examples = token_pairs(37)
    translator, lm = (
        build_model(TRANSFORMERS["pre"], examples),
        build_model(
            recurrent_lm("gru"),
            texts(37),
        ),
    )
    weighted = WeightedLm(lm, weight=0.37, start_lm=lambda rows, _: collate_prompts([[1]] * rows), length_reward=0.1)
    check_stepper(Fusion(translator, weighted), examples, has_attention=True)


def test_attention_is_that_of_the_translator() -> None:
    translator = ScriptedStepper(5, seed=0)
    fusion = fuse(translator, ScriptedStepper(5, seed=1), 0.5)
    for key, h in enumerate(greedy_search(fusion, batch_of([0, 1]), SearchConfig(max_length=6), need_attention=True)):
        histories = [tuple(h.ids[:i]) for i in range(h.num_tokens)]
        assert h.attention is not None
        assert h.attention.tolist() == [
            pytest.approx(translator.attention_row(key, history), rel=1e-6) for history in histories
        ]


@pytest.mark.parametrize(
    ("lm", "weight", "message"),
    [
        (ScriptedStepper(5), 0.5, "must have the same `vocab_size`, but have 4 and 5.*target tokenizer"),
        (ScriptedStepper(4, eos_id=2), 0.5, "must have the same `eos_id`, but have 0 and 2"),
        (
            ScriptedStepper(4),
            0.0,
            r"`lm_weight` must be finite and above 0, but is 0\.0 instead.*without the language model",
        ),
        (ScriptedStepper(4), -0.5, r"`lm_weight` must be finite and above 0, but is -0\.5"),
        (ScriptedStepper(4), float("nan"), "`lm_weight` must be finite and above 0, but is nan"),
    ],
)
def test_invalid_fusions_are_refused(lm: ScriptedStepper, weight: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fuse(ScriptedStepper(4), lm, weight)


def test_start_batches_of_another_size_are_refused() -> None:
    lm = WeightedLm(ScriptedStepper(4), weight=0.5, start_lm=lambda rows, device: batch_of([LM_KEY]))
    fusion = Fusion(ScriptedStepper(4), lm)
    with pytest.raises(ValueError, match=r"`start_lm` must make a batch of 3 rows .* but made 1"):
        fusion.start(batch_of([0, 1, 2]))
