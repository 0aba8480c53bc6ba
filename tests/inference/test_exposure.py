"""Exposure bias of models with known errors."""

from typing import Any

import pytest
import torch
from reference.tiny_translators import ALL, RECURRENT, SRC, TGT, TRANSFORMERS, batch_of, build
from torch import Tensor

from seqlab.models.interfaces import Step
from seqlab.search.config import SearchConfig
from seqlab.tasks.translation.exposure import PredictionCounts, measure_exposure, total
from seqlab.text import WordsConfig, train_tokenizer

GREEDY = SearchConfig(beam_size=1)
TOKENIZER = train_tokenizer(WordsConfig(), [" ".join(map(str, range(4, 40)))])


class Reciter:
    """A model whose next-token distribution depends on the last id only."""

    vocab_size, eos_id = 40, 2

    def __init__(self, following: dict[int, dict[int, float]]) -> None:
        self.following = following

    def start(self, batch: Any, need_attention: bool = False) -> tuple[Tensor, "Reciter"]:
        return torch.full((len(batch),), 1), self

    def step(self, last_ids: Tensor, state: "Reciter") -> Step:
        probs = torch.zeros(len(last_ids), 40)
        for row, last in enumerate(last_ids.tolist()):
            for token, probability in self.following[last].items():
                probs[row, token] = probability
        return Step(probs.log(), self, None)

    def select(self, rows: Tensor) -> "Reciter":
        return self

    def fork(self) -> "Reciter":
        return self


RECITED = {4: {5: 1.0}, 5: {6: 0.9, 4: 0.1}, 6: {2: 1.0}}
"""4, 5, 6 and the end."""


def test_a_model_that_fails_after_its_own_error() -> None:
    model = Reciter(RECITED | {1: {7: 0.6, 4: 0.4}, 7: {7: 1.0}})
    found = measure_exposure(model, [[5, 6]], [[4, 5, 6]], TOKENIZER, GREEDY)
    assert [quality.right for quality in found.true] == [0, 1, 1, 1]
    assert total(found.true).accuracy == 0.75
    assert total(found.own).right == 0
    assert len(found.own) == 2 * 3 + 10  # it never ends: as long as a search would go on
    assert found.after_error.count == len(found.own) - 1
    assert found.shared_own.count == found.shared_true.count == 4  # predictions after eos are not compared
    assert found.bias == 0.75


@pytest.mark.parametrize("never_said", [TOKENIZER.pad_id, TOKENIZER.bos_id])
def test_banned_ids_are_not_predicted(never_said: int) -> None:
    model = Reciter(RECITED | {1: {never_said: 0.6, 4: 0.4}})
    found = measure_exposure(model, [[5, 6]], [[4, 5, 6]], TOKENIZER, GREEDY)
    for qualities in (found.true, found.own):
        assert [quality.right for quality in qualities] == [1, 1, 1, 1]
        assert total(qualities).probability == pytest.approx(0.4 + 1.0 + 0.9 + 1.0)


def test_predicting_unk_is_never_correct() -> None:
    unk = TOKENIZER.unk_id
    model = Reciter(RECITED | {1: {unk: 1.0}, unk: {5: 1.0}})
    found = measure_exposure(model, [[5, 6]], [[unk, 5, 6]], TOKENIZER, GREEDY)
    for qualities in (found.true, found.own):  # the next prediction follows an error
        assert [quality.right for quality in qualities] == [0, 1, 1, 1]
        assert [quality.probability for quality in qualities] == pytest.approx([0.0, 1.0, 0.9, 1.0])
    assert found.after_error.count == 3


