"""Batch invariance: hypotheses and scores of real lines are equal bit for bit, in fp32 and bf16."""

from collections.abc import Callable

import pytest
import torch

from seqlab.inference.decode import decode_rows
from seqlab.inference.scorer import score_rows
from seqlab.models import (
    RecurrentConfig,
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
Pairs = Callable[[int], tuple[list[list[int]], list[list[int]]]]
ALL_LINES, SEVEN_LINES, ONE_LINE = 10**6, 7 * 20, 1
"""Sizes of a batch in source tokens; lines have about 20."""
TWO_LAYERS = {"num_encoder_layers": 2, "num_decoder_layers": 2}
SMALL = {"d_model": 64, "d_ff": 96, "num_heads": 4, **TWO_LAYERS}


@pytest.fixture(scope="module")
def real_tokenizer(real_lines: RealLines) -> Tokenizer:
    lines = real_lines("train.en.gz")[:6000] + real_lines("train.de.gz")[:6000]
    return train_tokenizer(SentencePieceBpeConfig(vocab_size=8000), lines)


@pytest.fixture(scope="module")
def pairs(real_lines: RealLines, real_tokenizer: Tokenizer) -> Pairs:
    """Return a function that encodes some pairs of lines; the first sides have all lengths from short to long."""
    src, tgt = (real_tokenizer.encode(real_lines(f"test2016.{side}.gz")) for side in ("en", "de"))
    by_length = sorted(range(len(src)), key=lambda i: len(src[i]))

    def choose(count: int) -> tuple[list[list[int]], list[list[int]]]:
        chosen = sorted(by_length[i * (len(src) - 1) // (count - 1)] for i in range(count))
        return [src[i] for i in chosen], [tgt[i] for i in chosen]

    return choose


def build(tokenizer: Tokenizer, dtype: torch.dtype, seed: int = 1, **fields: object) -> Transformer:
    torch.manual_seed(seed)
    size = tokenizer.vocab_size
    config = TransformerConfig(**({"d_model": 128, "d_ff": 256, "num_heads": 4, **TWO_LAYERS} | fields))
    model = Transformer(config, size, size, tokenizer.bos_id, tokenizer.eos_id).eval()
    prepare_inference(model, torch.device("cpu"), dtype)
    return model


every_dtype = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])


@every_dtype
@pytest.mark.parametrize("beam_size", [1, 5])
@pytest.mark.parametrize("count", [30, pytest.param(1000, marks=pytest.mark.learning)])
def test_hypotheses_and_scores_do_not_depend_on_the_batch(
    pairs: Pairs, real_tokenizer: Tokenizer, dtype: torch.dtype, beam_size: int, count: int
) -> None:
    model, (rows, _) = build(real_tokenizer, dtype), pairs(count)
    config = SearchConfig(beam_size=beam_size, num_hypotheses=min(2, beam_size), max_length=12)

    def decode(rows: list[list[int]], src_tokens: int) -> list[object]:
        return [*decode_rows(model, rows, config, real_tokenizer, batch_tokens=src_tokens * beam_size)]

    expected = decode(rows, 2048)
    assert decode(rows, SEVEN_LINES) == expected
    assert decode(rows[::-1], 2048)[::-1] == expected
    stride = max(1, count // 15)  # one line at a time is slow, and all lines at once need much memory
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
    pairs: Pairs, real_tokenizer: Tokenizer, dtype: torch.dtype, name: str
) -> None:
    model, (rows, _) = build(real_tokenizer, dtype, **TRANSFORMER_VARIANTS[name]), pairs(10)
    config = SearchConfig(beam_size=3, max_length=12, no_repeat_ngram_size=2)
    expected = decode_rows(model, rows, config, real_tokenizer)
    assert decode_rows(model, rows, config, real_tokenizer, batch_tokens=1) == expected
    assert decode_rows(model, rows[::-1], config, real_tokenizer, batch_tokens=300)[::-1] == expected


RECURRENT_AND_COPYING = {
    "transformer that copies": TransformerConfig(**SMALL, copying=True),
    "lstm that copies": RecurrentConfig(family="lstm", hidden_size=48, num_encoder_layers=2, copying=True),
    "gru, additive, without input feeding": RecurrentConfig(
        family="gru", hidden_size=48, attention="additive", input_feeding=False
    ),
    "rnn, dot": RecurrentConfig(family="rnn", hidden_size=48, attention="dot"),
    "lstm, general, without input feeding": RecurrentConfig(
        family="lstm", hidden_size=48, attention="general", input_feeding=False
    ),
    "gru, dot, rotary, without input feeding": RecurrentConfig(
        family="gru", hidden_size=48, attention="dot", rotary_cross_attention=True, input_feeding=False
    ),
}


@every_dtype
@pytest.mark.parametrize("name", RECURRENT_AND_COPYING)
def test_recurrent_and_copying_models_do_not_depend_on_the_batch(
    pairs: Pairs, real_tokenizer: Tokenizer, dtype: torch.dtype, name: str
) -> None:
    torch.manual_seed(1)
    model = RECURRENT_AND_COPYING[name].build(real_tokenizer, real_tokenizer).eval()
    prepare_inference(model, torch.device("cpu"), dtype)
    src, tgt = pairs(60)
    expected = score_rows([model], src, tgt, real_tokenizer)
    assert score_rows([model], src, tgt, real_tokenizer, batch_tokens=ONE_LINE) == expected
    config = SearchConfig(beam_size=3, max_length=12, coverage_penalty=0.2)
    expected_hypotheses = decode_rows(model, src[::6], config, real_tokenizer)
    assert decode_rows(model, src[::6], config, real_tokenizer, batch_tokens=ONE_LINE) == expected_hypotheses


NON_AUTOREGRESSIVE = {
    "ctc": TransformerCtcConfig(**SMALL),
    "ctc, soft copies": TransformerCtcConfig(
        **SMALL, decoder_input="soft_copy", positions="rotary", norm="post", upsampling=2
    ),
    "ctc, masks": TransformerCtcConfig(**(SMALL | {"d_model": 48, "num_heads": 2}), decoder_input="mask"),
    "nat": TransformerNatConfig(**SMALL),
    "nat, end mark": TransformerNatConfig(**SMALL, length="end_mark", positions="rotary"),
    "nat, ratio": TransformerNatConfig(
        **(SMALL | {"d_model": 48, "num_heads": 2}), length="ratio", decoder_input="soft_copy"
    ),
    "cmlm": TransformerCmlmConfig(**SMALL),
    "cmlm, soft copies": TransformerCmlmConfig(**(SMALL | {"d_model": 128}), decoder_input="soft_copy"),
}
SHORT = ["A", "dog", "Two men", "A red bus", "Men run ."]
"""Lines of few tokens, for small matrix products."""


@every_dtype
@pytest.mark.parametrize("name", NON_AUTOREGRESSIVE)
def test_non_autoregressive_models_do_not_depend_on_the_batch(
    pairs: Pairs, real_tokenizer: Tokenizer, dtype: torch.dtype, name: str
) -> None:
    torch.manual_seed(1)
    model = NON_AUTOREGRESSIVE[name].build(real_tokenizer, real_tokenizer).eval()
    prepare_inference(model, torch.device("cpu"), dtype)
    short = real_tokenizer.encode(SHORT)
    src, tgt = (short + rows for rows in pairs(15))
    expected = score_rows([model], src, tgt, real_tokenizer)
    assert score_rows([model], src, tgt, real_tokenizer, batch_tokens=ONE_LINE) == expected
    rows, iterations = src[::3], 4 if name.startswith("cmlm") else None
    for config in (
        SearchConfig(beam_size=1, iterations=iterations),
        SearchConfig(beam_size=3, max_length=8, iterations=iterations),
    ):
        found = decode_rows(model, rows, config, real_tokenizer)
        assert decode_rows(model, rows, config, real_tokenizer, batch_tokens=ONE_LINE) == found
        assert decode_rows(model, rows[::-1], config, real_tokenizer, batch_tokens=100)[::-1] == found


def test_ensembles_do_not_depend_on_the_batch(pairs: Pairs, real_tokenizer: Tokenizer) -> None:
    model, (rows, _) = Ensemble([build(real_tokenizer, torch.float32, seed) for seed in (1, 2)]), pairs(8)
    config = SearchConfig(beam_size=3, max_length=12)
    expected = decode_rows(model, rows, config, real_tokenizer)
    assert decode_rows(model, rows, config, real_tokenizer, batch_tokens=1) == expected


@every_dtype
@pytest.mark.parametrize("count", [30, pytest.param(1000, marks=pytest.mark.learning)])
def test_scores_of_pairs_do_not_depend_on_the_batch(
    pairs: Pairs, real_tokenizer: Tokenizer, dtype: torch.dtype, count: int
) -> None:
    models, (src, tgt) = [build(real_tokenizer, dtype, seed) for seed in (1, 2)], pairs(count)
    expected = score_rows(models, src, tgt, real_tokenizer)
    stride = max(1, count // 30)
    assert score_rows(models, src[::stride], tgt[::stride], real_tokenizer, batch_tokens=1) == expected[::stride]
    assert score_rows(models, src, tgt, real_tokenizer, batch_tokens=150) == expected
    assert score_rows(models, src[::-1], tgt[::-1], real_tokenizer)[::-1] == expected


def test_teacher_forced_scores_match_beam_search(pairs: Pairs, real_tokenizer: Tokenizer) -> None:
    model, (rows, _) = build(real_tokenizer, torch.float32), pairs(20)
    found = decode_rows(model, rows, SearchConfig(beam_size=4, max_length=15), real_tokenizer)
    scored = score_rows([model], rows, [best[0].ids for best in found], real_tokenizer)
    for best, score in zip(found, scored, strict=True):
        length = len(best[0].ids)
        assert score.token_log_probs[:length] == pytest.approx(best[0].token_log_probs[:length], abs=1e-4)
        assert score.log_prob == pytest.approx(sum(score.token_log_probs))
        assert score.num_tokens == length + 1
