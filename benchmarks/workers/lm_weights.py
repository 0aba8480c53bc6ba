"""Conversion of language model weights from seqlab to the names of other implementations."""

from collections.abc import Mapping

import torch
from torch import Tensor

from benchmarks.lm_shapes import Family

Weights = Mapping[str, Tensor]

PLAIN_GPT = {
    "embedding": "tokens",
    "embedding.positions": "positions",
    "attention_residual.norm": "attention_norm",
    "attention.project_in": "attention.project_in",
    "attention.project_out": "attention.project_out",
    "feed_forward_residual.norm": "mlp_norm",
    "feed_forward.expand": "mlp.0",
    "feed_forward.contract": "mlp.2",
    "norm": "norm",
}
"""Names of seqlab's modules (in layers: after the layer number), mapped to their names in `PlainGpt`."""
GPT2 = {
    "embedding": "transformer.wte",
    "embedding.positions": "transformer.wpe",
    "attention_residual.norm": "ln_1",
    "attention.project_in": "attn.c_attn",
    "attention.project_out": "attn.c_proj",
    "feed_forward_residual.norm": "ln_2",
    "feed_forward.expand": "mlp.c_fc",
    "feed_forward.contract": "mlp.c_proj",
    "norm": "transformer.ln_f",
}
"""Names of seqlab's modules, mapped to their names in `transformers.GPT2LMHeadModel`."""


def _rename(weights: Weights, names: Mapping[str, str], layers: str) -> dict[str, Tensor]:
    """Rename every weight; raises KeyError if the other implementation has no counterpart."""
    found = {}
    for name, value in weights.items():
        module, _, kind = name.rpartition(".")
        if module.startswith("layers."):
            _, number, part = module.split(".", 2)
            found[f"{layers}.{number}.{names[part]}.{kind}"] = value
        else:
            found[f"{names[module]}.{kind}"] = value
    return found


def plain_gpt_weights(weights: Weights) -> dict[str, Tensor]:
    """Convert to the names of `PlainGpt`."""
    return _rename(weights, PLAIN_GPT, "layers")


def gpt2_weights(weights: Weights) -> dict[str, Tensor]:
    """Convert to the names of `transformers.GPT2LMHeadModel`, which stores matrices as (inputs, outputs)."""
    found = _rename(weights, GPT2, "transformer.h")
    return {
        name: value.t().contiguous() if name.startswith("transformer.h") and value.dim() == 2 else value
        for name, value in found.items()
    }


def rnn_weights(weights: Weights, family: Family) -> dict[str, Tensor]:
    """Convert to the names of `PlainRnn`; the second bias of each gate is 0 if seqlab has none."""
    found = {"embedding.weight": weights["weight"]}
    for layer, source in enumerate(_layers(weights)):
        bias = weights[f"{source}from_input.bias"]
        second = torch.zeros_like(bias)
        if family == "gru":
            second[2 * len(bias) // 3 :] = weights[f"{source}candidate_bias"]
        found |= {
            f"layers.weight_ih_l{layer}": weights[f"{source}from_input.weight"],
            f"layers.weight_hh_l{layer}": weights[f"{source}from_hidden.weight"],
            f"layers.bias_ih_l{layer}": bias,
            f"layers.bias_hh_l{layer}": second,
        }
    return found


def cell_weights(weights: Weights, family: Family) -> dict[str, Tensor]:
    """Convert to the names of `PlainCells`."""
    found = {}
    for name, value in rnn_weights(weights, family).items():
        kind, _, layer = name.removeprefix("layers.").rpartition("_l")
        found[f"cells.{layer}.{kind}" if name.startswith("layers.") else name] = value
    return found


def _layers(weights: Weights) -> list[str]:
    """Return the name prefix of each recurrent layer's weights."""
    ending = "from_input.weight"
    return sorted(name.removesuffix(ending) for name in weights if name.endswith(ending))
