"""Decoding without a cache against decoding with a cache; gradients of target log-probabilities."""

from typing import Any

import pytest
import torch
from reference.recurrent_models import recurrent_lm
from reference.tiny_translators import ALL, BOS, COPYING, EOS, RECURRENT, TRANSFORMERS, VOCAB, batch_of, build

from seqlab.data import IGNORE, Seq2SeqBatch, TextBatch, collate_prompts
from seqlab.inference import Scorer
from seqlab.models import (
    DecoderOutput,
    TransformerLmConfig,
    UncachedLm,
    UncachedTranslator,
)
from seqlab.search import SamplingConfig, SearchConfig, Stepper, beam_search, sample


class FakeTokenizer:
    vocab_size, bos_id, eos_id = VOCAB, BOS, EOS


class TranslatorWithoutCache(UncachedTranslator):
    """Wraps a translator, without its cached `start` and `step`."""

    def __init__(self, model: Any) -> None:
        super().__init__(FakeTokenizer())  # type: ignore[arg-type]
        self.model = model

    def forward(self, batch: Seq2SeqBatch) -> DecoderOutput:
        output: DecoderOutput = self.model(batch)
        return output


class LmWithoutCache(UncachedLm):
    """Wraps a language model, without its cached `start` and `step`."""

    def __init__(self, model: Any) -> None:
        super().__init__(FakeTokenizer())  # type: ignore[arg-type]
        self.model = model

    def forward(self, batch: TextBatch) -> DecoderOutput:
        output: DecoderOutput = self.model(batch)
        return output


@pytest.mark.parametrize("name", ["pre", "rotary", "lstm", "lstm, without input feeding"])
@torch.inference_mode()
def test_uncached_translator_equals_cached_one(name: str) -> None:
    model = build((TRANSFORMERS | RECURRENT)[name])
    uncached = TranslatorWithoutCache(model).eval()
    assert isinstance(uncached, Stepper)
    assert isinstance(uncached, Scorer)
    torch.testing.assert_close(uncached.score(batch_of(ALL)), model.score(batch_of(ALL)))
    config = SearchConfig(beam_size=3, num_hypotheses=3, max_length=8)
    batch = batch_of(ALL, with_target=False)
    for found, expected in zip(beam_search(uncached, batch, config), beam_search(model, batch, config), strict=True):
        assert [each.ids for each in found] == [each.ids for each in expected]
        assert [each.score for each in found] == pytest.approx([each.score for each in expected], abs=1e-4)


@pytest.mark.parametrize(
    "config",
    [
        recurrent_lm("lstm"),
        TransformerLmConfig(d_model=16, num_heads=2, max_length=16),
    ],
)
@torch.inference_mode()
def test_uncached_language_model_equals_cached_one(config: Any) -> None:
    torch.manual_seed(0)
    model = config.build(FakeTokenizer(), FakeTokenizer()).eval()
    uncached = LmWithoutCache(model).eval()
    batch = collate_prompts([[BOS, 5, 6], [BOS, 7, 8]])
    search = SearchConfig(beam_size=3, num_hypotheses=3, max_length=6)
    for found, expected in zip(beam_search(uncached, batch, search), beam_search(model, batch, search), strict=True):
        assert [each.ids for each in found] == [each.ids for each in expected]
    options = SamplingConfig(max_length=6, seed=3)
    samples = [[each.ids for each in sample(lm, batch, options)] for lm in (uncached, model)]
    assert samples[0] == samples[1]


@pytest.mark.parametrize("name", ["pre", "lstm", "lstm, copying"])
def test_target_log_probs_have_a_gradient(name: str) -> None:
    model, batch = build((TRANSFORMERS | RECURRENT | COPYING)[name]), batch_of(ALL)
    found = model(batch).target_log_probs(batch.tgt_out)
    predicted = batch.tgt_out != IGNORE
    torch.testing.assert_close(found, model.score(batch)[predicted])
    grads = []
    for nll in (-found.sum(), model(batch).cross_entropy(batch.tgt_out, 0.0)[0]):
        model.zero_grad()
        nll.backward()
        grads.append({key: each.grad.clone() for key, each in model.named_parameters() if each.grad is not None})
    for key, grad in grads[0].items():
        torch.testing.assert_close(grad, grads[1][key], rtol=1e-3, atol=1e-5)
