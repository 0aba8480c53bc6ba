"""Exposure bias of models whose mistakes are known."""

from typing import Any

import pytest
import torch
from reference.tiny_translators import ALL, RECURRENT, SRC, TGT, TRANSFORMERS, batch_of, build
from torch import Tensor

from seqlab.inference.exposure import Quality, measure_exposure, total
from seqlab.models.interfaces import Step
from seqlab.search.config import SearchConfig
from seqlab.text import WordsConfig, train_tokenizer

GREEDY = SearchConfig(beam_size=1)
TOKENIZER = train_tokenizer(WordsConfig(), [" ".join(map(str, range(4, 40)))])


class Reciter:
    """Says 4, 5, 6 and the end, but 7 in the place of the first; lost behind a 7, it says 7 on and on."""

    vocab_size, eos_id = 40, 2

    def start(self, batch: Any, need_attention: bool = False) -> tuple[Tensor, "Reciter"]:
        return torch.full((len(batch),), 1), self

    def step(self, last_ids: Tensor, state: "Reciter") -> Step:
        following = {1: 7, 4: 5, 5: 6, 6: 2, 7: 7}
        scores = torch.full((len(last_ids), 40), -20.0)
        for row, last in enumerate(last_ids.tolist()):
            scores[row, following[last]] = 0.0
        return Step(scores, self, None)

    def select(self, rows: Tensor) -> "Reciter":
        return self

    def fork(self) -> "Reciter":
        return self


def test_a_model_that_is_lost_behind_its_own_mistake() -> None:
    found = measure_exposure(Reciter(), [[5, 6]], [[4, 5, 6]], TOKENIZER, GREEDY)
    assert [quality.right for quality in found.true] == [0, 1, 1, 1]
    assert total(found.true).accuracy == 0.75
    assert total(found.own).right == 0
    assert len(found.own) == 2 * 3 + 10  # it never ends: as long as a search would go on
    assert found.after_error.count == len(found.own) - 1


@pytest.mark.parametrize("config", [TRANSFORMERS["pre"], RECURRENT["lstm"]])
def test_figures_are_those_of_the_models_own_passes(config: Any) -> None:
    model, batch = build(config), batch_of(ALL)
    found = measure_exposure(model, SRC, TGT, TOKENIZER, GREEDY)
    with torch.no_grad():
        scores = model.score(batch)
        said = model(batch).logits()
        said[..., :2] = -torch.inf
    real = batch.tgt_out >= 0
    true = total(found.true)
    assert true.count == int(real.sum())
    assert true.right == int((said.argmax(-1) == batch.tgt_out)[real].sum())
    assert true.probability == pytest.approx(float(scores[real].exp().sum()), rel=1e-3)
    apart = [measure_exposure(model, [SRC[i]], [TGT[i]], TOKENIZER, GREEDY) for i in ALL]
    assert total([total(each.own) for each in apart]).right == total(found.own).right
    assert sum(each.after_error.count for each in apart) == found.after_error.count


def test_no_predictions_have_no_mean() -> None:
    assert (Quality().accuracy, Quality().mean_probability) == (None, None)
