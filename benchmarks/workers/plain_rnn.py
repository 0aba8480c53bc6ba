"""Recurrent language models with `torch.nn.LSTM` or `torch.nn.GRU`, as in tutorials."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.lm_shapes import GATES, LmShape

LAYERS: dict[str, type[nn.LSTM | nn.GRU]] = {"lstm": nn.LSTM, "gru": nn.GRU}
CELLS: dict[str, type[nn.LSTMCell | nn.GRUCell]] = {"lstm": nn.LSTMCell, "gru": nn.GRUCell}


class PlainRnn(nn.Module):
    """Language model with an embedding, recurrent layers and a tied output projection."""

    def __init__(self, shape: LmShape, vocab_size: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, shape.width)
        self.dropout = nn.Dropout(dropout)
        layers = LAYERS[shape.family]
        self.layers = layers(shape.width, shape.width, shape.num_layers, batch_first=True, dropout=dropout)
        self._freeze_second_biases(shape)

    def forward(self, ids: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Map ids (B, T) to logits (B, T, V) and the next state."""
        hidden, state = self.layers(self.dropout(self.embedding(ids)), state)
        return F.linear(self.dropout(hidden), self.embedding.weight), state

    def _freeze_second_biases(self, shape: LmShape) -> None:
        """Keep the second bias of each gate at 0, as seqlab has none, except that of a GRU's candidate."""
        is_trainable = torch.zeros(GATES[shape.family] * shape.width)
        if shape.family == "gru":
            is_trainable[2 * shape.width :] = 1
        for name, parameter in self.layers.named_parameters():
            if name.startswith("bias_hh"):
                parameter.register_hook(lambda grad: grad * is_trainable.to(grad))


class PlainCells(nn.Module):
    """`PlainRnn` with one cell per layer, for single steps."""

    def __init__(self, shape: LmShape, vocab_size: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, shape.width)
        self.cells = nn.ModuleList(CELLS[shape.family](shape.width, shape.width) for _ in range(shape.num_layers))

    def forward(self, ids: Tensor, state: list[Any] | None) -> tuple[Tensor, list[Any]]:
        """Map ids (B, 1) to logits (B, 1, V) and the next state of each layer."""
        x, next_states = self.embedding(ids[:, 0]), []
        for cell, cell_state in zip(self.cells, state or [None] * len(self.cells), strict=True):
            next_state = cell(x, cell_state)
            next_states.append(next_state)
            x = next_state[0] if isinstance(next_state, tuple) else next_state
        return F.linear(x, self.embedding.weight)[:, None], next_states
