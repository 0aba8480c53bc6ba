"""Unidirectional recurrent layers: tanh RNN, LSTM and GRU.

`forward` processes a sequence, and `step` a single position. Weights have the layout of `torch.nn` (gates r, z, n of a
GRU and i, f, g, o of an LSTM). Each gate has one bias: `torch.nn` and cuDNN have two, but use only their sum. Only
the GRU's candidate needs a second bias, because its reset gate scales the recurrent part.

Initialization: the recurrent matrix of each gate is orthogonal (Saxe et al. 2014, arXiv:1312.6120), so that the hidden
state keeps its norm where the activation is linear. The input matrix of each gate is uniform (Glorot & Bengio 2010).
Biases are 0, except for the LSTM's forget gate: its bias is 1, so that the cell is kept at first (Gers et al. 2000;
Jozefowicz et al. 2015).

Shapes: T time, B batch, N rows while decoding, I input size, H hidden size, G = gates * H.
"""

from collections.abc import Callable
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqlab.nn import kernels
from seqlab.nn.cpu.lstm_gru import RecurrentWeights, gru, has_fused_lstm, lstm
from seqlab.nn.layers import Dropout, Linear

RecurrentKind = Literal["rnn", "lstm", "gru"]
LayerState = tuple[Tensor, Tensor | None]
"""Hidden state and cell (None except for LSTMs), (N, H) each; for a sequence, all hidden states (T, B, H) and the last
cell (B, H)."""
Cell = Callable[[Tensor, Tensor, Tensor, Tensor | None, Tensor | None], LayerState]
"""W x + b and U h (N, G), hidden state and cell (N, H), candidate bias (H,) -> the next state."""

SATURATION = 100.0
"""Pre-activation at which a sigmoid gate is 1 in fp32; at its negative, the gate is 0."""


def tanh_cell(
    from_input: Tensor, from_hidden: Tensor, hidden: Tensor, cell: Tensor | None, candidate_bias: Tensor | None
) -> LayerState:
    """tanh RNN (Elman 1990): h' = tanh(W x + b + U h)."""
    return torch.tanh(from_input + from_hidden), None


def lstm_cell(
    from_input: Tensor, from_hidden: Tensor, hidden: Tensor, cell: Tensor | None, candidate_bias: Tensor | None
) -> LayerState:
    """LSTM with a forget gate (Hochreiter & Schmidhuber 1997; Gers et al. 2000).

    i, f, o = sigmoid(W x + b + U h)    g = tanh(W_g x + b_g + U_g h)    c' = f * c + i * g    h' = o * tanh(c')
    """
    assert cell is not None, "an LSTM needs a cell"
    sums = from_input + from_hidden  # one sigmoid call for all gates, though g does not need it
    i, f, _, o = kernels.sigmoid(sums).chunk(4, dim=-1)
    g = torch.tanh(sums.chunk(4, dim=-1)[2])
    cell = f * cell + i * g
    return o * torch.tanh(cell), cell


def gru_cell(
    from_input: Tensor, from_hidden: Tensor, hidden: Tensor, cell: Tensor | None, candidate_bias: Tensor | None
) -> LayerState:
    """GRU (Cho et al. 2014, arXiv:1406.1078), in the variant of cuDNN and `torch.nn`.

    r, z = sigmoid(W x + b + U h)    n = tanh(W_n x + b_n + r * (U_n h + c_n))    h' = n + z * (h - n)
    """
    assert candidate_bias is not None, "a GRU needs a candidate bias"
    (r_in, z_in, n_in), (r_hidden, z_hidden, n_hidden) = from_input.chunk(3, dim=-1), from_hidden.chunk(3, dim=-1)
    r, z = kernels.sigmoid(r_in + r_hidden), kernels.sigmoid(z_in + z_hidden)
    n = torch.tanh(n_in + r * (n_hidden + candidate_bias))
    return torch.lerp(n, hidden, z), None


