"""Batch invariance: hypotheses and scores of real lines are equal bit for bit, in fp32 and bf16."""

from collections.abc import Callable

import pytest
import torch

from seqlab.inference.decode import decode_rows
from seqlab.inference.scorer import score_rows
from seqlab.models import (
    GruConfig,
    LstmConfig,
    RnnConfig,
    Transformer,
    TransformerCmlmConfig,
    TransformerConfig,
    TransformerCtcConfig,
    TransformerNatConfig,
)
from seqlab.nn.precision import prepare_inference
from seqlab.search.config import SearchConfig
from seqlab.search.ensemble import Ensemble
from seqlab.text import SentencePieceBpeConfig, Tokenizer, train_tokenizer

RealLines = Callable[[str], list[str]]
ALL_LINES, SEVEN_LINES, ONE_LINE = 10**6, 7 * 20, 1
"""Sizes of a batch in source tokens; lines have about 20."""


@pytest.fixture(scope="module")
def real_tokenizer(real_lines: RealLines) -> Tokenizer:
    lines = real_lines("train.en.gz")[:6000] + real_lines("train.de.gz")[:6000]
    return train_tokenizer(SentencePieceBpeConfig(vocab_size=8000), lines)


def build(tokenizer: Tokenizer, dtype: torch.dtype, seed: int = 1, **fields: object) -> Transformer:
    torch.manual_seed(seed)
    size = tokenizer.vocab_size
    config = TransformerConfig(**({"d_model": 128, "d_ff": 256, "num_heads": 4} | fields))
    model = Transformer(config, size, size, tokenizer.bos_id, tokenizer.eos_id).eval()
    prepare_inference(model, torch.device("cpu"), dtype)
    return model


every_dtype = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])


