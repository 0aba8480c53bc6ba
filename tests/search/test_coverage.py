"""Coverage penalty against its formula, from the attention of the hypotheses."""

import math
from typing import Any

import pytest
import torch
from reference.tiny_translators import (
    ALL,
    BOS,
    COPYING,
    EOS,
    PAD,
    RECURRENT,
    TRANSFORMERS,
    UNK,
    VOCAB,
    batch_of,
    build,
)
from torch import Tensor

from seqlab.data.batch import collate
from seqlab.models import Transformer
from seqlab.models.interfaces import Step
from seqlab.search.beam import beam_search
from seqlab.search.config import SearchConfig
from seqlab.search.coverage import AttentionCoverage
from seqlab.search.hypothesis import Hypothesis

MODELS = {"transformer": TRANSFORMERS["pre"], "lstm": RECURRENT["lstm"], "copying": COPYING["lstm, copying"]}
BETA = 0.4


def score_by_definition(hypothesis: Hypothesis, src_length: int) -> float:
    assert hypothesis.attention is not None
    coverage = hypothesis.attention.sum(0)[:src_length].tolist()
    penalty = sum(math.log(min(each, 1.0)) for each in coverage)
    return hypothesis.log_prob / hypothesis.num_tokens + BETA * penalty


@pytest.mark.parametrize("max_length", [2, 512])
@pytest.mark.parametrize("name", MODELS)
def test_scores_match_the_formula(name: str, max_length: int) -> None:
    model, batch = build(MODELS[name]), batch_of(ALL, with_target=False)
    config = SearchConfig(beam_size=4, num_hypotheses=4, coverage_penalty=BETA, max_length=max_length)
    for i, found in enumerate(beam_search(model, batch, config, need_attention=True)):
        scores = [hypothesis.score for hypothesis in found]
        expected = [score_by_definition(hypothesis, int(batch.src_lengths[i])) for hypothesis in found]
        torch.testing.assert_close(torch.tensor(scores), torch.tensor(expected), rtol=1e-4, atol=1e-4)
        for finished in (True, False):
            scores_of_kind = [hypothesis.score for hypothesis in found if hypothesis.finished == finished]
            assert scores_of_kind == sorted(scores_of_kind, reverse=True)


class AttentionModel:
    """A model that predicts 1 (probability 0.6) or 2 (0.4), then eos.

    It attends to the second source position after a 2, else to the first one, with a weight of `1 - min_attention`.
    """

    vocab_size, eos_id = 3, 0

    def __init__(self, min_attention: float = 0.01) -> None:
        self.min_attention = min_attention

    def start(self, batch: Any, need_attention: bool = False) -> tuple[Tensor, "AttentionModel"]:
        return torch.tensor([0]), self

    def step(self, last_ids: Tensor, state: "AttentionModel") -> Step:
        first_scores, eos_scores = torch.tensor([0.0, 0.6, 0.4]).log(), torch.tensor([1.0, 0.0, 0.0]).log()
        scores = torch.stack([first_scores if index == 0 else eos_scores for index in last_ids.tolist()])
        return Step(scores, self, self.attention()[(last_ids == 2).long()])

    def attention(self) -> Tensor:
        return torch.tensor(
            [[1 - self.min_attention, self.min_attention], [self.min_attention, 1 - self.min_attention]]
        )

    def select(self, rows: Tensor) -> "AttentionModel":
        return self

    def fork(self) -> "AttentionModel":
        return self


@pytest.mark.parametrize("min_attention", [0.01, 1e-6, 0.0])
@pytest.mark.parametrize(("beta", "best"), [(0.0, 1), (0.2, 2)])
def test_penalty_prefers_higher_coverage(beta: float, best: int, min_attention: float) -> None:
    batch = collate([[5]], None, [0], pad_id=0, bos_id=1, eos_id=2)
    config = SearchConfig(beam_size=2, num_hypotheses=2, coverage_penalty=beta)
    (found,) = beam_search(AttentionModel(min_attention), batch, config)
    assert [hypothesis.ids for hypothesis in found] == [[best], [3 - best]]


def test_results_do_not_depend_on_the_batch() -> None:
    model, config = build(MODELS["lstm"]), SearchConfig(beam_size=4, coverage_penalty=BETA)
    together = beam_search(model, batch_of(ALL, with_target=False), config)
    for i in ALL:
        (single,) = beam_search(model, batch_of([i], with_target=False), config)
        assert single == together[i]


@pytest.mark.parametrize("length", [3, 7, 9, 15, 17, 33])
def test_penalties_do_not_depend_on_padding(length: int) -> None:
    torch.manual_seed(length)
    attention, rows = torch.rand(40, length).softmax(-1), torch.arange(40)
    src, lengths, banned = torch.full((40, length), 5), torch.full((40,), length), torch.tensor([3])
    unpadded = AttentionCoverage.from_first_step(attention, src, lengths, BETA, banned).penalties(rows)
    for extra in (1, 5, 20):
        padded = torch.nn.functional.pad(attention, (0, extra))
        padded_src = torch.nn.functional.pad(src, (0, extra))
        assert torch.equal(
            AttentionCoverage.from_first_step(padded, padded_src, lengths, BETA, banned).penalties(rows), unpadded
        )


def test_banned_ids_are_excluded_from_the_penalty() -> None:
    attention, src = torch.tensor([[0.5, 0.25, 0.25]]), torch.tensor([[7, 5, 6]])
    coverage = AttentionCoverage.from_first_step(attention, src, torch.tensor([3]), 1.0, torch.tensor([7, 0]))
    torch.testing.assert_close(coverage.penalties(torch.tensor([0])), torch.tensor([2 * math.log(0.25)]))


def test_tags_are_excluded_from_the_penalty() -> None:
    torch.manual_seed(0)
    model = Transformer(TRANSFORMERS["pre"], VOCAB, VOCAB, BOS, EOS, UNK, range(36, 40)).eval()
    batch = collate([[5, 6, 7, 36, 39]], None, [0], pad_id=PAD, bos_id=BOS, eos_id=EOS)
    config = SearchConfig(beam_size=3, num_hypotheses=3, coverage_penalty=BETA, max_length=2)
    (found,) = beam_search(model, batch, config, banned_ids=list(range(36, 40)), need_attention=True)
    for hypothesis in found:
        assert hypothesis.attention is not None
        coverage = hypothesis.attention.sum(0)[[0, 1, 2, 5]].clamp_max(1)  # eos after the tags
        expected = hypothesis.log_prob / hypothesis.num_tokens + BETA * float(coverage.log().sum())
        assert hypothesis.score == pytest.approx(expected, abs=1e-4)


class ModelWithoutAttention(AttentionModel):
    """The same model, without attention in its steps."""

    def step(self, last_ids: Tensor, state: AttentionModel) -> Step:
        return super().step(last_ids, state)._replace(attention=None)


def test_models_without_attention_are_refused() -> None:
    batch = collate([[5]], None, [0], pad_id=0, bos_id=1, eos_id=2)
    with pytest.raises(ValueError, match="`coverage_penalty` is for models that attend to a source, in an ensemble"):
        beam_search(ModelWithoutAttention(), batch, SearchConfig(beam_size=2, coverage_penalty=0.1))