CELLS: dict[RecurrentKind, Cell] = {"rnn": tanh_cell, "lstm": lstm_cell, "gru": gru_cell}
NUM_GATES: dict[RecurrentKind, int] = {"rnn": 1, "lstm": 4, "gru": 3}


def recurrent(
    kind: RecurrentKind,
    x: Tensor,
    weights: RecurrentWeights,
    hidden: Tensor,
    cell: Tensor | None,
    is_padding: Tensor | None = None,
) -> LayerState:
    """Run a recurrent layer over x (T, B, I) from hidden, cell (B, H): all hidden states (T, B, H), last cell (B, H).

    Matrix products and the result have the dtype of x and the weights; states are in fp32 or fp64. `is_padding` (T, B)
    is True after each row's last position. The last cell is the one at each row's last position without padding. On a
    CPU, B must be a size returned by `padded_rows`.
    """
    if kernels.is_reference("recurrent"):
        return _run_stepwise(kind, x, weights, hidden, cell, is_padding)
    if x.is_cpu and kind == "gru":
        return gru(x, weights, hidden), None
    if x.is_cpu and not (kind == "lstm" and has_fused_lstm(x.dtype, hidden.size(1))):
        return _run_stepwise(kind, x, weights, hidden, cell, is_padding)
    if is_padding is not None and kind == "lstm":
        x, weights = _keep_cell_at_padding(x, weights, is_padding)
    if x.is_cpu:
        assert cell is not None, "an LSTM needs a cell"
        return lstm(x, weights, hidden, cell)
    return _run_cudnn(kind, x, weights, hidden, cell)


def _run_stepwise(
    kind: RecurrentKind,
    x: Tensor,
    weights: RecurrentWeights,
    hidden: Tensor,
    cell: Tensor | None,
    is_padding: Tensor | None,
) -> LayerState:
    """Apply the cell function position by position."""
    from_input = kernels.linear(x, weights.w_in, weights.bias).to(hidden.dtype)  # (T, B, G)
    multiply = kernels.repeated_linear(weights.w_hidden)
    candidate_bias = None if weights.candidate_bias is None else weights.candidate_bias.to(hidden.dtype)
    outputs = []
    for position, projected in enumerate(from_input.unbind(0)):
        from_hidden = multiply(hidden.to(x.dtype)).to(hidden.dtype)
        hidden, next_cell = CELLS[kind](projected, from_hidden, hidden, cell, candidate_bias)
        if is_padding is None or cell is None or next_cell is None:
            cell = next_cell
        else:
            cell = torch.where(is_padding[position][:, None], cell, next_cell)
        outputs.append(hidden)
    return torch.stack(outputs).to(x.dtype), cell


def _keep_cell_at_padding(x: Tensor, weights: RecurrentWeights, is_padding: Tensor) -> tuple[Tensor, RecurrentWeights]:
    """Add a padding indicator to the inputs that keeps an LSTM's cell: input gate 0, forget gate 1, so c' = c.

    Fused kernels return only the cell of the last position.
    """
    column = weights.w_in.new_zeros(4, weights.w_hidden.size(1), 1)
    column[0], column[1] = -SATURATION, SATURATION
    x = torch.cat((x, is_padding[..., None].to(x.dtype)), dim=-1)
    return x, weights._replace(w_in=torch.cat((weights.w_in, column.flatten(0, 1)), dim=-1))


