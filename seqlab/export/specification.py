"""Convert a Transformer to CTranslate2's model specification: weights, vocabularies and settings.

CTranslate2 supports the options of `TransformerConfig` that are in `EXPORTED_FIELDS`: pre-norm and post-norm, all
activations, all position encodings and all ways of tying embeddings.
"""

from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, cast

import torch
from ctranslate2.specs import TransformerSpec
from ctranslate2.specs.attention_spec import MultiHeadAttentionSpec
from ctranslate2.specs.common_spec import Activation, LayerNormSpec, LinearSpec
from ctranslate2.specs.transformer_spec import (
    FeedForwardSpec,
    PositionEncoderSpec,
    TransformerDecoderSpec,
    TransformerEncoderSpec,
)
from torch import Tensor, nn

from seqlab.models import Transformer, TransformerConfig
from seqlab.models.transformer import Embedding
from seqlab.text import Tokenizer

if TYPE_CHECKING:
    from seqlab.nn.transformer import DecoderLayer, SelfAttentionLayer

EXPORTED_FIELDS = frozenset(
    {
        *("family", "d_model", "d_ff", "num_heads", "num_encoder_layers", "num_decoder_layers", "norm", "positions"),
        *("max_length", "activation", "tied_embeddings", "dropout", "attention_dropout", "activation_dropout"),
    }
)
"""Fields of `TransformerConfig` that the specification contains, or that only training uses."""
ACTIVATIONS = {"relu": Activation.RELU, "gelu": Activation.GELU, "swiglu": Activation.SWISH}


def make_specification(model: Transformer, src_tokenizer: Tokenizer, tgt_tokenizer: Tokenizer) -> TransformerSpec:
    """Build the specification of a model with fp32 weights; the tensors are shared, not copied.

    Raises:
        ValueError: the model has an option that CTranslate2 does not support.
    """
    config = model.config
    refuse_unsupported_fields(config)
    shared = {
        "num_heads": config.num_heads,
        "pre_norm": config.norm == "pre",
        "activation": ACTIVATIONS[config.activation],
        "ffn_glu": config.activation == "swiglu",
        # 0: rotate all channels of a head; None: rotate no channels.
        "rotary_dim": 0 if config.positions == "rotary" else None,
        "rotary_interleave": False,
    }
    specification = TransformerSpec(
        TransformerEncoderSpec(config.num_encoder_layers, **shared),
        TransformerDecoderSpec(config.num_decoder_layers, **shared),
    )
    _set_encoder(specification.encoder, model)
    _set_decoder(specification.decoder, model)
    src_tokens, tgt_tokens = distinct_tokens(src_tokenizer), distinct_tokens(tgt_tokenizer)
    specification.register_source_vocabulary(src_tokens)
    specification.register_target_vocabulary(tgt_tokens)
    _set_config(specification, model, tgt_tokenizer, tgt_tokens)
    return specification


def refuse_unsupported_fields(config: TransformerConfig) -> None:
    """Raise ValueError, naming the key, if a field that is not exported differs from its default."""
    for field in fields(config):
        value = getattr(config, field.name)
        if field.name not in EXPORTED_FIELDS and value != field.default:
            raise ValueError(f"`model.{field.name}: {value}` cannot be exported: CTranslate2 does not support it.")


def distinct_tokens(tokenizer: Tokenizer) -> list[str]:
    """Return a distinct name for each id, since CTranslate2 identifies ids by name.

    If a name occurs twice, such as the word `</s>` and the special token, `#` and the id are appended to the second.
    """
    names: dict[str, None] = {}
    for index, name in enumerate(tokenizer.tokens(range(tokenizer.vocab_size))):
        while name in names:
            name = f"{name}#{index}"
        names[name] = None
    return list(names)


