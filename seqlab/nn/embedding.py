"""Token embeddings, position encodings (sinusoidal, learned, rotary) and a CNN over the bytes of words."""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqlab.nn.layers import Dropout, Linear, LockedDropout

PositionKind = Literal["sinusoidal", "learned", "rotary"]
"""`sinusoidal` and `learned` vectors are added to embeddings; `rotary` rotates queries and keys."""


def sinusoids(positions: Tensor, dim: int) -> Tensor:
    """Compute sinusoidal position encodings as in tensor2tensor: positions (length,) -> (length, dim).

    All sines come before all cosines. Column i of either half has the frequency 10000^(-i / (dim / 2 - 1)). Vaswani et
    al. (2017), section 3.5, describe another variant: interleaved, with the exponent -i / (dim / 2).
    """
    if dim % 2:
        raise ValueError(f"Sinusoidal positions need an even `d_model`, but it is {dim} instead.")
    frequencies = torch.exp(torch.arange(dim // 2) * (-math.log(10000.0) / max(1, dim // 2 - 1)))
    angles = positions[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=1)


TABLE_BLOCK = 256
"""Positions whose encodings are computed at once."""


def sinusoid_table(length: int, dim: int) -> Tensor:
    """Compute the encodings of at least `length` positions, in blocks of a fixed size.

    The rounding of a vectorized sine depends on the tensor's size. Blocks of one size make the values independent of
    the length of the table, which grows with the longest sequence so far.
    """
    rows = torch.arange(-(-length // TABLE_BLOCK) * TABLE_BLOCK)
    return torch.cat([sinusoids(block, dim) for block in rows.split(TABLE_BLOCK)])


class SinusoidalPositions(nn.Module):
    """Add sinusoidal position encodings, from a table that grows with the longest sequence."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.register_buffer("table", sinusoid_table(TABLE_BLOCK, d_model), persistent=False)
        self.table: Tensor

    def reserve(self, length: int) -> None:
        """Extend the table to at least `length` positions."""
        if length > self.table.size(0):
            self.table = sinusoid_table(2 * length, self.table.size(1)).to(self.table)

    def forward(self, x: Tensor, start: int = 0, positions: Tensor | None = None) -> Tensor:
        """Add encodings to x (B, T, D): of positions start ... start + T - 1, or of `positions` (B, T), all below T."""
        end = start + x.size(1)
        self.reserve(end)
        return x + (self.table[start:end] if positions is None else self.table[positions])


class LearnedPositions(nn.Module):
    """Add a learned vector for each of `max_length` positions."""

    def __init__(self, d_model: int, max_length: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(max_length, d_model).normal_(std=d_model**-0.5))

    def forward(self, x: Tensor, start: int = 0, positions: Tensor | None = None) -> Tensor:
        """Add vectors to x (B, T, D): of positions start ... start + T - 1, or of `positions` (B, T), all below T.

        Raises:
            ValueError: a position is not below `max_length`.
        """
        end = start + x.size(1)
        if end > self.weight.size(0):
            raise ValueError(
                f"The model has learned positions for {self.weight.size(0)} tokens, but a sequence has {end}: "
                "shorten it, or train with a larger `model.max_length`."
            )
        return x + (self.weight[start:end] if positions is None else self.weight[positions])


def check_heads(d_model: int, num_heads: int, positions: PositionKind | Literal["none"]) -> None:
    """Raise ValueError if `d_model` does not fit `num_heads` or the kind of positions."""
    if num_heads < 1:
        raise ValueError(f"`num_heads` must be at least 1, but is {num_heads} instead.")
    if d_model % num_heads:
        raise ValueError(f"`d_model` {d_model} must be divisible by `num_heads` {num_heads}.")
    if positions == "sinusoidal" and d_model % 2:
        raise ValueError(f"`positions: sinusoidal` needs an even `d_model`, but it is {d_model} instead.")
    if positions == "rotary" and (d_model // num_heads) % 2:
        raise ValueError(
            f"`positions: rotary` needs an even head size, but `d_model / num_heads` is {d_model // num_heads} instead."
        )


def make_positions(kind: PositionKind | Literal["none"], d_model: int, max_length: int) -> nn.Module | None:
    """Build the position encoding that is added to embeddings; None for `none` and `rotary`, a part of attention."""
    if kind == "sinusoidal":
        return SinusoidalPositions(d_model)
    return LearnedPositions(d_model, max_length) if kind == "learned" else None


class RotaryPositions(nn.Module):
    """Rotary position embedding of queries and keys (Su et al. 2021, arXiv:2104.09864).

    Channels i and i + head_dim / 2 are rotated by an angle proportional to the position.
    """

    def __init__(self, head_dim: int, base: float = 10000.0) -> None:
        super().__init__()
        if head_dim % 2:
            raise ValueError(f"Rotary positions need an even head size, but `d_model / num_heads` is {head_dim}.")
        inverse = base ** (-torch.arange(0, head_dim, 2) / head_dim)
        self.register_buffer("frequencies", inverse, persistent=False)
        self.frequencies: Tensor
        self.register_buffer("table", self._table(TABLE_BLOCK), persistent=False)
        self.table: Tensor

    def _table(self, length: int) -> Tensor:
        """Compute cosines and sines of at least `length` positions, in blocks; see `angles`."""
        rows = torch.arange(-(-length // TABLE_BLOCK) * TABLE_BLOCK, device=self.frequencies.device)
        angles = [block[:, None] * self.frequencies for block in rows.split(TABLE_BLOCK)]
        cos, sin = (torch.cat([function(block) for block in angles]) for function in (torch.cos, torch.sin))
        return torch.stack([torch.cat([cos, cos], dim=1), torch.cat([-sin, sin], dim=1)])

    def angles(self, start: int, end: int) -> Tensor:
        """Return the cosines and sines of positions start ... end - 1: (2, end - start, head_dim).

        Both halves of the channels have the same angles; the sines of the first half are negated.
        """
        self.reserve(end)
        return self.table[:, start:end]

    def reserve(self, length: int) -> None:
        """Extend the table to at least `length` positions."""
        if length > self.table.size(1):
            with torch.inference_mode(False):  # training may use this table later
                self.table = self._table(2 * length)

    def forward(self, x: Tensor, position: int | Tensor | None = None) -> Tensor:
        """Rotate x (..., T, head_dim) by the positions 0 ... T - 1, or all by one position; returns fp32.

        `position` may be a tensor (1,) int64 if the table has been extended to it before (see `reserve`).
        """
        if isinstance(position, Tensor):
            cos, sin = self.table.index_select(1, position)
        else:
            cos, sin = self.angles(0, x.size(-2)) if position is None else self.angles(position, position + 1)
        x = x.to(torch.promote_types(x.dtype, torch.float32))
        return x * cos + x.roll(x.size(-1) // 2, -1) * sin


class Embedding(nn.Module):
    """Token embedding scaled by sqrt(D), with positions and dropout; the output is fp32 for weights of any dtype."""

    def __init__(self, weight: nn.Parameter, positions: PositionKind, max_length: int, dropout: float) -> None:
        super().__init__()
        self.weight = weight
        self.scale = weight.size(1) ** 0.5
        self.positions = make_positions(positions, weight.size(1), max_length)
        self.dropout = Dropout(dropout)

    def look_up(self, ids: Tensor) -> Tensor:
        """Return the scaled embeddings without positions and dropout: ids (...) -> (..., D) in fp32."""
        return F.embedding(ids, self.weight).float() * self.scale

    def forward(self, ids: Tensor, start: int = 0, positions: Tensor | None = None) -> Tensor:
        """Embed ids (B, T) at positions start ... start + T - 1 or at `positions` (B, T): (B, T, D)."""
        return self.add_positions(self.look_up(ids), start, positions)

    def embed_at(self, ids: Tensor, position: int | Tensor) -> Tensor:
        """Embed ids (N,), all at one position: (N, D).

        `position` may be a tensor (1,) int64 if the tables have been extended to it before (see `reserve_positions`).
        """
        if isinstance(position, Tensor):
            return self(ids[:, None], positions=position[:, None])[:, 0]
        return self(ids[:, None], position)[:, 0]

    def add_positions(self, x: Tensor, start: int = 0, positions: Tensor | None = None) -> Tensor:
        """Add positions to scaled embeddings x (B, T, D), then apply dropout."""
        return self.dropout(x if self.positions is None else self.positions(x, start, positions))


def reserve_positions(module: nn.Module, length: int) -> list[Tensor] | None:
    """Extend all position tables of a module to `length` positions and return the tables.

    Returns None if the module has learned vectors for fewer positions.
    """
    tables = []
    for part in module.modules():
        if isinstance(part, LearnedPositions) and length > part.weight.size(0):
            return None
        if isinstance(part, SinusoidalPositions | RotaryPositions):
            part.reserve(length)
            tables.append(part.table)
    return tables


SPELLING_PAD = 0
"""Padding symbol of spellings."""


class CharacterCnn(nn.Module):
    """Word vectors from spellings: a convolution over bytes and max-pooling (Kim et al. 2016, arXiv:1508.06615).

    Shapes: W words, C bytes including begin and end symbols, E embedding size of a byte, F filters.
    """

    def __init__(self, num_symbols: int, num_filters: int, *, size: int = 32, width: int = 3, dropout: float) -> None:
        """Build the layer.

        `num_symbols`: number of symbols: bytes, begin, end, and padding (symbol 0). `size`: embedding size of a symbol.
        `width`: symbols that a filter covers.
        """
        super().__init__()
        self.width = width
        self.weight = nn.Parameter(torch.empty(num_symbols, size).uniform_(-0.5, 0.5))
        self.dropout = LockedDropout(dropout)
        self.filters = Linear(width * size, num_filters)

    def forward(self, spelling: Tensor) -> Tensor:
        """spelling (W, C), padded on the right -> (W, F), independent of padding and of other words."""
        is_text = spelling != SPELLING_PAD
        symbols = F.pad(spelling.int(), (0, max(0, self.width - spelling.size(1))))
        embedded = (
            F.embedding(symbols, self.weight).float()
            * F.pad(is_text, (0, symbols.size(1) - is_text.size(1)))[..., None]
        )
        windows = self.dropout(embedded).unfold(1, self.width, 1)  # (W, C', E, width)
        responses = self.filters(windows.flatten(2)).float()  # (W, C', F)
        lengths = is_text.sum(1)
        last = (lengths - self.width).clamp(min=0)  # start of the last window without padding
        is_beyond = torch.arange(responses.size(1), device=responses.device) > last[:, None]
        return torch.tanh(responses.masked_fill(is_beyond[..., None], float("-inf")).amax(1))