def _run_cudnn(
    kind: RecurrentKind, x: Tensor, weights: RecurrentWeights, hidden: Tensor, cell: Tensor | None
) -> LayerState:
    """Run one layer with torch's fused function for GPUs."""
    hidden_bias = torch.zeros_like(weights.bias)
    if weights.candidate_bias is not None:
        hidden_bias = F.pad(weights.candidate_bias, (weights.bias.numel() - weights.candidate_bias.numel(), 0))
    parameters = (weights.w_in, weights.w_hidden, weights.bias, hidden_bias)
    has_biases, num_layers, dropout, is_bidirectional, is_batch_first = True, 1, 0.0, False, False
    is_training = torch.is_grad_enabled()
    options: tuple[Any, ...] = (has_biases, num_layers, dropout, is_training, is_bidirectional, is_batch_first)
    start = hidden[None].to(x.dtype)
    if cell is None:
        function = torch.gru if kind == "gru" else torch.rnn_tanh
        return function(x, start, parameters, *options)[0], None
    outputs, _, last_cell = torch.lstm(x, (start, cell[None].to(x.dtype)), parameters, *options)
    return outputs, last_cell[0].to(cell.dtype)


StepFunction = Callable[[Tensor, Tensor, Tensor | None], LayerState]
"""x (N, I), hidden state and cell (N, H) -> the next state."""


class RecurrentLayer(nn.Module):
    """Recurrent layer in one direction."""

    def __init__(self, kind: RecurrentKind, input_size: int, hidden_size: int, weight_dropout: float = 0.0) -> None:
        """Build and initialize the weights.

        `weight_dropout`: probability of dropping an element of the recurrent matrix in a forward pass (weight drop of
        AWD-LSTM, Merity et al. 2018, arXiv:1708.02182).
        """
        super().__init__()
        self.kind, self.hidden_size = kind, hidden_size
        gates = NUM_GATES[kind]
        self.from_input = Linear(input_size, gates * hidden_size, parts=gates)
        self.from_hidden = Linear(hidden_size, gates * hidden_size, bias=False, parts=gates)
        self.candidate_bias = nn.Parameter(torch.zeros(hidden_size)) if kind == "gru" else None
        self.weight_dropout = Dropout(weight_dropout)
        for gate in self.from_input.weight.detach().split(hidden_size):
            nn.init.xavier_uniform_(gate)
        for gate in self.from_hidden.weight.detach().split(hidden_size):
            nn.init.orthogonal_(gate)
        nn.init.zeros_(self.from_input.bias)
        if kind == "lstm":
            nn.init.ones_(self.from_input.bias.detach()[hidden_size : 2 * hidden_size])

    def forward(self, x: Tensor, hidden: Tensor, cell: Tensor | None, is_padding: Tensor | None = None) -> LayerState:
        """Process x (T, B, I) from a state (B, H): all hidden states (T, B, H) and the last cell; see `recurrent`."""
        dtype = kernels.compute_dtype(self.from_hidden.weight)
        w_hidden = self.weight_dropout(self.from_hidden.weight)
        weights = RecurrentWeights(
            self.from_input.weight.to(dtype),
            w_hidden.to(dtype),
            self.from_input.bias.to(dtype),
            None if self.candidate_bias is None else self.candidate_bias.to(dtype),
        )
        with torch.autocast(x.device.type, enabled=False):
            return recurrent(self.kind, x.to(dtype), weights, hidden, cell, is_padding)

    def step(self, x: Tensor, hidden: Tensor, cell: Tensor | None) -> LayerState:
        """Process one position of each row: x (N, I) -> next hidden state and cell (N, H), in fp32 or fp64."""
        return self._next_state(self.from_input(x), self.from_hidden(hidden), hidden, cell)

    def repeated_step(self) -> StepFunction:
        """Return a function like `step`, for a training loop over all steps, with one weight-dropout mask."""
        from_input = kernels.repeated_linear(self.from_input.weight, self.from_input.bias)
        from_hidden = kernels.repeated_linear(self.weight_dropout(self.from_hidden.weight))
        return lambda x, hidden, cell: self._next_state(from_input(x), from_hidden(hidden), hidden, cell)

    def _next_state(self, from_input: Tensor, from_hidden: Tensor, hidden: Tensor, cell: Tensor | None) -> LayerState:
        from_input, from_hidden = from_input.to(hidden.dtype), from_hidden.to(hidden.dtype)
        return CELLS[self.kind](from_input, from_hidden, hidden, cell, self.candidate_bias)
