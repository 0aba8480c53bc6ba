"""Recurrent layers that read in one direction: the tanh RNN, the GRU, the LSTM.

All read a whole sequence by `forward` and one position by `step`, where decoding continues from a state. Weights keep
the layout of torch.nn (gates r, z, n and i, f, g, o), but each gate has one bias: torch.nn and cuDNN have two, which
only ever occur as their sum. The GRU's candidate alone needs a second one, as its reset gate scales the part that comes
from the hidden state.

Initially, the recurrent matrix of each gate is orthogonal (Saxe et al. 2014, arXiv:1312.6120), so that where the
non-linearity is linear, the hidden state neither grows nor fades; those of the input are uniform (Glorot & Bengio
2010), each gate by itself; biases are 0. Only the LSTM's forget gate starts at 1, so that a new cell remembers (Gers et
al. 2000; Jozefowicz et al. 2015).

Shapes: T time, B batch, N rows while decoding, I input size, H hidden size, G = gates * H.
"""

from collections.abc import Callable
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqlab.nn import kernels
from seqlab.nn.cpu.recurrent import Weights, gru, has_fused_lstm, lstm
from seqlab.nn.layers import Dropout, Linear

RecurrentKind = Literal["rnn", "lstm", "gru"]
State = tuple[Tensor, Tensor | None]
"""Hidden state and, of an LSTM, cell: (N, H) each; of a sequence, all hidden states (T, B, H) and the last cell."""
Cell = Callable[[Tensor, Tensor, Tensor, Tensor | None, Tensor | None], State]
"""W x + b and U h (N, G), hidden state and cell (N, H), candidate bias (H,) -> the state after."""

SHUT = 100.0
"""A gate whose sum is below minus this is 0 in fp32, above it 1."""


def tanh_cell(
    from_input: Tensor, from_hidden: Tensor, hidden: Tensor, cell: Tensor | None, candidate_bias: Tensor | None
) -> State:
    """h' = tanh(W x + b + U h) (Elman 1990)."""
    return torch.tanh(from_input + from_hidden), None


def lstm_cell(
    from_input: Tensor, from_hidden: Tensor, hidden: Tensor, cell: Tensor | None, candidate_bias: Tensor | None
) -> State:
    """The LSTM with a forget gate (Hochreiter & Schmidhuber 1997; Gers et al. 2000).

    i, f, o = sigmoid(W x + b + U h)    g = tanh(W_g x + b_g + U_g h)    c' = f * c + i * g    h' = o * tanh(c')
    """
    assert cell is not None, "the state of an LSTM has a cell"
    sums = from_input + from_hidden  # one call of the sigmoid for all gates, that of g for nothing
    i, f, _, o = kernels.sigmoid(sums).chunk(4, dim=-1)
    g = torch.tanh(sums.chunk(4, dim=-1)[2])
    cell = f * cell + i * g
    return o * torch.tanh(cell), cell


def gru_cell(
    from_input: Tensor, from_hidden: Tensor, hidden: Tensor, cell: Tensor | None, candidate_bias: Tensor | None
) -> State:
    """The gated recurrent unit (Cho et al. 2014, arXiv:1406.1078), in the variant of cuDNN and torch.nn.

    r, z = sigmoid(W x + b + U h)    n = tanh(W_n x + b_n + r * (U_n h + c_n))    h' = n + z * (h - n)
    """
    assert candidate_bias is not None, "a GRU has one"
    (r_in, z_in, n_in), (r_hidden, z_hidden, n_hidden) = from_input.chunk(3, dim=-1), from_hidden.chunk(3, dim=-1)
    r, z = kernels.sigmoid(r_in + r_hidden), kernels.sigmoid(z_in + z_hidden)
    n = torch.tanh(n_in + r * (n_hidden + candidate_bias))
    return torch.lerp(n, hidden, z), None


CELLS: dict[RecurrentKind, Cell] = {"rnn": tanh_cell, "lstm": lstm_cell, "gru": gru_cell}
NUM_GATES: dict[RecurrentKind, int] = {"rnn": 1, "lstm": 4, "gru": 3}


def recurrent(
    kind: RecurrentKind,
    x: Tensor,
    weights: Weights,
    hidden: Tensor,
    cell: Tensor | None,
    is_padding: Tensor | None = None,
) -> State:
    """Read x (T, B, I) from the state hidden, cell (B, H): all hidden states (T, B, H) and the last cell (B, H).

    Products run in the dtype of x and of the weights, which the result has, too; states are in fp32 at least. The last
    cell is that of each row's last real position, where `is_padding` (T, B) is True after it. On a CPU, B is one of the
    sizes of `padded_rows`.
    """
    if kernels.is_reference("recurrent"):
        return _step_by_step(kind, x, weights, hidden, cell, is_padding)
    if x.is_cpu and kind == "gru":
        return gru(x, weights, hidden), None
    if x.is_cpu and not (kind == "lstm" and has_fused_lstm(x.dtype, hidden.size(1))):
        return _step_by_step(kind, x, weights, hidden, cell, is_padding)
    if is_padding is not None and kind == "lstm":
        x, weights = _holding(x, weights, is_padding)
    if x.is_cpu:
        assert cell is not None, "the state of an LSTM has a cell"
        return lstm(x, weights, hidden, cell)
    return _by_cudnn(kind, x, weights, hidden, cell)


