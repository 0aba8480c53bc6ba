"""Exposure bias: scripted models with known errors, and separate forward passes."""

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


class BigramModel:
    """A model with a next-token distribution that depends on the last id only."""

    vocab_size, eos_id = 40, 2

    def __init__(self, next_token_probs: dict[int, dict[int, float]]) -> None:
        self.next_token_probs = next_token_probs

    def start(self, batch: Any, need_attention: bool = False) -> tuple[Tensor, "BigramModel"]:
        return torch.full((len(batch),), 1), self

    def step(self, last_ids: Tensor, state: "BigramModel") -> Step:
        probs = torch.zeros(len(last_ids), 40)
        for row, last in enumerate(last_ids.tolist()):
            for token, probability in self.next_token_probs[last].items():
                probs[row, token] = probability
        return Step(probs.log(), self, None)

    def select(self, rows: Tensor) -> "BigramModel":
        return self

    def fork(self) -> "BigramModel":
        return self


CORRECT = {4: {5: 1.0}, 5: {6: 0.9, 4: 0.1}, 6: {2: 1.0}}
"""Probabilities of the next token, {last id: {next id: probability}}, that lead to 4, 5, 6, eos."""


def test_bias_of_a_model_that_fails_after_its_own_error() -> None:
    model = BigramModel(CORRECT | {1: {7: 0.6, 4: 0.4}, 7: {7: 1.0}})
    found = measure_exposure(model, [[5, 6]], [[4, 5, 6]], TOKENIZER, GREEDY)
    assert [quality.correct for quality in found.true] == [0, 1, 1, 1]
    assert total(found.true).accuracy == 0.75
    assert total(found.own).correct == 0
    assert len(found.own) == 2 * 3 + 10  # it never outputs eos: the maximum length of a search
    assert found.after_error.count == len(found.own) - 1
    assert found.shared_own.count == found.shared_true.count == 4  # predictions after eos are not compared
    assert found.bias == 0.75


@pytest.mark.parametrize("banned_id", [TOKENIZER.pad_id, TOKENIZER.bos_id])
def test_banned_ids_are_not_predicted(banned_id: int) -> None:
    model = BigramModel(CORRECT | {1: {banned_id: 0.6, 4: 0.4}})
    found = measure_exposure(model, [[5, 6]], [[4, 5, 6]], TOKENIZER, GREEDY)
    for qualities in (found.true, found.own):
        assert [quality.correct for quality in qualities] == [1, 1, 1, 1]
        assert total(qualities).probability == pytest.approx(0.4 + 1.0 + 0.9 + 1.0)


def test_predicting_unk_is_never_correct() -> None:
    unk = TOKENIZER.unk_id
    model = BigramModel(CORRECT | {1: {unk: 1.0}, unk: {5: 1.0}})
    found = measure_exposure(model, [[5, 6]], [[unk, 5, 6]], TOKENIZER, GREEDY)
    for qualities in (found.true, found.own):  # the next prediction follows an error
        assert [quality.correct for quality in qualities] == [0, 1, 1, 1]
        assert [quality.probability for quality in qualities] == pytest.approx([0.0, 1.0, 0.9, 1.0])
    assert found.after_error.count == 3


def test_finished_rows_leave_the_batch() -> None:
    """The model outputs as many 5 as the source contains, then eos; its state counts the 5 that remain."""
    batch_sizes = []

    class Counter(BigramModel):
        def __init__(self, remaining: Tensor) -> None:
            self.remaining = remaining

        def start(self, batch: Any, need_attention: bool = False) -> tuple[Tensor, "Counter"]:
            return torch.full((len(batch),), 1), Counter((batch.src == 5).sum(1))

        def step(self, last_ids: Tensor, state: Any) -> Step:
            batch_sizes.append(len(last_ids))
            outputs = torch.where(state.remaining > 0, 5, 2)
            scores = torch.full((len(last_ids), 40), -torch.inf).scatter(1, outputs[:, None], 0.0)
            return Step(scores, Counter(state.remaining - 1), None)

        def select(self, rows: Tensor) -> "Counter":
            return Counter(self.remaining[rows])

    sources = [[5, 5, 5, 5], [5, 6, 6, 6], [5, 5, 6, 6]]
    found = measure_exposure(Counter(torch.zeros(0)), sources, [[5, 5, 5, 5], [5], [5, 5]], TOKENIZER, GREEDY)
    assert batch_sizes == [3, 3, 2, 1, 1] + [3] * 5  # after the model's prefix, then after the reference's
    assert total(found.own).correct == total(found.own).count == total(found.true).count == 5 + 2 + 3


