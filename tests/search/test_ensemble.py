"""Ensembles against exhaustive search with the mean of the members' probabilities."""

import math
from typing import Any

import pytest
import torch
from reference.exhaustive import all_sequences, best
from reference.scripted import ScriptedStepper, batch_of
from reference.tiny_translators import RECURRENT, TRANSFORMERS

from seqlab.search.beam import beam_search
from seqlab.search.config import SearchConfig
from seqlab.search.ensemble import Ensemble
from seqlab.search.greedy import greedy_search
from seqlab.testing import check_stepper, token_pairs
from seqlab.testing.models import build as build_model


def mean_table(models: list[ScriptedStepper], key: int, history: tuple[int, ...]) -> list[float]:
    tables = [model.table(key, history) for model in models]
    means = [sum(math.exp(score) for score in column) / len(models) for column in zip(*tables, strict=True)]
    return [math.log(mean) if mean > 0 else float("-inf") for mean in means]


@pytest.mark.parametrize("banned_share", [0.0, 0.4])
def test_search_in_an_ensemble_is_exact(banned_share: float) -> None:
    models = [ScriptedStepper(4, seed=seed, spread=2, banned_share=banned_share) for seed in range(3)]
    config = SearchConfig(beam_size=400, num_hypotheses=5, max_length=5, early_stopping=False)
    keys = list(range(5))
    for key, found in zip(keys, beam_search(Ensemble(models), batch_of(keys), config), strict=True):
        sequences = all_sequences(lambda h, key=key: mean_table(models, key, h), 0, config, 1, 5)
        expected = best(sequences, 5)
        assert [tuple(h.ids) for h in found] == [e.ids for e in expected]
        assert [h.score for h in found] == pytest.approx([e.score for e in expected], rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("beam_size", [1, 3])
def test_ensemble_of_equal_models_equals_the_model(beam_size: int) -> None:
    config = SearchConfig(beam_size=beam_size, num_hypotheses=beam_size, max_length=8)
    batch = batch_of([0, 1, 2])
    expected = beam_search(ScriptedStepper(6), batch, config, need_attention=True)
    found = beam_search(Ensemble([ScriptedStepper(6), ScriptedStepper(6)]), batch, config, need_attention=True)
    for expected_list, found_list in zip(expected, found, strict=True):
        assert [h.ids for h in expected_list] == [h.ids for h in found_list]
        assert [h.score for h in expected_list] == pytest.approx([h.score for h in found_list], rel=1e-5)
        for h, other in zip(expected_list, found_list, strict=True):
            assert h.attention is not None
            assert other.attention is not None
            torch.testing.assert_close(h.attention, other.attention)


def test_ensembles_pass_the_public_checks() -> None:
    """The vocabulary size does not fill vector registers."""
    examples = token_pairs(37)
    members = [build_model(config, examples) for config in (TRANSFORMERS["pre"], RECURRENT["lstm"])]
    check_stepper(Ensemble(members), examples, has_attention=True)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([], "must have at least 1 member, but has 0 instead"),
        ([ScriptedStepper(4), ScriptedStepper(5)], r"must have the same `vocab_size`, but have \[4, 5\]"),
        ([ScriptedStepper(4, 0), ScriptedStepper(4, 1)], r"must have the same `eos_id`, but have \[0, 1\]"),
    ],
)
def test_members_with_different_vocabularies_are_refused(members: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Ensemble(members)


def test_members_with_different_start_ids_are_refused() -> None:
    ensemble = Ensemble([ScriptedStepper(4, bos_id=1), ScriptedStepper(4, bos_id=2)])
    with pytest.raises(ValueError, match="must start from the same ids"):
        greedy_search(ensemble, batch_of([0]), SearchConfig())
