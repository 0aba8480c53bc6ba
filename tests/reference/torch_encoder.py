"""Weights of seqlab's encoder layers copied into `torch.nn.TransformerEncoderLayer`."""

from collections.abc import Iterable
from typing import Any

import torch


@torch.no_grad()
def copy_encoder_layers(layers: Iterable[Any], torch_layers: Iterable[Any]) -> None:
    """Copy the weights of each layer into the `torch.nn.TransformerEncoderLayer` at the same position."""
    for layer, torch_layer in zip(layers, torch_layers, strict=True):
        torch_layer.self_attn.in_proj_weight.copy_(layer.attention.project_in.weight)
        torch_layer.self_attn.in_proj_bias.copy_(layer.attention.project_in.bias)
        torch_layer.self_attn.out_proj.load_state_dict(layer.attention.project_out.state_dict())
        torch_layer.linear1.load_state_dict(layer.feed_forward.expand.state_dict())
        torch_layer.linear2.load_state_dict(layer.feed_forward.contract.state_dict())
        torch_layer.norm1.load_state_dict(layer.attention_residual.norm.state_dict())
        torch_layer.norm2.load_state_dict(layer.feed_forward_residual.norm.state_dict())
