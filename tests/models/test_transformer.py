"""Transformer translators against `torch.nn.Transformer` with the same weights; tied embeddings, invalid configs."""

from typing import Any

import pytest
import torch
from models.batches import assert_same_hidden_states
from reference.tiny_translators import ALL, BOS, EOS, TRANSFORMERS, VOCAB, batch_of, build
from torch import nn

from seqlab.data.batch import IGNORE
from seqlab.models import TransformerEncoderConfig
from seqlab.models.transformer import Transformer, TransformerConfig

pytestmark = pytest.mark.filterwarnings("ignore:enable_nested_tensor")


def copy_attention(attention: nn.Module, torch_attention: nn.MultiheadAttention, *projections: str) -> None:
    torch_attention.in_proj_weight.copy_(torch.cat([getattr(attention, name).weight for name in projections]))
    torch_attention.in_proj_bias.copy_(torch.cat([getattr(attention, name).bias for name in projections]))
    torch_attention.out_proj.load_state_dict(attention.project_out.state_dict())


@torch.no_grad()
def torch_transformer(model: Transformer) -> nn.Transformer:
    """Build `torch.nn.Transformer` with the same weights."""
    config = model.config
    torch_model = nn.Transformer(
        config.d_model,
        config.num_heads,
        config.num_encoder_layers,
        config.num_decoder_layers,
        config.d_ff,
        0.0,
        config.activation,
        norm_first=config.norm == "pre",
        batch_first=True,
    ).eval()
    for layer, torch_layer in zip(model.encoder.layers, torch_model.encoder.layers, strict=True):
        copy_attention(layer.attention, torch_layer.self_attn, "project_in")
        copy_shared(layer, torch_layer, ["attention_residual", "feed_forward_residual"])
    for layer, torch_layer in zip(model.decoder.layers, torch_model.decoder.layers, strict=True):
        copy_attention(layer.attention, torch_layer.self_attn, "project_in")
        copy_attention(layer.cross_attention, torch_layer.multihead_attn, "project_query", "project_memory")
        copy_shared(layer, torch_layer, ["attention_residual", "cross_attention_residual", "feed_forward_residual"])
    for module, torch_module in ((model.encoder, torch_model.encoder), (model.decoder, torch_model.decoder)):
        if config.norm == "pre":
            torch_module.norm.load_state_dict(module.norm.state_dict())
        else:
            torch_module.norm = None
    return torch_model


def copy_shared(layer: nn.Module, torch_layer: nn.Module, residuals: list[str]) -> None:
    torch_layer.linear1.load_state_dict(layer.feed_forward.expand.state_dict())
    torch_layer.linear2.load_state_dict(layer.feed_forward.contract.state_dict())
    for i, residual in enumerate(residuals, start=1):
        getattr(torch_layer, f"norm{i}").load_state_dict(getattr(layer, residual).norm.state_dict())


@pytest.mark.parametrize("name", ["pre", "post", "learned", "untied"])
@pytest.mark.parametrize("training", [True, False])
def test_hidden_states_and_gradients_equal_torch(name: str, training: bool) -> None:
    model = build(TransformerConfig(**{**vars(TRANSFORMERS[name]), "dropout": 0.0})).train(training)
    torch_model = torch_transformer(model)
    batch = batch_of(ALL)
    padding = torch.arange(batch.src.size(1)) >= batch.src_lengths[:, None]
    causal_mask = torch.ones(batch.tgt_in.size(1), batch.tgt_in.size(1), dtype=torch.bool).triu(1)
    expected = torch_model(
        model.encoder.embedding(batch.src),
        model.decoder.embedding(batch.tgt_in),
        tgt_mask=causal_mask,
        src_key_padding_mask=padding,
        memory_key_padding_mask=padding,
    )
    assert_same_hidden_states(model(batch).hidden, expected, batch.tgt_out != IGNORE, model.encoder.embedding.weight)


def test_embeddings_are_tied_as_configured() -> None:
    for name, count in (("pre", 1), ("rotary", 2), ("untied", 3)):
        model = build(TRANSFORMERS[name])
        weights = {id(w) for w in (model.encoder.embedding.weight, model.decoder.embedding.weight)}
        weights.add(id(model.projection.weight))
        assert len(weights) == count
    with pytest.raises(ValueError, match="needs one vocabulary for both sides, but they have 40 and 41"):
        Transformer(TRANSFORMERS["pre"], VOCAB, VOCAB + 1, BOS, EOS)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"d_model": 30, "num_heads": 4}, "`d_model` 30 must be divisible by `num_heads` 4"),
        (
            {"d_model": 20, "num_heads": 4, "rotary_cross_attention": True},
            "`rotary_cross_attention` needs an even head size, but .* is 5 instead",
        ),
        ({"num_encoder_layers": 0}, "`num_encoder_layers` must be at least 1, but is 0"),
        ({"positions": "rotary", "d_model": 20, "num_heads": 4}, "`positions: rotary` needs an even head size"),
        ({"dropout": 1.0}, "`dropout` must be less than 1, but is 1.0"),
        ({"activation": "tanh"}, "activation"),
    ],
)
def test_invalid_configs_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TransformerConfig(**fields)
    if not fields.keys() & {"rotary_cross_attention", "num_encoder_layers"}:
        with pytest.raises(ValueError, match=message):
            TransformerEncoderConfig(**fields)
