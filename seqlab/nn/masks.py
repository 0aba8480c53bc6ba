"""Padding masks and attention masks; no other module creates or converts them.

`key_padding_mask` is True at padding, as in `torch.nn.MultiheadAttention`. `can_attend` is True where attention is
allowed, as in `torch.nn.functional.scaled_dot_product_attention`.
"""

import torch
from torch import Tensor


def padding_mask(lengths: Tensor, size: int) -> Tensor:
    """Make a padding mask from lengths (B,): (B, size) bool, True at positions at or after the row's length."""
    return torch.arange(size, device=lengths.device) >= lengths[:, None]


def can_attend_to_keys(key_padding_mask: Tensor) -> Tensor:
    """Convert a padding mask (B, S) to an attention mask (B, 1, 1, S), which broadcasts over heads and queries."""
    return ~key_padding_mask[:, None, None, :]


def causal(size: int, device: torch.device | None = None) -> Tensor:
    """Make a causal mask: each position may attend to itself and all earlier ones, (size, size) bool."""
    return torch.ones(size, size, dtype=torch.bool, device=device).tril()


def within_window(size: int, window: int, device: torch.device | None = None) -> Tensor:
    """Make a mask for local attention, to at most `window` positions before and after: (size, size) bool."""
    positions = torch.arange(size, device=device)
    return (positions[:, None] - positions).abs() <= window


def causal_within_documents(positions: Tensor, size: int) -> Tensor:
    """Make a causal mask for packed rows: each token may attend to itself and to earlier tokens of its document.

    positions (B, T): position of each token in its document, from 0. Returns (B, 1, size, size) bool, for
    rows that are padded to `size`.
    """
    document = (positions == 0).cumsum(1)
    document = torch.nn.functional.pad(document, (0, size - positions.size(1)), value=0)
    same = document[:, None, :, None] == document[:, None, None, :]
    return same & causal(size, positions.device)


def additive(can_attend: Tensor) -> Tensor:
    """Convert an attention mask to an fp32 bias of the scores: 0 where attention is allowed, -inf elsewhere."""
    return torch.zeros(can_attend.shape, device=can_attend.device).masked_fill_(~can_attend, float("-inf"))
