"""Attention from a recurrent decoder to the encoder's memory: additive, dot-product and general.

    additive: v . tanh(W_q q + W_m m)    (Bahdanau et al. 2015, arXiv:1409.0473)
    dot: q . m    general: q . (W m)     (Luong et al. 2015, D15-1166)

Scores and weighted means are in fp32. On the CPU, with gradients disabled, a query's result does not depend on padding
or other sentences, bit for bit, if the number of positions is a multiple of 16.

Shapes: B sentences, T queries (target positions), K hypotheses while decoding, S positions of the memory, D size.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqlab.nn import kernels, masks
from seqlab.nn.embedding import RotaryPositions
from seqlab.nn.layers import Linear

AttentionKind = Literal["additive", "dot", "general"]


class Memory(NamedTuple):
    """Keys, values and mask of the encoder's memory, computed once for all decoder steps."""

    keys: Tensor
    """(B, S, D)"""
    values: Tensor
    """(B, S, D)"""
    bias: Tensor
    """(B, 1, S), added to the scores: -inf at padding."""

    def select(self, sentences: Tensor) -> "Memory":
        """Keep, reorder and repeat sentences (B',) int64."""
        return Memory(*(part.index_select(0, sentences) for part in self))


class MemoryAttention(nn.Module):
    """Single-head attention to a memory of the same size as the queries."""

    def __init__(self, kind: AttentionKind, size: int, rotary: bool = False) -> None:
        """Build the projections; `rotary`: whether to rotate queries and keys by position (see `RotaryPositions`)."""
        super().__init__()
        assert not (rotary and kind == "additive"), "rotary positions need dot products"
        self.kind, self.size = kind, size
        self.rotary = RotaryPositions(size) if rotary else None
        has_bias = kind == "additive" or rotary  # with `rotary`, a bias adds scores that depend only on positions
        self.project_memory = nn.Identity() if kind == "dot" else Linear(size, size, bias=has_bias)
        self.project_query = Linear(size, size, bias=False) if kind == "additive" else nn.Identity()
        if kind == "additive":
            self.direction = nn.Parameter(torch.empty(size).uniform_(-(size**-0.5), size**-0.5))
        for part in self.children():
            if isinstance(part, Linear):
                nn.init.xavier_uniform_(part.weight)

    def prepare(self, memory: Tensor, lengths: Tensor) -> Memory:
        """Project the memory (B, S, D) with lengths (B,) once for all queries; see `kernels.prepare_keys`."""
        memory = kernels.prepare_keys(memory, self.size)
        bias = masks.additive(~masks.padding_mask(lengths, memory.size(1)))[:, None]
        keys = self.project_memory(memory).float()
        return Memory(keys if self.rotary is None else self.rotary(keys), memory.float(), bias)

    def forward(self, query: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
        """Attend from T positions: query (B, T, D) -> contexts (B, T, D) and weights (B, T, S), in fp32."""
        query = self.project_query(query).float()
        return self._attend(query if self.rotary is None else self.rotary(query), memory, is_step=False)

    def step(self, query: Tensor, memory: Memory, position: int) -> tuple[Tensor, Tensor]:
        """Attend from K hypotheses at one position: query (B, K, D) -> contexts (B, K, D) and weights (B, K, S)."""
        return self._attend_at(position, self.project_query(query), memory)

    def repeated_step(self, memory: Memory) -> Callable[[Tensor, int], tuple[Tensor, Tensor]]:
        """Return a function like `step` for single queries (B, 1, D), for a training loop over all steps."""
        if not isinstance(self.project_query, Linear):
            return lambda query, position: self._attend_at(position, query, memory)
        project = kernels.repeated_linear(self.project_query.weight)
        return lambda query, position: self._attend_at(position, project(query[:, 0])[:, None], memory)

    def _attend_at(self, position: int, query: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
        query = query.float()  # (B, K, D)
        if self.rotary is not None:
            query = self.rotary(query, position)
        return self._attend(query, memory, is_step=True)

    def _attend(self, query: Tensor, memory: Memory, is_step: bool) -> tuple[Tensor, Tensor]:
        with torch.autocast(query.device.type, enabled=False):
            if self.kind == "additive":
                scores = self._additive_scores(query, memory.keys)
            else:
                scores = kernels.batched_product(query, memory.keys.transpose(1, 2), is_step)
            weights = torch.softmax(scores + memory.bias, dim=-1)
            return kernels.batched_product(weights, memory.values, is_step), weights

    def _additive_scores(self, query: Tensor, keys: Tensor) -> Tensor:
        """Compute the additive scores (B, T, S) of projected queries (B, T, D) and keys (B, S, D)."""
        if torch.is_grad_enabled():
            return F.linear(torch.tanh(query[:, :, None] + keys[:, None]), self.direction)
        # One query at a time needs memory for (B, S, D) instead of (B, T, S, D), and is faster.
        scores = [(single[:, None] + keys).tanh_().mul_(self.direction).sum(-1) for single in query.unbind(1)]
        return torch.stack(scores, dim=1)