@every_dtype
@pytest.mark.parametrize("beam_size", [1, 5])
@pytest.mark.parametrize("count", [60, pytest.param(1000, marks=pytest.mark.learning)])
def test_hypotheses_and_scores_do_not_depend_on_the_batch(
    real_lines: RealLines, real_tokenizer: Tokenizer, dtype: torch.dtype, beam_size: int, count: int
) -> None:
    model, rows = build(real_tokenizer, dtype), real_tokenizer.encode(real_lines("test2016.en.gz")[:count])
    config = SearchConfig(beam_size=beam_size, num_hypotheses=min(2, beam_size), max_length=12)

    def decode(rows: list[list[int]], src_tokens: int) -> list[object]:
        return [*decode_rows(model, rows, config, real_tokenizer, batch_tokens=src_tokens * beam_size)]

    expected = decode(rows, 2048)
    assert decode(rows, SEVEN_LINES) == expected
    assert decode(rows[::-1], 2048)[::-1] == expected
    stride = max(1, count // 60)  # one line at a time is slow, and all lines at once need much memory
    assert decode(rows[::stride], ONE_LINE) == expected[::stride]
    assert decode(rows[::stride], ALL_LINES) == expected[::stride]


TRANSFORMER_VARIANTS = {
    "swiglu, rotary, post": {"activation": "swiglu", "positions": "rotary", "norm": "post", "d_ff": 100},
    "gelu, learned, small heads": {"activation": "gelu", "positions": "learned", "num_heads": 16, "max_length": 64},
    "odd sizes": {"d_model": 120, "num_heads": 6, "d_ff": 90},
}


@every_dtype
@pytest.mark.parametrize("name", TRANSFORMER_VARIANTS)
def test_transformer_variants_do_not_depend_on_the_batch(
    real_lines: RealLines, real_tokenizer: Tokenizer, dtype: torch.dtype, name: str
) -> None:
    model = build(real_tokenizer, dtype, num_encoder_layers=2, num_decoder_layers=2, **TRANSFORMER_VARIANTS[name])
    rows = real_tokenizer.encode(real_lines("test2016.en.gz")[:30])
    config = SearchConfig(beam_size=3, max_length=20, no_repeat_ngram_size=2)
    expected = decode_rows(model, rows, config, real_tokenizer)
    assert decode_rows(model, rows, config, real_tokenizer, batch_tokens=1) == expected
    assert decode_rows(model, rows[::-1], config, real_tokenizer, batch_tokens=300)[::-1] == expected


RECURRENT_AND_COPYING = {
    "transformer that copies": TransformerConfig(d_model=64, d_ff=96, num_heads=4, copying=True),
    "lstm that copies": LstmConfig(hidden_size=48, num_encoder_layers=2, copying=True),
    "gru, additive, without input feeding": GruConfig(hidden_size=48, attention="additive", input_feeding=False),
    "rnn, dot": RnnConfig(hidden_size=48, attention="dot"),
    "lstm, general, without input feeding": LstmConfig(hidden_size=48, attention="general", input_feeding=False),
    "gru, dot, rotary, without input feeding": GruConfig(
        hidden_size=48, attention="dot", rotary_cross_attention=True, input_feeding=False
    ),
}


@every_dtype
@pytest.mark.parametrize("name", RECURRENT_AND_COPYING)
def test_recurrent_and_copying_models_do_not_depend_on_the_batch(
    real_lines: RealLines, real_tokenizer: Tokenizer, dtype: torch.dtype, name: str
) -> None:
    torch.manual_seed(1)
    model = RECURRENT_AND_COPYING[name].build(real_tokenizer, real_tokenizer).eval()
    prepare_inference(model, torch.device("cpu"), dtype)
    src, tgt = (real_tokenizer.encode(real_lines(f"test2016.{side}.gz")[:100]) for side in ("en", "de"))
    expected = score_rows([model], src, tgt, real_tokenizer)
    assert score_rows([model], src, tgt, real_tokenizer, batch_tokens=ONE_LINE) == expected
    config = SearchConfig(beam_size=3, max_length=12, coverage_penalty=0.2)
    found = decode_rows(model, src[:30], config, real_tokenizer)
    assert decode_rows(model, src[:30], config, real_tokenizer, batch_tokens=ONE_LINE) == found


NON_AUTOREGRESSIVE = {
    "ctc": TransformerCtcConfig(d_model=64, d_ff=96, num_heads=4),
    "ctc, soft copies": TransformerCtcConfig(
        d_model=64, d_ff=96, num_heads=4, decoder_input="soft_copy", positions="rotary", norm="post", upsampling=2
    ),
    "ctc, masks": TransformerCtcConfig(d_model=48, d_ff=96, num_heads=2, decoder_input="mask"),
    "nat": TransformerNatConfig(d_model=64, d_ff=96, num_heads=4),
    "nat, end mark": TransformerNatConfig(d_model=64, d_ff=96, num_heads=4, length="end_mark", positions="rotary"),
    "nat, ratio": TransformerNatConfig(d_model=48, d_ff=96, num_heads=2, length="ratio", decoder_input="soft_copy"),
    "cmlm": TransformerCmlmConfig(d_model=64, d_ff=96, num_heads=4),
    "cmlm, soft copies": TransformerCmlmConfig(d_model=128, d_ff=96, num_heads=4, decoder_input="soft_copy"),
}
SHORT = ["A", "dog", "Two men", "A red bus", "Men run ."]
"""Lines of few tokens, for small matrix products."""


@every_dtype
@pytest.mark.parametrize("name", NON_AUTOREGRESSIVE)
def test_non_autoregressive_models_do_not_depend_on_the_batch(
    real_lines: RealLines, real_tokenizer: Tokenizer, dtype: torch.dtype, name: str
) -> None:
    torch.manual_seed(1)
    model = NON_AUTOREGRESSIVE[name].build(real_tokenizer, real_tokenizer).eval()
    prepare_inference(model, torch.device("cpu"), dtype)
    src, tgt = (real_tokenizer.encode(SHORT + real_lines(f"test2016.{side}.gz")[:35]) for side in ("en", "de"))
    expected = score_rows([model], src, tgt, real_tokenizer)
    assert score_rows([model], src, tgt, real_tokenizer, batch_tokens=ONE_LINE) == expected
    for config in (SearchConfig(beam_size=1), SearchConfig(beam_size=3, max_length=8)):
        found = decode_rows(model, src[:20], config, real_tokenizer)
        assert decode_rows(model, src[:20], config, real_tokenizer, batch_tokens=ONE_LINE) == found
        assert decode_rows(model, src[:20][::-1], config, real_tokenizer, batch_tokens=200)[::-1] == found


def test_ensembles_do_not_depend_on_the_batch(real_lines: RealLines, real_tokenizer: Tokenizer) -> None:
    model = Ensemble([build(real_tokenizer, torch.float32, seed) for seed in (1, 2)])
    rows = real_tokenizer.encode(real_lines("test2016.en.gz")[:20])
    config = SearchConfig(beam_size=3, max_length=12)
    expected = decode_rows(model, rows, config, real_tokenizer)
    assert decode_rows(model, rows, config, real_tokenizer, batch_tokens=1) == expected


@every_dtype
@pytest.mark.parametrize("count", [100, pytest.param(1000, marks=pytest.mark.learning)])
def test_scores_of_pairs_do_not_depend_on_the_batch(
    real_lines: RealLines, real_tokenizer: Tokenizer, dtype: torch.dtype, count: int
) -> None:
    models = [build(real_tokenizer, dtype, seed) for seed in (1, 2)]
    src = real_tokenizer.encode(real_lines("test2016.en.gz")[:count])
    tgt = real_tokenizer.encode(real_lines("test2016.de.gz")[:count])
    expected = score_rows(models, src, tgt, real_tokenizer)
    stride = max(1, count // 100)
    assert score_rows(models, src[::stride], tgt[::stride], real_tokenizer, batch_tokens=1) == expected[::stride]
    assert score_rows(models, src, tgt, real_tokenizer, batch_tokens=150) == expected
    assert score_rows(models, src[::-1], tgt[::-1], real_tokenizer)[::-1] == expected


def test_teacher_forced_scores_match_beam_search(real_lines: RealLines, real_tokenizer: Tokenizer) -> None:
    model = build(real_tokenizer, torch.float32)
    rows = real_tokenizer.encode(real_lines("test2016.en.gz")[:20])
    found = decode_rows(model, rows, SearchConfig(beam_size=4, max_length=15), real_tokenizer)
    scored = score_rows([model], rows, [best[0].ids for best in found], real_tokenizer)
    for best, score in zip(found, scored, strict=True):
        length = len(best[0].ids)
        assert score.token_log_probs[:length] == pytest.approx(best[0].token_log_probs[:length], abs=1e-4)
        assert score.log_prob == pytest.approx(sum(score.token_log_probs))
        assert score.num_tokens == length + 1
