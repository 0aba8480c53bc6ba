"""LSTM translator with attention in plain PyTorch, optimized for speed.

Each direction of the encoder is an `nn.LSTM` over padded rows, which torch fuses on the CPU, unlike packed sequences;
the backward direction reads reversed rows. The decoder is an `nn.LSTM` without input feeding and an `nn.LSTMCell` with
it. Alternatives that were not faster: packed sequences, `nn.LSTM` for single steps, explicit gates with one product or
with precomputed products of the embeddings, and torch's fused attention.

Shapes: B sentences, S source positions, T target positions, H hidden size, N = B * K rows while decoding.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.scale import RecurrentSizes
from benchmarks.workers.plain_loop import Batch


class Memory(NamedTuple):
    """Encoder output for the decoder's attention."""

    keys: Tensor
    """Attention keys (B, H, S)."""
    values: Tensor
    """Attention values (B, S, H)."""
    bias: Tensor
    """Attention bias (B, 1, S), -inf at padding."""

    def select(self, sentences: Tensor) -> "Memory":
        """Select sentences (B',)."""
        return Memory(*(part[sentences] for part in self))


class State(NamedTuple):
    """Decoder state, tensors of (N, H)."""

    hidden: Tensor
    cell: Tensor
    vector: Tensor
    """Last attentional vector, for input feeding."""

    def select(self, rows: Tensor) -> "State":
        """Select rows (N',), in any order, with repetition."""
        return State(*(part[rows] for part in self))


class PlainTranslator(nn.Module):
    """Translator with one LSTM layer per side, general attention (Luong et al. 2015) and three-way tied embeddings."""

    def __init__(self, sizes: RecurrentSizes, dropout: float, stepwise: bool) -> None:
        """Build the model; `stepwise`: run the decoder step by step, as needed for decoding and input feeding."""
        super().__init__()
        size = sizes.hidden_size
        self.input_feeding = sizes.input_feeding
        self.embedding = nn.Embedding(sizes.vocab_size, size)
        self.forwards = nn.LSTM(size, size // 2, batch_first=True)
        self.backwards = nn.LSTM(size, size // 2, batch_first=True)
        self.decoder: nn.LSTM | nn.LSTMCell
        if stepwise:
            self.decoder = nn.LSTMCell(2 * size if self.input_feeding else size, size)
        else:
            self.decoder = nn.LSTM(size, size, batch_first=True)
        self.keys = nn.Linear(size, size, bias=False)
        self.combine = nn.Linear(2 * size, size)
        self.dropout = nn.Dropout(dropout)
        for name, parameter in self.named_parameters():
            if "bias_hh" in name:  # seqlab has one bias per gate: the second one stays 0
                parameter.requires_grad_(False)

    def forward(self, batch: Batch) -> Tensor:
        """Return logits (B, T, V)."""
        memory = self.encode(batch["src"], batch["src_lengths"])
        x = self.dropout(self.embedding(batch["tgt_in"]))
        if isinstance(self.decoder, nn.LSTM):
            return self.logits(self.attend(self.decoder(x)[0], memory))
        state, vectors = self.start(memory), []
        for embedded in x.unbind(1):
            state = self.step(embedded, state, memory)
            vectors.append(state.vector)
        return self.logits(torch.stack(vectors, dim=1))

    def encode(self, src: Tensor, lengths: Tensor) -> Memory:
        """Encode src (B, S) with lengths (B,)."""
        positions = torch.arange(src.size(1), device=src.device)
        is_padding = positions >= lengths[:, None]
        reversed_positions = torch.where(is_padding, positions, lengths[:, None] - 1 - positions)[..., None]
        x = self.dropout(self.embedding(src))
        forwards = self.forwards(x)[0]
        backwards = self.backwards(x.gather(1, reversed_positions.expand_as(x)))[0]
        values = torch.cat((forwards, backwards.gather(1, reversed_positions.expand_as(backwards))), dim=-1)
        values = self.dropout(values)
        keys = self.keys(values).transpose(1, 2)
        bias = torch.zeros_like(is_padding, dtype=keys.dtype).masked_fill(is_padding, -torch.inf)
        return Memory(keys, values, bias[:, None])

    def start(self, memory: Memory) -> State:
        """Return a state of zeros."""
        zeros = memory.values.new_zeros(len(memory.values), memory.values.size(-1))
        return State(zeros, zeros, zeros)

    def step(self, x: Tensor, state: State, memory: Memory) -> State:
        """Run one step on embeddings x (N, H), with the same number of rows per sentence."""
        assert isinstance(self.decoder, nn.LSTMCell), "`step` needs `stepwise=True`"
        inputs = torch.cat((x, state.vector), dim=1) if self.input_feeding else x
        hidden, cell = self.decoder(inputs, (state.hidden, state.cell))
        vector = self.attend(hidden.unflatten(0, (len(memory.values), -1)), memory)
        return State(hidden, cell, vector.flatten(0, 1))

    def attend(self, hidden: Tensor, memory: Memory) -> Tensor:
        """Map hidden states (B, T, H) to attentional vectors (B, T, H)."""
        weights = torch.softmax(torch.bmm(hidden, memory.keys) + memory.bias, dim=-1)
        context = torch.bmm(weights.to(memory.values.dtype), memory.values)
        return torch.tanh(self.combine(torch.cat((hidden, context), dim=-1)))

    def logits(self, vectors: Tensor) -> Tensor:
        """Map attentional vectors (..., H) to logits (..., V)."""
        return F.linear(self.dropout(vectors), self.embedding.weight)
