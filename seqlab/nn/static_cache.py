"""A KV cache of a fixed size, whose steps a CUDA graph can repeat: nothing of a step depends on Python.

Shapes: B sentences, K hypotheses of each, N = B * K rows, H heads, E = head_dim, C entries for each sentence.
"""

import copy

import torch
from torch import Tensor

from seqlab.nn import kernels, masks
from seqlab.nn.kv_cache import DecodingStep, KeyValueCache, Past


class StaticCache(KeyValueCache):
    """Keys and values (2, B, H, C, E) in tensors that stay where they are; what is not in use yet is zero."""

    def __init__(self, cache: KeyValueCache, capacity: int, places: Tensor) -> None:
        """Copy a cache; `places` (K,) int64 says where the entries of each step go: the owner moves it."""
        super().__init__()
        assert cache.entries is not None, "a cache is fixed after its first step"
        parts, batch, heads, _, head_dim = cache.entries.shape
        self.entries: Tensor = cache.entries.new_zeros(parts, batch, heads, capacity, head_dim)
        self.entries[:, :, :, : cache.length] = cache.entries[:, :, :, : cache.length]
        self.length = capacity
        self.places = places

    def append(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Write keys and values, (B, H, K, E) each, to their places and return all C entries, (B, H, C, E) each."""
        for entries, new in zip(self.entries, (key, value), strict=True):
            entries.index_copy_(2, self.places, new.to(entries.dtype))
        return self.entries[0], self.entries[1]


class StaticPast(Past):
    """A `Past` with room for a number of steps, whose rows may change places within their sentence alone."""

    def __init__(self, past: Past, steps: int, device: torch.device) -> None:
        """Copy a past that has read something, with room for `steps` more ids of each row."""
        super().__init__(0, past.sentences, may_share=past.may_share)
        self.rows, self.length = past.rows, past.length
        used, beam = past.caches[0].length, past.rows // past.sentences
        self.places = torch.arange(used - beam, used, device=device)
        """(K,): where the entries of the last step went."""
        self.position = torch.tensor([past.length - 1], device=device)
        """(1,): that of the last step."""
        self.new = torch.eye(beam, dtype=torch.bool, device=device).repeat(past.sentences, 1)
        self.own: Tensor = torch.zeros(past.rows, used + beam * steps, dtype=torch.bool, device=device)
        self.own[:, :used] = True if past.own is None else past.own
        self.caches = [StaticCache(cache, self.own.size(1), self.places) for cache in past.caches]

    def begin_step(self, device: torch.device) -> DecodingStep:
        """Move on by a step, in tensors alone."""
        self.position += 1
        self.places += self.new.size(1)
        self.own.index_copy_(1, self.places, self.new)
        bias = masks.additive(self.own.view(self.sentences, 1, self.new.size(1), -1))
        return DecodingStep(self.position, self.sentences, self.rows, bias)

    def select(self, rows: Tensor) -> None:
        """Reorder rows (N,) int64, each within its sentence."""
        self.own.copy_(self.own[rows])

    def fork(self) -> "StaticPast":
        """Copy, so that changes to one leave the other alone."""
        return copy.deepcopy(self)


def static_past(past: Past, steps: int, device: torch.device) -> StaticPast | None:
    """Make a past static where a graph can repeat its steps; None with the reference kernels, and where rows that may
    change places do not share a cache."""
    if kernels.is_reference("cuda_graph") or not past.may_share:
        return None
    return StaticPast(past, steps, device)
