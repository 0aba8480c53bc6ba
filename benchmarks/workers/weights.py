"""Conversion of translator weights from seqlab to the names of other implementations."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from benchmarks.scale import ModelSizes

Weights = dict[str, Tensor]


def _rename(weights: Mapping[str, Tensor], names: Mapping[str, str], source: str, target: str) -> Weights:
    """Rename weight and bias of each module from `source + key` to `target + value`."""
    return {
        f"{target}{new}.{part}": weights[f"{source}{old}.{part}"]
        for old, new in names.items()
        for part in ("weight", "bias")
    }


def _split(weights: Mapping[str, Tensor], source: str, targets: list[str]) -> Weights:
    """Split a combined projection into one per output."""
    parts = {part: weights[f"{source}.{part}"].chunk(len(targets)) for part in ("weight", "bias")}
    return {f"{target}.{part}": chunks[i] for part, chunks in parts.items() for i, target in enumerate(targets)}


def embedding(weights: Mapping[str, Tensor]) -> Tensor:
    """Return the shared weight of both embeddings and the projection (V, D)."""
    tied = {name: value for name, value in weights.items() if name.endswith(("embedding.weight", "projection.weight"))}
    first = next(iter(tied.values()))
    assert all(torch.equal(first, value) for value in tied.values()), "embeddings and projection must be tied"
    return first


def marian_weights(weights: Mapping[str, Tensor], sizes: ModelSizes) -> Weights:
    """Convert to the names of `transformers.MarianMTModel`, which supports only `norm: post`."""
    if sizes.norm != "post":
        raise ValueError(f"Marian's layer norms come after the residual sums, but `norm` is {sizes.norm!r}.")
    mapped = {"model.shared.weight": embedding(weights)}
    for side, layers in (("encoder", sizes.num_encoder_layers), ("decoder", sizes.num_decoder_layers)):
        for i in range(layers):
            source, target = f"{side}.layers.{i}.", f"model.{side}.layers.{i}."
            names = {
                "attention.project_out": "self_attn.out_proj",
                "attention_residual.norm": "self_attn_layer_norm",
                "feed_forward.expand": "fc1",
                "feed_forward.contract": "fc2",
                "feed_forward_residual.norm": "final_layer_norm",
            }
            if side == "decoder":
                names |= {
                    "cross_attention.project_query": "encoder_attn.q_proj",
                    "cross_attention.project_out": "encoder_attn.out_proj",
                    "cross_attention_residual.norm": "encoder_attn_layer_norm",
                }
                pair = [f"{target}encoder_attn.{name}_proj" for name in "kv"]
                mapped |= _split(weights, f"{source}cross_attention.project_memory", pair)
            mapped |= _rename(weights, names, source, target)
            projections = [f"{target}self_attn.{name}_proj" for name in "qkv"]
            mapped |= _split(weights, f"{source}attention.project_in", projections)
    return mapped


def torch_weights(weights: Mapping[str, Tensor], sizes: ModelSizes) -> Weights:
    """Convert to the names of a module with attributes `transformer` (torch.nn.Transformer) and `embedding`."""
    mapped = {"embedding.weight": embedding(weights)}
    for side, layers in (("encoder", sizes.num_encoder_layers), ("decoder", sizes.num_decoder_layers)):
        for i in range(layers):
            source, target = f"{side}.layers.{i}.", f"transformer.{side}.layers.{i}."
            last_norm = "norm3" if side == "decoder" else "norm2"
            names = {
                "attention.project_out": "self_attn.out_proj",
                "attention_residual.norm": "norm1",
                "feed_forward.expand": "linear1",
                "feed_forward.contract": "linear2",
                "feed_forward_residual.norm": last_norm,
            }
            for part in ("weight", "bias"):
                mapped[f"{target}self_attn.in_proj_{part}"] = weights[f"{source}attention.project_in.{part}"]
            if side == "decoder":
                names |= {
                    "cross_attention.project_out": "multihead_attn.out_proj",
                    "cross_attention_residual.norm": "norm2",
                }
                for part in ("weight", "bias"):
                    pair = [weights[f"{source}cross_attention.project_{name}.{part}"] for name in ("query", "memory")]
                    mapped[f"{target}multihead_attn.in_proj_{part}"] = torch.cat(pair)
            mapped |= _rename(weights, names, source, target)
        if sizes.norm == "pre":
            mapped |= _rename(weights, {"norm": "norm"}, f"{side}.", f"transformer.{side}.")
    return mapped


def plain_translator_weights(weights: Mapping[str, Tensor], stepwise: bool) -> Weights:
    """Convert to the names of a `PlainTranslator`."""
    return {
        "embedding.weight": embedding(weights),
        **_lstm(weights, "encoder.layers.layers.0.0", "forwards"),
        **_lstm(weights, "encoder.layers.layers.0.1", "backwards"),
        **_lstm(weights, "decoder.layers.layers.0.0", "decoder", "" if stepwise else "_l0"),
        "keys.weight": weights["decoder.attention.project_memory.weight"],
        **_rename(weights, {"combine": "combine"}, "decoder.", ""),
    }


def joeynmt_weights(weights: Mapping[str, Tensor], ids: Sequence[int]) -> Weights:
    """Convert to the names of JoeyNMT's recurrent model; `ids` are seqlab's ids in the order of its vocabulary."""
    words = embedding(weights)[list(ids)]
    return {
        **{f"{name}.weight": words for name in ("src_embed.lut", "trg_embed.lut", "decoder.output_layer")},
        **_lstm(weights, "encoder.layers.layers.0.0", "encoder.rnn"),
        **_lstm(weights, "encoder.layers.layers.0.1", "encoder.rnn", "_l0_reverse"),
        **_lstm(weights, "decoder.layers.layers.0.0", "decoder.rnn"),
        "decoder.attention.key_layer.weight": weights["decoder.attention.project_memory.weight"],
        **_rename(weights, {"combine": "att_vector_layer"}, "decoder.", "decoder."),
    }


def _lstm(weights: Mapping[str, Tensor], source: str, target: str, suffix: str = "_l0") -> Weights:
    """Rename an LSTM layer as in `torch.nn`; the second bias of each gate, which seqlab does not have, is 0."""
    bias = weights[f"{source}.from_input.bias"]
    named = {
        "weight_ih": weights[f"{source}.from_input.weight"],
        "weight_hh": weights[f"{source}.from_hidden.weight"],
        "bias_ih": bias,
        "bias_hh": torch.zeros_like(bias),
    }
    return {f"{target}.{name}{suffix}": value for name, value in named.items()}


def sinusoidal_positions(length: int, dim: int) -> Tensor:
    """Return seqlab's position vectors (length, dim): sines, then cosines, as in tensor2tensor."""
    frequencies = torch.exp(torch.arange(dim // 2) * (-torch.log(torch.tensor(10000.0)) / max(1, dim // 2 - 1)))
    angles = torch.arange(length)[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=1)
