"""The Transformer against torch.nn.Transformer with the same weights."""

import pytest
import torch
from reference.tiny_translators import ALL, BOS, EOS, TRANSFORMERS, VOCAB, batch_of, build
from torch import nn

from seqlab.data.batch import IGNORE
from seqlab.models.transformer import Transformer, TransformerConfig

pytestmark = pytest.mark.filterwarnings("ignore:enable_nested_tensor")


def copy_attention(own: nn.Module, torchs: nn.MultiheadAttention, *projections: str) -> None:
    torchs.in_proj_weight.copy_(torch.cat([getattr(own, name).weight for name in projections]))
    torchs.in_proj_bias.copy_(torch.cat([getattr(own, name).bias for name in projections]))
    torchs.out_proj.load_state_dict(own.project_out.state_dict())


@torch.no_grad()
def torch_transformer(own: Transformer) -> nn.Transformer:
    """Build torch's module with the same weights."""
    config = own.config
    module = nn.Transformer(
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
    for layer, theirs in zip(own.encoder.layers, module.encoder.layers, strict=True):
        copy_attention(layer.attention, theirs.self_attn, "project_in")
        copy_shared(layer, theirs, ["attention_residual", "feed_forward_residual"])
    for layer, theirs in zip(own.decoder.layers, module.decoder.layers, strict=True):
        copy_attention(layer.attention, theirs.self_attn, "project_in")
        copy_attention(layer.cross_attention, theirs.multihead_attn, "project_query", "project_memory")
        copy_shared(layer, theirs, ["attention_residual", "cross_attention_residual", "feed_forward_residual"])
    for mine, theirs in ((own.encoder, module.encoder), (own.decoder, module.decoder)):
        if config.norm == "pre":
            theirs.norm.load_state_dict(mine.norm.state_dict())
        else:
            theirs.norm = None
    return module


def copy_shared(layer: nn.Module, theirs: nn.Module, residuals: list[str]) -> None:
    theirs.linear1.load_state_dict(layer.feed_forward.expand.state_dict())
    theirs.linear2.load_state_dict(layer.feed_forward.contract.state_dict())
    for i, residual in enumerate(residuals, start=1):
        getattr(theirs, f"norm{i}").load_state_dict(getattr(layer, residual).norm.state_dict())


@pytest.mark.parametrize("name", ["pre", "post", "learned", "untied"])
@pytest.mark.parametrize("training", [True, False])
def test_hidden_states_and_gradients_equal_torch(name: str, training: bool) -> None:
    own = build(TransformerConfig(**{**vars(TRANSFORMERS[name]), "dropout": 0.0})).train(training)
    module = torch_transformer(own)
    batch = batch_of(ALL)
    padding = torch.arange(batch.src.size(1)) >= batch.src_lengths[:, None]
    forbidden = torch.ones(batch.tgt_in.size(1), batch.tgt_in.size(1), dtype=torch.bool).triu(1)
    expected = module(
        own.encoder.embedding(batch.src),
        own.decoder.embedding(batch.tgt_in),
        tgt_mask=forbidden,
        src_key_padding_mask=padding,
        memory_key_padding_mask=padding,
    )
    found = own(batch).hidden
    real = batch.tgt_out != IGNORE
    torch.testing.assert_close(found[real], expected[real], rtol=1e-4, atol=1e-4)
    weight = own.encoder.embedding.weight
    direction = torch.randn_like(found[real])
    (mine,) = torch.autograd.grad((found[real] * direction).sum(), weight)
    (theirs,) = torch.autograd.grad((expected[real] * direction).sum(), weight)
    torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-3)


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
        ({"num_encoder_layers": 0}, "num_encoder_layers\n  Input should be greater than or equal to 1"),
        ({"dropout": 1.0}, "dropout\n  Input should be less than 1"),
    ],
)
def test_invalid_configs_are_refused(fields: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TransformerConfig(**fields)
