"""GPT in plain PyTorch with the architecture of nanoGPT.

It has pre-norm blocks, one product for queries, keys and values, torch's fused causal attention, GELU, learned
positions and tied embeddings. Only the scale of the embeddings differs from nanoGPT: it is that of seqlab.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.lm_shapes import LmShape


class LayerCache:
    """KV cache of one layer, (B, H, T, E), written in place; E is `head_dim`."""

    def __init__(self, rows: int, shape: LmShape, like: Tensor) -> None:
        size = (rows, shape.num_heads, shape.block_length, shape.width // shape.num_heads)
        self.keys, self.values = like.new_empty(size), like.new_empty(size)
        self.length = 0

    def append(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Append keys and values (B, H, T, E); return all so far."""
        start, self.length = self.length, self.length + key.size(2)
        self.keys[:, :, start : self.length] = key
        self.values[:, :, start : self.length] = value
        return self.keys[:, :, : self.length], self.values[:, :, : self.length]


class Attention(nn.Module):
    """Causal multi-head self-attention."""

    def __init__(self, shape: LmShape, dropout: float, attention_dropout: float) -> None:
        super().__init__()
        self.num_heads, self.attention_dropout = shape.num_heads, attention_dropout
        self.project_in = nn.Linear(shape.width, 3 * shape.width)
        self.project_out = nn.Linear(shape.width, shape.width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, cache: LayerCache | None) -> Tensor:
        """Map x (B, T, D) to (B, T, D); T is 1 if the cache is not empty."""
        batch, length, width = x.shape
        query, key, value = (
            part.view(batch, length, self.num_heads, -1).transpose(1, 2)  # (B, H, T, E)
            for part in self.project_in(x).split(width, dim=2)
        )
        if cache is not None:
            key, value = cache.append(key, value)
        dropout = self.attention_dropout if self.training else 0.0
        heads = F.scaled_dot_product_attention(query, key, value, dropout_p=dropout, is_causal=length > 1)
        return self.dropout(self.project_out(heads.transpose(1, 2).reshape(batch, length, width)))


class Layer(nn.Module):
    """Pre-norm Transformer layer: attention and a feed-forward network."""

    def __init__(self, shape: LmShape, dropout: float, attention_dropout: float) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(shape.width)
        self.attention = Attention(shape, dropout, attention_dropout)
        self.mlp_norm = nn.LayerNorm(shape.width)
        self.mlp = nn.Sequential(
            nn.Linear(shape.width, 4 * shape.width),
            nn.GELU(),
            nn.Linear(4 * shape.width, shape.width),
            nn.Dropout(dropout),
        )

    def forward(self, x: Tensor, cache: LayerCache | None) -> Tensor:
        """Map x (B, T, D) to (B, T, D)."""
        x = x + self.attention(self.attention_norm(x), cache)
        return x + self.mlp(self.mlp_norm(x))


class PlainGpt(nn.Module):
    """Decoder-only Transformer."""

    def __init__(self, shape: LmShape, vocab_size: int, dropout: float = 0.0, attention_dropout: float = 0.0) -> None:
        """Build the model; `attention_dropout` applies to attention weights, as in nanoGPT; seqlab does not have it."""
        super().__init__()
        self.shape, self.scale = shape, shape.width**0.5
        self.tokens = nn.Embedding(vocab_size, shape.width)
        self.positions = nn.Embedding(shape.block_length, shape.width)
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList(Layer(shape, dropout, attention_dropout) for _ in range(shape.num_layers))
        self.norm = nn.LayerNorm(shape.width)

    def start(self, rows: int) -> list[LayerCache]:
        """Allocate an empty KV cache for each layer."""
        return [LayerCache(rows, self.shape, self.tokens.weight) for _ in self.layers]

    def forward(self, ids: Tensor, caches: list[LayerCache] | None = None, *, last_only: bool = False) -> Tensor:
        """Map ids (B, T), which continue the cached ones, to logits (B, T, V), or (B, 1, V) with `last_only`."""
        start = caches[0].length if caches else 0
        positions = torch.arange(start, start + ids.size(1), device=ids.device)
        x = self.dropout(self.tokens(ids) * self.scale + self.positions(positions))
        for i, layer in enumerate(self.layers):
            x = layer(x, caches[i] if caches else None)
        return F.linear(self.norm(x[:, -1:] if last_only else x), self.tokens.weight)
