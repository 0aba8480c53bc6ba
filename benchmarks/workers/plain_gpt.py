"""The architecture of nanoGPT in plain PyTorch: what people write who write a GPT themselves.

Pre-norm blocks, queries, keys and values in one product, torch's fused causal attention, GELU, learned positions, and
an output that shares the weight of the input. Only the scale of the embeddings is not nanoGPT's: it is seqlab's.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.lm_shapes import LmShape


class Past:
    """Keys and values of what a layer has read, (B, H, T, E), in place."""

    def __init__(self, rows: int, shape: LmShape, like: Tensor) -> None:
        size = (rows, shape.num_heads, shape.block_length, shape.width // shape.num_heads)
        self.keys, self.values = like.new_empty(size), like.new_empty(size)
        self.length = 0

    def append(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Add entries (B, H, T, E); return all so far."""
        start, self.length = self.length, self.length + key.size(2)
        self.keys[:, :, start : self.length] = key
        self.values[:, :, start : self.length] = value
        return self.keys[:, :, : self.length], self.values[:, :, : self.length]


class Attention(nn.Module):
    """Multi-head attention to a position itself and those before it."""

    def __init__(self, shape: LmShape, dropout: float, weight_dropout: float) -> None:
        super().__init__()
        self.num_heads, self.weight_dropout = shape.num_heads, weight_dropout
        self.project_in = nn.Linear(shape.width, 3 * shape.width)
        self.project_out = nn.Linear(shape.width, shape.width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, past: Past | None) -> Tensor:
        """x (B, T, D) -> (B, T, D); behind what was read before, T is 1."""
        batch, length, width = x.shape
        query, key, value = (
            part.view(batch, length, self.num_heads, -1).transpose(1, 2)  # (B, H, T, E)
            for part in self.project_in(x).split(width, dim=2)
        )
        if past is not None:
            key, value = past.append(key, value)
        dropout = self.weight_dropout if self.training else 0.0
        heads = F.scaled_dot_product_attention(query, key, value, dropout_p=dropout, is_causal=length > 1)
        return self.dropout(self.project_out(heads.transpose(1, 2).reshape(batch, length, width)))


class Layer(nn.Module):
    """Attention and a feed-forward network, each in a residual branch that begins with a norm."""

    def __init__(self, shape: LmShape, dropout: float, weight_dropout: float) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(shape.width)
        self.attention = Attention(shape, dropout, weight_dropout)
        self.mlp_norm = nn.LayerNorm(shape.width)
        self.mlp = nn.Sequential(
            nn.Linear(shape.width, 4 * shape.width),
            nn.GELU(),
            nn.Linear(4 * shape.width, shape.width),
            nn.Dropout(dropout),
        )

    def forward(self, x: Tensor, past: Past | None) -> Tensor:
        """x (B, T, D) -> (B, T, D)"""
        x = x + self.attention(self.attention_norm(x), past)
        return x + self.mlp(self.mlp_norm(x))


class PlainGpt(nn.Module):
    """A decoder-only Transformer."""

    def __init__(self, shape: LmShape, vocab_size: int, dropout: float = 0.0, weight_dropout: float = 0.0) -> None:
        """`weight_dropout` is that of attention weights, which nanoGPT has and seqlab leaves out."""
        super().__init__()
        self.shape, self.scale = shape, shape.width**0.5
        self.tokens = nn.Embedding(vocab_size, shape.width)
        self.positions = nn.Embedding(shape.block_length, shape.width)
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList(Layer(shape, dropout, weight_dropout) for _ in range(shape.num_layers))
        self.norm = nn.LayerNorm(shape.width)

    def start(self, rows: int) -> list[Past]:
        """Make room for what all layers remember of so many rows."""
        return [Past(rows, self.shape, self.tokens.weight) for _ in self.layers]

    def forward(self, ids: Tensor, pasts: list[Past] | None = None, *, last_only: bool = False) -> Tensor:
        """ids (B, T), which follow what `pasts` remember -> logits (B, T, V), or (B, 1, V) of the last position."""
        start = pasts[0].length if pasts else 0
        places = torch.arange(start, start + ids.size(1), device=ids.device)
        x = self.dropout(self.tokens(ids) * self.scale + self.positions(places))
        for i, layer in enumerate(self.layers):
            x = layer(x, pasts[i] if pasts else None)
        return F.linear(self.norm(x[:, -1:] if last_only else x), self.tokens.weight)
