"""A KV cache of a fixed size, whose steps a CUDA graph can repeat: nothing of a step depends on Python.

Shapes: B sentences, K hypotheses of each, N = B * K rows, H heads, E = head_dim, C entries for each sentence.
"""

import copy

import torch
from torch import Tensor

from seqlab.nn import kernels, masks
from seqlab.nn.kv_cache import DecodingStep, KeyValueCache, Past

MOST_BYTES = 2 << 30
"""Larger caches are not made at once: a step attends to all of their entries, used or not."""
MULTIPLE = 16
"""Entries are a multiple of so many, as fused attention pads its bias otherwise."""


class StaticCache(KeyValueCache):
    """Keys and values (2, B, H, C, E) in tensors that stay where they are; what is not in use yet is zero."""

    def __init__(self, cache: KeyValueCache, capacity: int, slots: Tensor) -> None:
        """Copy a cache; `slots` (K,) int64 says which entries a step writes: the owner moves it."""
        super().__init__()
        assert cache.entries is not None, "a cache is fixed after its first step"
        parts, batch, heads, _, head_dim = cache.entries.shape
        self.entries: Tensor = cache.entries.new_zeros(parts, batch, heads, capacity, head_dim)
        self.entries[:, :, :, : cache.length] = cache.entries[:, :, :, : cache.length]
        self.length = capacity
        self.slots = slots

    def append(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Write keys and values, (B, H, K, E) each, and return all C entries, (B, H, C, E) each."""
        for entries, new in zip(self.entries, (key, value), strict=True):
            entries.index_copy_(2, self.slots, new.to(entries.dtype))
        return self.entries[0], self.entries[1]


class StaticPast(Past):
    """A `Past` with room for a number of steps, whose rows may change places within their sentence alone."""

    def __init__(self, past: Past, capacity: int, device: torch.device, tables: list[Tensor]) -> None:
        """Copy a past that has read something. `tables`: of positions, kept as a graph reads them where they are."""
        super().__init__(0, past.sentences, may_share=past.may_share)
        self.rows, self.length, self.tables = past.rows, past.length, tables
        used, beam = past.caches[0].length, past.rows // past.sentences
        self.slots = torch.arange(used - beam, used, device=device)
        """(K,): the entries that the last step wrote."""
        self.position = torch.tensor([past.length - 1], device=device)
        """(1,): that of the last step."""
        self.new = torch.eye(beam, dtype=torch.bool, device=device).repeat(past.sentences, 1)
        self.own: Tensor = torch.zeros(past.rows, capacity, dtype=torch.bool, device=device)
        self.own[:, :used] = True if past.own is None else past.own
        self.caches = [StaticCache(cache, capacity, self.slots) for cache in past.caches]

    def begin_step(self, device: torch.device) -> DecodingStep:
        """Move on by a step, in tensors alone."""
        self.position += 1
        self.slots += self.new.size(1)
        self.own.index_copy_(1, self.slots, self.new)
        bias = masks.additive(self.own.view(self.sentences, 1, self.new.size(1), -1))
        return DecodingStep(self.position, self.sentences, self.rows, bias)

    def select(self, rows: Tensor) -> None:
        """Reorder rows (N,) int64, each within its sentence."""
        self.own.copy_(self.own[rows])

    def fork(self) -> "StaticPast":
        """Copy, so that changes to one leave the other alone."""
        return copy.deepcopy(self)


def static_past(past: Past, steps: int, device: torch.device, tables: list[Tensor] | None) -> StaticPast | None:
    """Copy a past that has read something, with room for `steps` more ids of each row.

    None without `tables` of the positions, with the reference kernels, where the caches would be too large, and where
    rows that may change places do not share a cache.
    """
    first = past.caches[0].entries
    if tables is None or first is None or not past.may_share or kernels.is_reference("cuda_graph"):
        return None
    entries = past.caches[0].length + past.rows // past.sentences * steps
    capacity = -(-entries // MULTIPLE) * MULTIPLE
    num_bytes = len(past.caches) * first.element_size() * first[:, :, :, :1].numel() * capacity
    return StaticPast(past, capacity, device, tables) if num_bytes <= MOST_BYTES else None
