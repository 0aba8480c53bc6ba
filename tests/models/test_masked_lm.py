"""Masked language model: `torch.nn.TransformerEncoder` with the same weights, bidirectional context, configs."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from models.batches import assert_same_hidden_states
from reference.recurrent_models import recurrent_lm
from reference.torch_encoder import copy_encoder_layers
from torch import nn

from seqlab.data.batch import IGNORE, TextBatch, collate_text
from seqlab.data.masking import Masking
from seqlab.models import (
    EncoderLmConfig,
    LinearEncoderConfig,
    MaskedLm,
    NgramConfig,
    RecurrentEncoderConfig,
    Transformer,
    TransformerConfig,
    TransformerEncoderConfig,
    TransformerLmConfig,
)
from seqlab.objectives import CrossEntropy, CrossEntropyConfig, StepContext
from seqlab.runs.config import Config
from seqlab.tasks.language_modelling.config import LanguageModellingConfig
from seqlab.testing import check_model, texts
from seqlab.testing.models import build as build_model
from seqlab.testing.random_examples import Vocabulary
from seqlab.training.warm_start import matching_weights

PAD, BOS, EOS = range(3)
VOCAB = 40
ROWS = [
    [5, 6, 7, EOS],
    [8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, EOS],
    [25, EOS],
    [26, 27, 28, 5, 9, EOS],
]
SIZES: dict[str, Any] = {"d_model": 32, "d_ff": 48, "num_heads": 4, "num_layers": 2, "dropout": 0.0}
VARIANTS: dict[str, dict[str, Any]] = {
    "pre": {},
    "post": {"norm": "post", "activation": "gelu"},
    "learned": {"positions": "learned", "max_length": 18, "num_heads": 2},
    "rotary": {"positions": "rotary", "activation": "swiglu"},
    "untied": {},
}
every_variant = pytest.mark.parametrize("name", [*VARIANTS, "bidirectional lstm"])
pytestmark = pytest.mark.filterwarnings("ignore:enable_nested_tensor")


def config_of(name: str = "pre", **fields: Any) -> EncoderLmConfig:
    if name == "bidirectional lstm":
        encoder: Any = RecurrentEncoderConfig(hidden_size=32, num_layers=2, dropout=0.0, **fields)
    else:
        encoder = TransformerEncoderConfig(**SIZES | VARIANTS[name] | fields)
    return EncoderLmConfig(encoder=encoder, tied_embeddings=name != "untied")


def build(name: str = "pre", **fields: Any) -> Any:
    return build_model(config_of(name, **fields), texts(VOCAB))


def mask_rows(rows: Sequence[Sequence[int]], starts: Sequence[int] | None = None, share: float = 0.4) -> TextBatch:
    """Mask tokens of rows that start at these positions of a text. By default, rows follow each other."""
    masking = Masking.from_config(LanguageModellingConfig(train=["text"], mask_share=share), Vocabulary(VOCAB), 1)  # type: ignore[arg-type]
    assert masking is not None
    row_starts = np.cumsum([0, *map(len, rows)])[:-1] if starts is None else starts
    return masking(collate_text(rows, row_starts, pad_id=PAD, start_id=BOS), 0)


@torch.no_grad()
def torch_encoder(model: MaskedLm) -> nn.TransformerEncoder:
    """Build `torch.nn.TransformerEncoder` with the same weights."""
    config: Any = model.config.encoder
    sizes = config.d_model, config.num_heads, config.d_ff, 0.0, config.activation
    layer = nn.TransformerEncoderLayer(*sizes, batch_first=True, norm_first=config.norm == "pre")
    norm = nn.LayerNorm(config.d_model) if config.norm == "pre" else None
    encoder = nn.TransformerEncoder(layer, config.num_layers, norm).eval()
    copy_encoder_layers(model.encoder.layers, encoder.layers)
    if norm is not None:
        norm.load_state_dict(model.encoder.norm.state_dict())
    return encoder


@pytest.mark.parametrize("name", ["pre", "post", "learned", "untied"])
@pytest.mark.parametrize("training", [True, False])
def test_hidden_states_and_gradients_equal_torch(name: str, training: bool) -> None:
    model = build(name).train(training)
    batch = mask_rows(ROWS)
    expected = torch_encoder(model)(model.embed(batch.tgt_in), src_key_padding_mask=batch.tgt_in == PAD)
    assert_same_hidden_states(model(batch).hidden, expected, batch.tgt_in != PAD, model.weight)


@every_variant
@torch.inference_mode()
def test_only_masked_tokens_are_scored(name: str) -> None:
    model, batch = build(name), mask_rows(ROWS)
    scores = model.score(batch)
    log_probs = torch.log_softmax(model(batch).hidden @ model.projection.weight.T, dim=-1)
    predicted = batch.tgt_out != IGNORE
    assert 0 < predicted.sum() < predicted.numel()
    expected = log_probs[predicted].gather(1, batch.tgt_out[predicted][:, None])[:, 0]
    torch.testing.assert_close(scores[predicted], expected, rtol=1e-4, atol=1e-4)
    assert (scores[~predicted] == 0).all()


@every_variant
@torch.inference_mode()
def test_context_is_bidirectional(name: str) -> None:
    model = build(name)
    batch = mask_rows([ROWS[1]])
    before = model(batch).hidden
    for position in (0, 8, 17):
        changed = batch.tgt_in.clone()
        changed[0, position] = 30
        change = (model(TextBatch(changed, batch.tgt_out, batch.indices, 1)).hidden - before).abs().amax(-1)[0]
        assert (change > 1e-4).all()


@every_variant
def test_models_pass_the_public_checks(name: str) -> None:
    check_model(config_of(name), texts())


def test_output_weight_is_tied_by_default() -> None:
    tied, untied = build(), build("untied")
    assert tied.projection.weight is tied.weight
    assert untied.projection.weight is not untied.weight
    assert "projection.weight" in dict(untied.named_parameters())


@pytest.mark.parametrize("name", VARIANTS)
def test_weights_initialize_the_encoder_of_a_translator(name: str) -> None:
    model = build(name)
    fields: dict[str, Any] = {**SIZES, **VARIANTS[name]}
    config = TransformerConfig(num_encoder_layers=fields.pop("num_layers"), **fields)
    translator = Transformer(config, VOCAB, VOCAB, bos_id=BOS, eos_id=EOS)
    matching = matching_weights(translator, config, model, model.config)
    assert {
        key.removeprefix("encoder."): value for key, value in matching.items() if key.startswith("encoder.")
    }.keys() == (translator.encoder.state_dict().keys())
    for key, value in matching.items():
        own = (
            model.weight
            if key.endswith("embedding.weight")
            else model.state_dict()[key.replace("embedding.pos", "pos")]
        )
        assert torch.equal(value, own), key


@pytest.mark.learning
def test_training_uses_the_context_on_both_sides() -> None:
    """Each id is one more than the previous id. The first id of a row depends only on later ids."""
    print("seed 0")
    generator, count = np.random.default_rng(0), VOCAB - 4
    model = build("rotary", d_model=64, d_ff=128).train()
    objective = CrossEntropy(CrossEntropyConfig(label_smoothing=0.0))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)

    def batch_at(step: int) -> TextBatch:
        rows = 4 + (generator.integers(count, size=(32, 1)) + np.arange(8)) % count
        return mask_rows(rows.tolist(), list(range(step * 256, step * 256 + 256, 8)), share=0.15)

    for step in range(200):
        loss = objective(model, batch_at(step), StepContext(step))
        (loss.total / loss.count).backward()
        optimizer.step()
        optimizer.zero_grad()
    model.eval()
    batches = [batch_at(1000 + step) for step in range(10)]
    scores = torch.cat([model.score(batch) for batch in batches])
    predicted = torch.cat([batch.tgt_out for batch in batches]) != IGNORE
    for position in (0, 3, 7):
        nll = -scores[:, position][predicted[:, position]].mean().item()
        print(f"position {position}: nll {nll:.3f}, guessing {np.log(count):.3f}")
        assert nll < 1.0


OTHER_CONFIGS = [
    TransformerLmConfig(),
    recurrent_lm("rnn", hidden_size=512),
    recurrent_lm("lstm", hidden_size=512),
    recurrent_lm("gru", hidden_size=512),
    NgramConfig(),
]


@pytest.mark.parametrize("other", OTHER_CONFIGS, ids=lambda other: other.family)
def test_masking_and_masked_language_models_require_each_other(other: Any) -> None:
    unmasked, with_masks = (LanguageModellingConfig(train=["text"], mask_share=share) for share in (0.0, 0.15))
    assert Config(data=with_masks, model=EncoderLmConfig(encoder=TransformerEncoderConfig())).data.mask_share == 0.15
    assert Config(data=unmasked, model=other).model == other
    with pytest.raises(ValueError, match=r"mask tokens \(`data\.mask_share: 0\.15`\)"):
        Config(data=unmasked, model=EncoderLmConfig(encoder=TransformerEncoderConfig()))
    with pytest.raises(
        ValueError, match=rf"`data\.mask_share` \(0\.15\) masks tokens, but `model\.family: {other.family}`"
    ):
        Config(data=with_masks, model=other)


def test_an_encoder_that_reads_each_token_by_itself_is_refused() -> None:
    for share in (0.0, 0.15):
        with pytest.raises(ValueError, match=r"`model\.encoder\.family: linear` reads each token by itself"):
            Config(
                data=LanguageModellingConfig(train=["text"], mask_share=share),
                model=EncoderLmConfig(encoder=LinearEncoderConfig()),
            )


def test_blocks_longer_than_the_model_are_refused() -> None:
    with pytest.raises(
        ValueError, match=r"`data\.block_length` \(256\) must be at most `model\.encoder\.max_length` \(100\)"
    ):
        Config(
            data=LanguageModellingConfig(train=["text"], mask_share=0.15),
            model=EncoderLmConfig(encoder=TransformerEncoderConfig(max_length=100)),
        )
    with pytest.raises(ValueError, match=r"`model\.family: transformer` is trained on `data\.kind: translation`"):
        Config(data=LanguageModellingConfig(train=["text"], mask_share=0.15), model=TransformerConfig())
