"""A KV cache of a fixed size, whose steps a CUDA graph can repeat: nothing of a step depends on Python.

Shapes: B sentences, K hypotheses of each, N = B * K rows, H heads, E = head_dim, C entries for each sentence.
"""

import copy

import torch
from torch import Tensor

from seqlab.nn import kernels, masks
from seqlab.nn.kv_cache import DecoderCache, DecodingStep, KeyValueCache

MAX_CACHE_BYTES = 2 << 30
"""Larger caches are not made at once: a step attends to all of their entries, used or not."""
MULTIPLE = 16
"""Entries are a multiple of so many, as fused attention pads its bias otherwise."""


class StaticKeyValueCache(KeyValueCache):
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


class StaticDecoderCache(DecoderCache):
    """A `DecoderCache` with room for a number of steps, whose rows may change places within their sentence alone."""

    def __init__(self, cache: DecoderCache, capacity: int, device: torch.device, tables: list[Tensor]) -> None:
        """Copy a cache that has read something. `tables`: of positions, kept as a graph reads them where they are."""
        super().__init__(0, cache.num_sentences, may_share=cache.may_share)
        self.num_rows, self.length, self.tables = cache.num_rows, cache.length, tables
        used, beam = cache.layers[0].length, cache.num_rows // cache.num_sentences
        self.slots = torch.arange(used - beam, used, device=device)
        """(K,): the entries that the last step wrote."""
        self.position = torch.tensor([cache.length - 1], device=device)
        """(1,): that of the last step."""
        self.new = torch.eye(beam, dtype=torch.bool, device=device).repeat(cache.num_sentences, 1)
        self.can_attend: Tensor = torch.zeros(cache.num_rows, capacity, dtype=torch.bool, device=device)
        self.can_attend[:, :used] = True if cache.can_attend is None else cache.can_attend
        self.layers = [StaticKeyValueCache(cache, capacity, self.slots) for cache in cache.layers]

    def begin_step(self, device: torch.device) -> DecodingStep:
        """Move on by a step, in tensors alone."""
        self.position += 1
        self.slots += self.new.size(1)
        self.can_attend.index_copy_(1, self.slots, self.new)
        bias = masks.additive(self.can_attend.view(self.num_sentences, 1, self.new.size(1), -1))
        return DecodingStep(self.position, self.num_sentences, self.num_rows, bias)

    def select(self, rows: Tensor) -> None:
        """Reorder rows (N,) int64, each within its sentence."""
        self.can_attend.copy_(self.can_attend[rows])

    def fork(self) -> "StaticDecoderCache":
        """Copy, so that changes to one leave the other alone."""
        return copy.deepcopy(self)


def make_static_cache(
    cache: DecoderCache, steps: int, device: torch.device, tables: list[Tensor] | None
) -> StaticDecoderCache | None:
    """Copy a cache that has read something, with room for `steps` more ids of each row.

    None without `tables` of the positions, with the reference kernels, where the caches would be too large, and where
    rows that may change places do not share a cache.
    """
    first = cache.layers[0].entries
    if tables is None or first is None or not cache.may_share or kernels.is_reference("cuda_graph"):
        return None
    entries = cache.layers[0].length + cache.num_rows // cache.num_sentences * steps
    capacity = -(-entries // MULTIPLE) * MULTIPLE
    num_bytes = len(cache.layers) * first.element_size() * first[:, :, :, :1].numel() * capacity
    return StaticDecoderCache(cache, capacity, device, tables) if num_bytes <= MAX_CACHE_BYTES else None
