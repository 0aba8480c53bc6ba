"""The only place where masks are made or converted.

Two meanings exist and each keeps its name: `key_padding_mask` is True at padding (as in torch.nn.MultiheadAttention),
`can_attend` is True where attention is allowed (as in scaled_dot_product_attention).
"""

import torch
from torch import Tensor


def padding_mask(lengths: Tensor, size: int) -> Tensor:
    """Mark padding: lengths (B,) -> (B, size) bool, True at positions at or after the row's length."""
    return torch.arange(size, device=lengths.device) >= lengths[:, None]


def can_attend_to_keys(key_padding_mask: Tensor) -> Tensor:
    """Turn a padding mask (B, S) into the permission (B, 1, 1, S) that broadcasts over heads and queries."""
    return ~key_padding_mask[:, None, None, :]


def causal(size: int, device: torch.device | None = None) -> Tensor:
    """Permit each position to attend to itself and everything before it: (size, size) bool."""
    return torch.ones(size, size, dtype=torch.bool, device=device).tril()


def within_window(size: int, window: int, device: torch.device | None = None) -> Tensor:
    """Permit each position to attend to those at most `window` before or after it: (size, size) bool."""
    positions = torch.arange(size, device=device)
    return (positions[:, None] - positions).abs() <= window


def causal_within_documents(positions: Tensor, size: int) -> Tensor:
    """Permit each token of packed rows to attend to itself and to earlier tokens of its own document.

    positions (B, T): position of each token in its document, 0 for its first token. Returns (B, 1, size, size) bool for
    rows that are padded to `size`.
    """
    document = (positions == 0).cumsum(1)
    document = torch.nn.functional.pad(document, (0, size - positions.size(1)), value=0)
    same = document[:, None, :, None] == document[:, None, None, :]
    return same & causal(size, positions.device)


def additive(can_attend: Tensor) -> Tensor:
    """Turn a permission into the fp32 term that is added to attention scores: 0 where allowed, -inf elsewhere."""
    return torch.zeros(can_attend.shape, device=can_attend.device).masked_fill_(~can_attend, float("-inf"))
