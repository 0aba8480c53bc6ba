"""Non-autoregressive translator with CTC: decoder inputs, bidirectional attention, public checks."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from reference.tiny_translators import ALL, BOS, EOS, PAD, SRC, TGT, TRANSFORMERS, VOCAB, batch_of
from reference.tiny_translators import build as build_translator

from seqlab.data.batch import IGNORE, Seq2SeqBatch, collate
from seqlab.models import TransformerCtcConfig
from seqlab.models.parallel_decoder import EncodedSource
from seqlab.objectives import Ctc, CtcConfig, StepContext
from seqlab.search.beam import beam_search
from seqlab.search.config import SearchConfig
from seqlab.search.ensemble import Ensemble
from seqlab.testing import check_model, check_objective, token_pairs
from seqlab.testing.models import build as build_model

SMALL: dict[str, Any] = {"d_model": 32, "d_ff": 48, "num_heads": 4, "num_encoder_layers": 2, "num_decoder_layers": 2}
CONFIGS = {
    "uniform copies": TransformerCtcConfig(**SMALL, upsampling=2),
    "soft copies": TransformerCtcConfig(**SMALL, decoder_input="soft_copy", norm="post", tied_embeddings="decoder"),
    "masks": TransformerCtcConfig(**SMALL, decoder_input="mask", positions="rotary", tied_embeddings="none"),
    "learned": TransformerCtcConfig(**SMALL, positions="learned", max_length=12, upsampling=4),
}


def collate_short(rows: Sequence[int]) -> Seq2SeqBatch:
    """Collate pairs whose targets are as long as their sources, so that CTC can align them."""
    src, tgt = [SRC[row] for row in rows], [TGT[row][: len(SRC[row])] for row in rows]
    return collate(src, tgt, rows, pad_id=PAD, bos_id=BOS, eos_id=EOS)


EXAMPLES = replace(token_pairs(VOCAB), collate=collate_short)


def build(config: TransformerCtcConfig) -> Any:
    return build_model(config, EXAMPLES)


@pytest.mark.parametrize("name", CONFIGS)
def test_models_pass_the_public_checks(name: str) -> None:
    check_model(CONFIGS[name], EXAMPLES, objective=CtcConfig(glancing=0.5), tolerance=1e-4)
    check_objective(CtcConfig(), CONFIGS[name], EXAMPLES)
    check_objective(CtcConfig(glancing=0.5), CONFIGS[name], EXAMPLES, is_random=True)


@pytest.mark.parametrize("name", CONFIGS)
def test_observed_tokens_change_every_frame(name: str) -> None:
    model, batch = build(CONFIGS[name]), batch_of([0])
    plain = model(batch)
    assert plain.lengths.tolist() == [CONFIGS[name].upsampling * (len(SRC[0]) + 1)]
    no_tokens = torch.full(plain.hidden.shape[:2], IGNORE)
    torch.testing.assert_close(model(batch, lambda _: no_tokens).hidden, plain.hidden)
    for position in (0, int(plain.lengths[0]) - 1):
        shown = no_tokens.clone()
        shown[0, position] = 25
        is_changed = (model(batch, lambda _, shown=shown: shown).hidden != plain.hidden).any(2)
        assert is_changed.all()


def test_copied_inputs_are_the_resampled_source() -> None:
    uniform, soft = (
        CONFIGS[name].build(EXAMPLES.src, EXAMPLES.tgt).decoder for name in ("uniform copies", "soft copies")
    )
    source, src_lengths = torch.randn(2, 5, 32), torch.tensor([5, 3])
    encoded = EncodedSource(source, src_lengths, source[:, 0], [])
    for lengths in ([10, 6], [3, 2], [7, 1]):
        found = {
            name: decoder._inputs(encoded, torch.tensor(lengths), max(lengths))
            for name, decoder in (("uniform", uniform), ("soft", soft))
        }
        for row, length in enumerate(lengths):
            size = int(src_lengths[row])
            for position in range(length):
                torch.testing.assert_close(found["uniform"][row, position], source[row, position * size // length])
                center = (position + 0.5) * size / length - 0.5
                weights = torch.tensor([math.exp(-abs(index - center)) for index in range(size)])
                expected = (weights[:, None] * source[row, :size]).sum(0) / weights.sum()
                torch.testing.assert_close(found["soft"][row, position], expected)


def test_scores_equal_the_objective() -> None:
    model, batch = build(CONFIGS["uniform copies"]), batch_of([0, 1, 3])
    loss = Ctc(CtcConfig())(model, batch, StepContext(step=0))
    assert -float(model.score(batch).sum()) == pytest.approx(float(loss.logs["nll"]), rel=1e-4)


def test_ensemble_with_an_autoregressive_model() -> None:
    """Probabilities are averaged token by token, as in any ensemble."""
    members = [build(CONFIGS["uniform copies"]), build_translator(TRANSFORMERS["pre"])]
    batch = batch_of(ALL, with_target=False)
    found = beam_search(Ensemble(members), batch, SearchConfig(beam_size=3, max_length=6), banned_ids=[PAD, BOS])
    scored = collate(SRC, [best.ids for best, *_ in found], ALL, pad_id=PAD, bos_id=BOS, eos_id=EOS)
    log_probs = torch.stack([member.score(scored).exp() for member in members]).mean(0).log()
    for (best, *_), row in zip(found, log_probs, strict=True):
        length = len(best.token_log_probs)
        assert best.token_log_probs == pytest.approx(row[:length].tolist(), abs=1e-4)