def _step_by_step(
    kind: RecurrentKind, x: Tensor, weights: Weights, hidden: Tensor, cell: Tensor | None, is_padding: Tensor | None
) -> State:
    """Apply the cell at one position after the other."""
    from_input = kernels.linear(x, weights.w_in, weights.bias).to(hidden.dtype)  # (T, B, G)
    multiply = kernels.repeated_linear(weights.w_hidden)
    candidate_bias = None if weights.candidate_bias is None else weights.candidate_bias.to(hidden.dtype)
    outputs = []
    for position, entering in enumerate(from_input.unbind(0)):
        from_hidden = multiply(hidden.to(x.dtype)).to(hidden.dtype)
        hidden, after = CELLS[kind](entering, from_hidden, hidden, cell, candidate_bias)
        if is_padding is None or cell is None or after is None:
            cell = after
        else:
            cell = torch.where(is_padding[position][:, None], cell, after)
        outputs.append(hidden)
    return torch.stack(outputs).to(x.dtype), cell


def _holding(x: Tensor, weights: Weights, is_padding: Tensor) -> tuple[Tensor, Weights]:
    """Make padding an input of its own that shuts an LSTM's input gate and opens its forget gate: then c' = c.

    Fused kernels do not return the cell of a position that is not the last.
    """
    column = weights.w_in.new_zeros(4, weights.w_hidden.size(1), 1)
    column[0], column[1] = -SHUT, SHUT
    x = torch.cat((x, is_padding[..., None].to(x.dtype)), dim=-1)
    return x, weights._replace(w_in=torch.cat((weights.w_in, column.flatten(0, 1)), dim=-1))


def _by_cudnn(kind: RecurrentKind, x: Tensor, weights: Weights, hidden: Tensor, cell: Tensor | None) -> State:
    """Call torch's function for one layer, time first."""
    hidden_bias = torch.zeros_like(weights.bias)
    if weights.candidate_bias is not None:
        hidden_bias = F.pad(weights.candidate_bias, (weights.bias.numel() - weights.candidate_bias.numel(), 0))
    parameters = (weights.w_in, weights.w_hidden, weights.bias, hidden_bias)
    has_biases, num_layers, dropout, is_bidirectional, is_batch_first = True, 1, 0.0, False, False
    trains = torch.is_grad_enabled()
    options: tuple[Any, ...] = (has_biases, num_layers, dropout, trains, is_bidirectional, is_batch_first)
    start = hidden[None].to(x.dtype)
    if cell is None:
        function = torch.gru if kind == "gru" else torch.rnn_tanh
        return function(x, start, parameters, *options)[0], None
    outputs, _, last_cell = torch.lstm(x, (start, cell[None].to(x.dtype)), parameters, *options)
    return outputs, last_cell[0].to(cell.dtype)


StepFunction = Callable[[Tensor, Tensor, Tensor | None], State]
"""x (N, I), hidden state and cell (N, H) -> the state after it."""


class RecurrentLayer(nn.Module):
    """Read a sequence in one direction."""

    def __init__(self, kind: RecurrentKind, input_size: int, hidden_size: int, weight_dropout: float = 0.0) -> None:
        """`weight_dropout`: probability of dropping an element of the recurrent matrix, anew in each forward pass (the
        weight drop of AWD-LSTM, Merity et al. 2018, arXiv:1708.02182)."""
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

    def forward(self, x: Tensor, hidden: Tensor, cell: Tensor | None, is_padding: Tensor | None = None) -> State:
        """Read x (T, B, I) from a state (B, H): all hidden states (T, B, H) and the last cell, see `recurrent`."""
        dtype = kernels.compute_dtype(self.from_hidden.weight)
        w_hidden = self.weight_dropout(self.from_hidden.weight)
        weights = Weights(
            self.from_input.weight.to(dtype),
            w_hidden.to(dtype),
            self.from_input.bias.to(dtype),
            None if self.candidate_bias is None else self.candidate_bias.to(dtype),
        )
        with torch.autocast(x.device.type, enabled=False):
            return recurrent(self.kind, x.to(dtype), weights, hidden, cell, is_padding)

    def step(self, x: Tensor, hidden: Tensor, cell: Tensor | None) -> State:
        """Read one position of each row: x (N, I) -> hidden state and cell (N, H) after it, in fp32 at least."""
        return self._after(self.from_input(x), self.from_hidden(hidden), hidden, cell)

    def repeated_step(self) -> StepFunction:
        """Return what computes `step` in a loop with a gradient through all steps; the weights are dropped once."""
        from_input = kernels.repeated_linear(self.from_input.weight, self.from_input.bias)
        from_hidden = kernels.repeated_linear(self.weight_dropout(self.from_hidden.weight))
        return lambda x, hidden, cell: self._after(from_input(x), from_hidden(hidden), hidden, cell)

    def _after(self, from_input: Tensor, from_hidden: Tensor, hidden: Tensor, cell: Tensor | None) -> State:
        from_input, from_hidden = from_input.to(hidden.dtype), from_hidden.to(hidden.dtype)
        return CELLS[self.kind](from_input, from_hidden, hidden, cell, self.candidate_bias)
