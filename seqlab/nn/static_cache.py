"""KV cache of a fixed size for CUDA graphs: a step uses only tensors at fixed addresses.

Shapes: B sentences, K hypotheses of each, N = B * K rows, H heads, E = head_dim, C entries for each sentence.
"""

import copy

import torch
from torch import Tensor

from seqlab.nn import kernels, masks
from seqlab.nn.kv_cache import DecoderCache, DecodingStep, KeyValueCache

MAX_CACHE_BYTES = 2 << 30
"""Maximum size in bytes: each step attends to all entries, used or not, so a large cache would be slow."""
CAPACITY_MULTIPLE = 16
"""The capacity is a multiple of this, because fused attention pads the bias otherwise."""


class StaticKeyValueCache(KeyValueCache):
    """KV cache of one layer (2, B, H, C, E) at a fixed address; unused entries are zero."""

    def __init__(self, cache: KeyValueCache, capacity: int, slots: Tensor) -> None:
        """Copy a cache. `slots` (K,) int64: the entries that a step writes; `StaticDecoderCache` advances them."""
        super().__init__()
        assert cache.entries is not None, "the cache needs at least one token"
        parts, batch, heads, _, head_dim = cache.entries.shape
        self.entries: Tensor = cache.entries.new_zeros(parts, batch, heads, capacity, head_dim)
        self.entries[:, :, :, : cache.length] = cache.entries[:, :, :, : cache.length]
        self.length = capacity
        self.slots = slots

    def append(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Write keys and values, (B, H, K, E) each, to `slots`; return all C entries, (B, H, C, E) each."""
        for entries, new in zip(self.entries, (key, value), strict=True):
            entries.index_copy_(2, self.slots, new.to(entries.dtype))
        return self.entries[0], self.entries[1]


class StaticDecoderCache(DecoderCache):
    """`DecoderCache` of a fixed capacity; rows can be reordered only within their sentence."""

    def __init__(self, cache: DecoderCache, capacity: int, device: torch.device, tables: list[Tensor]) -> None:
        """Copy a cache that is not empty. `tables`: position tables, kept alive for graphs that use their addresses."""
        super().__init__(0, cache.num_sentences, may_share=cache.may_share)
        self.num_rows, self.length, self.tables = cache.num_rows, cache.length, tables
        used, beam = cache.layers[0].length, cache.num_rows // cache.num_sentences
        self.slots = torch.arange(used - beam, used, device=device)
        """(K,): the entries that the last step has written."""
        self.position = torch.tensor([cache.length - 1], device=device)
        """(1,): the position of the last step."""
        self.own_slot = torch.eye(beam, dtype=torch.bool, device=device).repeat(cache.num_sentences, 1)
        """(N, K): True for the slot that each row writes in a step."""
        self.can_attend: Tensor = torch.zeros(cache.num_rows, capacity, dtype=torch.bool, device=device)
        self.can_attend[:, :used] = True if cache.can_attend is None else cache.can_attend
        self.layers = [StaticKeyValueCache(cache, capacity, self.slots) for cache in cache.layers]

    def begin_step(self, device: torch.device) -> DecodingStep:
        """Advance by one position, with tensor operations only."""
        self.position += 1
        self.slots += self.own_slot.size(1)
        self.can_attend.index_copy_(1, self.slots, self.own_slot)
        bias = masks.additive(self.can_attend.view(self.num_sentences, 1, self.own_slot.size(1), -1))
        return DecodingStep(self.position, self.num_sentences, self.num_rows, bias)

    def select(self, rows: Tensor) -> None:
        """Reorder rows (N,) int64, each within its sentence."""
        self.can_attend.copy_(self.can_attend[rows])

    def fork(self) -> "StaticDecoderCache":
        """Return an independent copy."""
        return copy.deepcopy(self)


def make_static_cache(
    cache: DecoderCache, steps: int, device: torch.device, tables: list[Tensor] | None
) -> StaticDecoderCache | None:
    """Copy a cache to a fixed capacity with room for `steps` more tokens per row.

    Returns None if the cache is empty, `tables` of positions are missing, reference kernels are selected, the copy
    would exceed `MAX_CACHE_BYTES`, or the hypotheses of a sentence do not share a cache.
    """
    first = cache.layers[0].entries
    if tables is None or first is None or not cache.may_share or kernels.is_reference("cuda_graph"):
        return None
    entries = cache.layers[0].length + cache.num_rows // cache.num_sentences * steps
    capacity = -(-entries // CAPACITY_MULTIPLE) * CAPACITY_MULTIPLE
    num_bytes = len(cache.layers) * first.element_size() * first[:, :, :, :1].numel() * capacity
    return StaticDecoderCache(cache, capacity, device, tables) if num_bytes <= MAX_CACHE_BYTES else None