def _set_config(
    specification: TransformerSpec, model: Transformer, tgt_tokenizer: Tokenizer, tgt_tokens: Sequence[str]
) -> None:
    settings = specification.config
    settings.unk_token = tgt_tokens[tgt_tokenizer.unk_id]
    settings.bos_token = settings.decoder_start_token = tgt_tokens[tgt_tokenizer.bos_id]
    settings.eos_token = tgt_tokens[tgt_tokenizer.eos_id]
    settings.add_source_eos = True
    (settings.layer_norm_epsilon,) = {part.eps for part in model.modules() if isinstance(part, nn.LayerNorm)}


def _set_encoder(encoder: TransformerEncoderSpec, model: Transformer) -> None:
    encoder.embeddings[0].weight = model.encoder.embedding.weight
    _set_positions(encoder, model.encoder.embedding, model.config)
    for spec, layer in zip(encoder.layer, cast("Iterable[SelfAttentionLayer]", model.encoder.layers), strict=True):
        _set_self_attention(spec.self_attention, layer)
        _set_feed_forward(spec.ffn, layer)
    if isinstance(model.encoder.norm, nn.LayerNorm):
        _set_norm(encoder.layer_norm, model.encoder.norm)


def _set_decoder(decoder: TransformerDecoderSpec, model: Transformer) -> None:
    decoder.embeddings.weight = model.decoder.embedding.weight
    _set_positions(decoder, model.decoder.embedding, model.config)
    for spec, layer in zip(decoder.layer, cast("Iterable[DecoderLayer]", model.decoder.layers), strict=True):
        _set_self_attention(spec.self_attention, layer)
        _set_norm(spec.attention.layer_norm, layer.cross_attention_residual.norm)
        cross = layer.cross_attention
        for linear, part in zip(
            spec.attention.linear, (cross.project_query, cross.project_memory, cross.project_out), strict=True
        ):
            _set_linear(linear, part)
        _set_feed_forward(spec.ffn, layer)
    if isinstance(model.decoder.norm, nn.LayerNorm):
        _set_norm(decoder.layer_norm, model.decoder.norm)
    decoder.projection.weight = model.projection.weight


def _set_positions(
    spec: TransformerEncoderSpec | TransformerDecoderSpec, embedding: Embedding, config: TransformerConfig
) -> None:
    """Store the table of position encodings; the sinusoids of CTranslate2 start at another position."""
    positions = embedding.positions
    if positions is None:
        if hasattr(spec, "position_encodings"):
            del spec.position_encodings
        return
    spec.position_encodings = PositionEncoderSpec()
    table = positions(torch.zeros(1, config.max_length, config.d_model))[0]  # encodings added to zeros
    # One more row, since CTranslate2 scores eos after a hypothesis of the maximum length; the result is not used.
    spec.position_encodings.encodings = torch.cat([table, torch.zeros_like(table[:1])])


def _set_self_attention(spec: MultiHeadAttentionSpec, layer: "SelfAttentionLayer | DecoderLayer") -> None:
    _set_norm(spec.layer_norm, layer.attention_residual.norm)
    _set_linear(spec.linear[0], layer.attention.project_in)
    _set_linear(spec.linear[1], layer.attention.project_out)


def _set_feed_forward(spec: FeedForwardSpec, layer: "SelfAttentionLayer | DecoderLayer") -> None:
    _set_norm(spec.layer_norm, layer.feed_forward_residual.norm)
    expand, contract = layer.feed_forward.expand, layer.feed_forward.contract
    _set_linear(spec.linear_1, contract)
    if hasattr(spec, "linear_0_noact"):
        gate_weight, value_weight = expand.weight.chunk(2)
        gate_bias, value_bias = expand.bias.chunk(2)
        _set_weights(spec.linear_0, gate_weight, gate_bias)
        _set_weights(spec.linear_0_noact, value_weight, value_bias)
    else:
        _set_linear(spec.linear_0, expand)


def _set_linear(spec: LinearSpec, linear: nn.Linear) -> None:
    _set_weights(spec, linear.weight, linear.bias)


def _set_weights(spec: LinearSpec, weight: Tensor, bias: Tensor) -> None:
    spec.weight, spec.bias = weight, bias


def _set_norm(spec: LayerNormSpec, norm: nn.Module) -> None:
    spec.gamma, spec.beta = norm.weight, norm.bias