def test_a_model_that_ignores_its_prefix_has_no_bias() -> None:
    """Its prediction depends on the position only: correct, wrong at one position, or an early eos."""

    class FixedOutputs(BigramModel):
        """Output a fixed sequence; the state is the number of tokens read."""

        def __init__(self, outputs: list[int], position: int = 0) -> None:
            self.outputs, self.position = outputs, position

        def step(self, last_ids: Tensor, state: Any) -> Step:
            scores = torch.full((len(last_ids), 40), -torch.inf)
            scores[:, self.outputs[state.position]] = 0.0
            return Step(scores, FixedOutputs(self.outputs, state.position + 1), None)

    target = list(range(5, 35))  # longer than the maximum length of a search for a source of one token
    for outputs, num_shared in (
        ([*target, 2], 31),
        ([*target[:20], 4, *target[21:], 2], 31),
        ([*target[:3], 2, *target[4:], 2], 4),
    ):
        found = measure_exposure(FixedOutputs(outputs), [[7]], [target], TOKENIZER, GREEDY)
        assert found.shared_own.count == found.shared_true.count == num_shared
        assert found.bias == 0.0


def test_predictions_that_recover_from_an_error_are_correct() -> None:
    """It outputs 7, 5, 6, eos. After 7 both 4 (7 was inserted) and 5 (7 replaced 4) are correct."""
    model = BigramModel(CORRECT | {1: {7: 0.6, 4: 0.4}, 7: {5: 0.7, 4: 0.2, 6: 0.1}})
    found = measure_exposure(model, [[5, 6]], [[4, 5, 6]], TOKENIZER, GREEDY)
    assert [quality.correct for quality in found.own] == [0, 1, 1, 1]
    assert [quality.choices for quality in found.own] == [1, 2, 1, 1]
    assert [quality.probability for quality in found.own] == pytest.approx([0.4, 0.7 + 0.2, 0.9, 1.0])
    after_error = found.after_error
    assert (after_error.count, after_error.correct, after_error.choices) == (3, 3, 4)
    assert after_error.probability == pytest.approx(0.9 + 0.9 + 1.0)
    assert [quality.probability for quality in found.true] == pytest.approx([0.4, 1.0, 0.9, 1.0])


def test_correct_outputs_that_differ_from_the_reference_count_as_wrong() -> None:
    """The model has the distribution of the data, half 4 5 6 and half 7 8 9, and outputs 7 8 9 for both."""
    model = BigramModel(
        {1: {4: 0.49, 7: 0.51}, 4: {5: 1.0}, 5: {6: 1.0}, 6: {2: 1.0}, 7: {8: 1.0}, 8: {9: 1.0}, 9: {2: 1.0}}
    )
    found = measure_exposure(model, [[5], [5]], [[4, 5, 6], [7, 8, 9]], TOKENIZER, GREEDY)
    assert total(found.true).correct == 7
    assert [quality.correct for quality in found.own] == [1, 1, 1, 2]


@pytest.mark.parametrize("config", [TRANSFORMERS["pre"], RECURRENT["lstm"]])
def test_counts_match_separate_forward_passes(config: Any) -> None:
    model, batch = build(config), batch_of(ALL)
    found = measure_exposure(model, SRC, TGT, TOKENIZER, GREEDY)
    with torch.no_grad():
        scores = model.score(batch)
        logits = model(batch).logits()
        logits[..., :2] = -torch.inf
    is_token = batch.tgt_out >= 0
    true = total(found.true)
    assert true.count == int(is_token.sum())
    assert true.correct == int((logits.argmax(-1) == batch.tgt_out)[is_token].sum())
    assert true.probability == pytest.approx(float(scores[is_token].exp().sum()), rel=1e-3)
    separate = [measure_exposure(model, [SRC[i]], [TGT[i]], TOKENIZER, GREEDY) for i in ALL]
    assert total([total(each.own) for each in separate]).correct == total(found.own).correct
    assert sum(each.after_error.count for each in separate) == found.after_error.count


def test_means_without_predictions_are_none() -> None:
    empty = PredictionCounts()
    assert (empty.accuracy, empty.mean_probability, empty.mean_choices) == (None, None, None)
