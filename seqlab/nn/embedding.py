"""Tokens to vectors, and their positions: added to the vectors, or rotated into queries and keys."""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqlab.nn.layers import Dropout, Linear, LockedDropout

PositionKind = Literal["sinusoidal", "learned", "rotary"]
"""The first two are added to the embeddings, the last turns queries and keys."""


def sinusoids(positions: Tensor, dim: int) -> Tensor:
    """Compute the sinusoids of tensor2tensor for positions (length,): (length, dim), all sines before all cosines.

    Column i of either half has the frequency 10000^(-i / (dim / 2 - 1)). Vaswani et al. (2017), section 3.5, print
    another variant: sines and cosines interleaved, with the exponent -i / (dim / 2).
    """
    if dim % 2:
        raise ValueError(f"Sinusoidal positions need an even `d_model`, but it is {dim} instead.")
    frequencies = torch.exp(torch.arange(dim // 2) * (-math.log(10000.0) / max(1, dim // 2 - 1)))
    angles = positions[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=1)


BLOCK = 256


def sinusoid_table(length: int, dim: int) -> Tensor:
    """Tabulate at least `length` positions, always in blocks of one size.

    A vectorised sine may round an element differently in a table of another size, and the size depends on the longest
    sequence met so far.
    """
    rows = torch.arange(-(-length // BLOCK) * BLOCK)
    return torch.cat([sinusoids(block, dim) for block in rows.split(BLOCK)])


class SinusoidalPositions(nn.Module):
    """Add fixed sinusoids; the table grows with the longest sequence met."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.register_buffer("table", sinusoid_table(BLOCK, d_model), persistent=False)
        self.table: Tensor

    def reserve(self, length: int) -> None:
        """Tabulate so many positions, where there are fewer."""
        if length > self.table.size(0):
            self.table = sinusoid_table(2 * length, self.table.size(1)).to(self.table)

    def forward(self, x: Tensor, start: int = 0, positions: Tensor | None = None) -> Tensor:
        """x (B, T, D) holds positions start ... start + T - 1, or `positions` (B, T), all below T."""
        end = start + x.size(1)
        self.reserve(end)
        return x + (self.table[start:end] if positions is None else self.table[positions])


class LearnedPositions(nn.Module):
    """Add one trained vector per position, for at most `max_length` positions."""

    def __init__(self, d_model: int, max_length: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(max_length, d_model).normal_(std=d_model**-0.5))

    def forward(self, x: Tensor, start: int = 0, positions: Tensor | None = None) -> Tensor:
        """x (B, T, D) holds positions start ... start + T - 1, or `positions` (B, T), all below T.

        Raises ValueError past `max_length`.
        """
        end = start + x.size(1)
        if end > self.weight.size(0):
            raise ValueError(
                f"The model has learned positions for {self.weight.size(0)} tokens, but a sequence has {end}: "
                "shorten it, or train with a larger `model.max_length`."
            )
        return x + (self.weight[start:end] if positions is None else self.weight[positions])


def check_heads(d_model: int, num_heads: int, positions: PositionKind) -> None:
    """Raise ValueError where hidden states cannot be split among so many heads, or told their positions so."""
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


def make_positions(kind: PositionKind, d_model: int, max_length: int) -> nn.Module | None:
    """Build what is added to the embeddings; None where positions are rotary, which attention sees to."""
    if kind == "sinusoidal":
        return SinusoidalPositions(d_model)
    return LearnedPositions(d_model, max_length) if kind == "learned" else None


class RotaryPositions(nn.Module):
    """Rotate channels i and i + head_dim / 2 of queries and keys by an angle for each position (Su et al. 2021)."""

    def __init__(self, head_dim: int, base: float = 10000.0) -> None:
        super().__init__()
        if head_dim % 2:
            raise ValueError(f"Rotary positions need an even head size, but `d_model / num_heads` is {head_dim}.")
        inverse = base ** (-torch.arange(0, head_dim, 2) / head_dim)
        self.register_buffer("frequencies", inverse, persistent=False)
        self.frequencies: Tensor
        self.register_buffer("table", self._table(BLOCK), persistent=False)
        self.table: Tensor

    def _table(self, length: int) -> Tensor:
        """Tabulate at least `length` positions in blocks: see `angles`."""
        rows = torch.arange(-(-length // BLOCK) * BLOCK, device=self.frequencies.device)
        angles = [block[:, None] * self.frequencies for block in rows.split(BLOCK)]
        cos, sin = (torch.cat([function(block) for block in angles]) for function in (torch.cos, torch.sin))
        return torch.stack([torch.cat([cos, cos], dim=1), torch.cat([-sin, sin], dim=1)])

    def angles(self, start: int, end: int) -> Tensor:
        """Give the cosines and sines of positions start ... end - 1: (2, end - start, head_dim).

        Both halves hold the same angles; the sines of the first are negative.
        """
        self.reserve(end)
        return self.table[:, start:end]

    def reserve(self, length: int) -> None:
        """Tabulate so many positions, where there are fewer."""
        if length > self.table.size(1):
            with torch.inference_mode(False):  # a table that decoding made has to serve training too
                self.table = self._table(2 * length)

    def forward(self, x: Tensor, at: int | Tensor | None = None) -> Tensor:
        """x (..., T, head_dim) holds positions 0 ... T - 1, or T vectors that are all at one: rotated, in fp32.

        The one may be a tensor (1,) int64, of a position that is reserved.
        """
        if isinstance(at, Tensor):
            cos, sin = self.table.index_select(1, at)
        else:
            cos, sin = self.angles(0, x.size(-2)) if at is None else self.angles(at, at + 1)
        x = x.to(torch.promote_types(x.dtype, torch.float32))
        return x * cos + x.roll(x.size(-1) // 2, -1) * sin


class Embedding(nn.Module):
    """A lookup scaled by the root of its width, positions, dropout; the result is fp32 whatever the weight's dtype."""

    def __init__(self, weight: nn.Parameter, positions: PositionKind, max_length: int, dropout: float) -> None:
        super().__init__()
        self.weight = weight
        self.scale = weight.size(1) ** 0.5
        self.positions = make_positions(positions, weight.size(1), max_length)
        self.dropout = Dropout(dropout)

    def look_up(self, ids: Tensor) -> Tensor:
        """Give the scaled vectors alone: ids (...) -> (..., D) in fp32."""
        return F.embedding(ids, self.weight).float() * self.scale

    def forward(self, ids: Tensor, start: int = 0, positions: Tensor | None = None) -> Tensor:
        """ids (B, T) at positions start ..., or at `positions` (B, T) -> (B, T, D)."""
        return self.add_positions(self.look_up(ids), start, positions)

    def embed_at(self, ids: Tensor, position: int | Tensor) -> Tensor:
        """ids (N,), all at one position, which may be a tensor (1,) int64 if it is reserved -> (N, D)."""
        if isinstance(position, Tensor):
            return self(ids[:, None], positions=position[:, None])[:, 0]
        return self(ids[:, None], position)[:, 0]

    def add_positions(self, x: Tensor, start: int = 0, positions: Tensor | None = None) -> Tensor:
        """Add positions to scaled vectors x (B, T, D), and drop some of their elements."""
        return self.dropout(x if self.positions is None else self.positions(x, start, positions))


def reserve_positions(module: nn.Module, length: int) -> list[Tensor] | None:
    """Make all parts of a module ready for positions below `length`, and return their tables.

    None where they have learned fewer.
    """
    tables = []
    for part in module.modules():
        if isinstance(part, LearnedPositions) and length > part.weight.size(0):
            return None
        if isinstance(part, SinusoidalPositions | RotaryPositions):
            part.reserve(length)
            tables.append(part.table)
    return tables


PADDING = 0


class CharacterCnn(nn.Module):
    """Bytes to a vector: filters over `width` neighbours, of which each gives its largest value in the word."""

    def __init__(self, num_symbols: int, num_filters: int, *, size: int = 32, width: int = 3, dropout: float) -> None:
        """`num_symbols`: bytes, marks and padding, which is symbol 0; `size`: of an embedding."""
        super().__init__()
        self.width = width
        self.weight = nn.Parameter(torch.empty(num_symbols, size).uniform_(-0.5, 0.5))
        self.dropout = LockedDropout(dropout)
        self.filters = Linear(width * size, num_filters)

    def forward(self, spelling: Tensor) -> Tensor:
        """spelling (W, C), padded on the right -> (W, F); padding and other words change nothing."""
        is_text = spelling != PADDING
        symbols = F.pad(spelling.int(), (0, max(0, self.width - spelling.size(1))))
        embedded = (
            F.embedding(symbols, self.weight).float()
            * F.pad(is_text, (0, symbols.size(1) - is_text.size(1)))[..., None]
        )
        windows = self.dropout(embedded).unfold(1, self.width, 1)  # (W, C', E, width)
        found = self.filters(windows.flatten(2)).float()  # (W, C', F)
        lengths = is_text.sum(1)
        last = (lengths - self.width).clamp(min=0)  # where the last window that is all text begins
        is_beyond = torch.arange(found.size(1), device=found.device) > last[:, None]
        return torch.tanh(found.masked_fill(is_beyond[..., None], float("-inf")).amax(1))