def test_a_finished_sentence_is_not_continued() -> None:
    """The model outputs 5 as often as the source, then eos; its state is the number of repetitions left."""
    rows = []

    class Counter(Reciter):
        def __init__(self, left: Tensor) -> None:
            self.left = left

        def start(self, batch: Any, need_attention: bool = False) -> tuple[Tensor, "Counter"]:
            return torch.full((len(batch),), 1), Counter((batch.src == 5).sum(1))

        def step(self, last_ids: Tensor, state: Any) -> Step:
            rows.append(len(last_ids))
            said = torch.where(state.left > 0, 5, 2)
            scores = torch.full((len(last_ids), 40), -torch.inf).scatter(1, said[:, None], 0.0)
            return Step(scores, Counter(state.left - 1), None)

        def select(self, rows: Tensor) -> "Counter":
            return Counter(self.left[rows])

    texts = [[5, 5, 5, 5], [5, 6, 6, 6], [5, 5, 6, 6]]
    found = measure_exposure(Counter(torch.zeros(0)), texts, [[5, 5, 5, 5], [5], [5, 5]], TOKENIZER, GREEDY)
    assert rows == [3, 3, 2, 1, 1] + [3] * 5  # its own, then the truth
    assert total(found.own).right == total(found.own).count == total(found.true).count == 5 + 2 + 3


def test_a_model_that_ignores_its_prefix_has_no_bias() -> None:
    """Its prediction depends on the position only: wrong at one position, or an early end."""

    class Counter(Reciter):
        """Its state is the number of tokens read."""

        def __init__(self, said: list[int], position: int = 0) -> None:
            self.said, self.position = said, position

        def step(self, last_ids: Tensor, state: Any) -> Step:
            scores = torch.full((len(last_ids), 40), -torch.inf)
            scores[:, self.said[state.position]] = 0.0
            return Step(scores, Counter(self.said, state.position + 1), None)

    target = list(range(5, 35))  # longer than a search would go on from a source of one token
    for said, shared in (
        ([*target, 2], 31),
        ([*target[:20], 4, *target[21:], 2], 31),
        ([*target[:3], 2, *target[4:], 2], 4),
    ):
        found = measure_exposure(Counter(said), [[7]], [target], TOKENIZER, GREEDY)
        assert found.shared_own.count == found.shared_true.count == shared
        assert found.bias == 0.0


def test_a_model_that_recovers_from_its_own_error() -> None:
    """It outputs 7, 5, 6, eos. After 7 both 4 (7 was inserted) and 5 (7 replaced 4) are correct."""
    model = Reciter(RECITED | {1: {7: 0.6, 4: 0.4}, 7: {5: 0.7, 4: 0.2, 6: 0.1}})
    found = measure_exposure(model, [[5, 6]], [[4, 5, 6]], TOKENIZER, GREEDY)
    assert [quality.right for quality in found.own] == [0, 1, 1, 1]
    assert [quality.choices for quality in found.own] == [1, 2, 1, 1]
    assert [quality.probability for quality in found.own] == pytest.approx([0.4, 0.7 + 0.2, 0.9, 1.0])
    behind = found.after_error
    assert (behind.count, behind.right, behind.choices) == (3, 3, 4)
    assert behind.probability == pytest.approx(0.9 + 0.9 + 1.0)
    assert [quality.probability for quality in found.true] == pytest.approx([0.4, 1.0, 0.9, 1.0])


def test_another_good_output_counts_as_wrong() -> None:
    """A model of the exact data distribution, half 4 5 6 and half 7 8 9, fails after its own prefixes."""
    model = Reciter(
        {1: {4: 0.49, 7: 0.51}, 4: {5: 1.0}, 5: {6: 1.0}, 6: {2: 1.0}, 7: {8: 1.0}, 8: {9: 1.0}, 9: {2: 1.0}}
    )
    found = measure_exposure(model, [[5], [5]], [[4, 5, 6], [7, 8, 9]], TOKENIZER, GREEDY)
    assert total(found.true).right == 7
    assert [quality.right for quality in found.own] == [1, 1, 1, 2]


@pytest.mark.parametrize("config", [TRANSFORMERS["pre"], RECURRENT["lstm"]])
def test_results_match_separate_forward_passes(config: Any) -> None:
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


def test_means_without_predictions_are_none() -> None:
    empty = PredictionCounts()
    assert (empty.accuracy, empty.mean_probability, empty.mean_choices) == (None, None, None)
