"""One recurrent layer that reads in one direction: the tanh RNN, the GRU, the LSTM.

All read a whole sequence by `forward`, as fast as the device can, and one position by `step`, where decoding goes on
from a state. Weights keep the layout of torch.nn (gates r, z, n and i, f, g, o), but there is one bias for each gate:
torch.nn and cuDNN have two, which only ever occur as their sum. The GRU's candidate alone needs a second one, as its
reset gate lets through the part that comes from the hidden state.

Initially, the recurrent matrix of each gate is orthogonal (Saxe et al. 2014, arXiv:1312.6120), so that where the
non-linearity is linear, what is carried on neither grows nor fades; those of the input are uniform (Glorot & Bengio
2010), each gate by itself; biases are 0. Only the LSTM's forget gate starts at 1, so that a new cell remembers (Gers et
al. 2000; Jozefowicz et al. 2015).

Shapes: T time, B batch, N rows while decoding, I input size, H hidden size.
"""

from collections.abc import Callable
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqlab.nn.deferred import Deferred
from seqlab.nn.dropout import Dropout
from seqlab.nn.linear import Linear, Packable, PackedWeight, compute_dtype
from seqlab.nn.recurrent_gru import gru_loop
from seqlab.nn.recurrent_loop import Weights, tanh_loop
from seqlab.nn.recurrent_lstm import lstm_cell, lstm_loop
from seqlab.nn.steady import steady_sigmoid_

_HAS_FUSED_BF16 = torch.backends.mkldnn.is_available() and torch.cpu.get_capabilities().get("avx512_bf16", False)

StepFunction = Callable[[Tensor, Tensor, Tensor | None], tuple[Tensor, Tensor | None]]
"""x (N, I), hidden state and cell (N, H) -> both after it."""

LOOP_SIZE = 512
"""In bf16, the written-out loop of an LSTM at least so wide trains faster than oneDNN's: 1.1 times at 512, 1.3 times at
1152."""

SHUT = 100.0
"""A gate whose sum is below minus this is 0 in fp32, above it 1."""


class RecurrentLayer(nn.Module):
    """What the three kinds share: their parameters."""

    num_gates: ClassVar[int]

    def __init__(self, input_size: int, hidden_size: int, weight_dropout: float = 0.0) -> None:
        """`weight_dropout`: probability of dropping an element of the recurrent matrix, anew in each forward pass (the
        weight drop of AWD-LSTM, Merity et al. 2018, arXiv:1708.02182)."""
        super().__init__()
        self.hidden_size = hidden_size
        self.from_input = Linear(input_size, self.num_gates * hidden_size)
        self.from_hidden = Linear(hidden_size, self.num_gates * hidden_size, bias=False)
        self.weight_dropout = Dropout(weight_dropout)
        for gate in self.from_input.weight.detach().split(hidden_size):
            nn.init.xavier_uniform_(gate)
        for gate in self.from_hidden.weight.detach().split(hidden_size):
            nn.init.orthogonal_(gate)
        nn.init.zeros_(self.from_input.bias)

    def forward(
        self, x: Tensor, hidden: Tensor, cell: Tensor | None, is_padding: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Read x (T, B, I) from the state hidden, cell (B, H): give all hidden states (T, B, H) and the last cell.

        The last cell is that of each row's last real position, where `is_padding` (T, B) is True after it. On the CPU
        B is one of the sizes of `padded_rows`.
        """
        dtype = compute_dtype(self.from_hidden.weight)
        w_hidden = self.weight_dropout(self.from_hidden.weight)
        weights = Weights(*(w.to(dtype) for w in (self.from_input.weight, w_hidden, self.from_input.bias)))
        with torch.autocast(x.device.type, enabled=False):
            return self._read(x.to(dtype), weights, hidden, cell, is_padding)

    def _read(
        self, x: Tensor, weights: Weights, hidden: Tensor, cell: Tensor | None, is_padding: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Do what `forward` does in the dtype of x and of the weights."""
        raise NotImplementedError

    def step(self, x: Tensor, hidden: Tensor, cell: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Read one position of each row: x (N, I) -> hidden state and cell (N, H) after it, in fp32 at least."""
        raise NotImplementedError

    def looped(self) -> StepFunction:
        """Give what does as `step`, for a loop of steps with a gradient through all; the weights are dropped once."""
        raise NotImplementedError

    def _products(self, x: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Give what all gates' sums consist of, from the input and from the hidden state: (N, gates * H)."""
        from_input, from_hidden = self.from_input(x), self.from_hidden(hidden)
        return from_input.to(hidden.dtype), from_hidden.to(hidden.dtype)


class _SummingLayer(RecurrentLayer, Packable):
    """A layer whose gates read nothing but the sum of both products, which are one where the weights are packed."""

    def pack(self) -> None:
        """Lay both matrices out side by side for `step`, whose sums are then rounded once, not twice."""
        weight = torch.cat((self.from_input.weight, self.from_hidden.weight), dim=1)
        self.packed = PackedWeight.of(weight, self.from_input.bias)

    def step(self, x: Tensor, hidden: Tensor, cell: Tensor | None) -> tuple[Tensor, Tensor | None]:
        return self._activated(self._sums(x, hidden), cell)

    def looped(self) -> StepFunction:
        recurrent = self.weight_dropout(self.from_hidden.weight)
        weight = torch.cat((self.from_input.weight, recurrent), dim=1)
        multiply = Deferred(weight, self.from_input.bias, compute_dtype(weight))

        def step(x: Tensor, hidden: Tensor, cell: Tensor | None) -> tuple[Tensor, Tensor | None]:
            return self._activated(multiply(torch.cat((x, hidden), dim=1)).to(hidden.dtype), cell)

        return step

    def _activated(self, sums: Tensor, cell: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Give hidden state and cell (N, H) from all gates' sums (N, gates * H), which it may write into."""
        raise NotImplementedError

    def _sums(self, x: Tensor, hidden: Tensor) -> Tensor:
        """Give all gates' sums for a step: x (N, I), hidden (N, H) -> (N, gates * H) in its dtype."""
        if self.packed is not None and x.is_cpu and not torch.is_grad_enabled():
            return self.packed.multiply(torch.cat((x, hidden), dim=1)).to(hidden.dtype)
        from_input, from_hidden = self._products(x, hidden)
        return from_input + from_hidden


class TanhLayer(_SummingLayer):
    """h' = tanh(W x + b + U h) (Elman 1990)."""

    num_gates = 1

    def _read(
        self, x: Tensor, weights: Weights, hidden: Tensor, cell: Tensor | None, is_padding: Tensor | None
    ) -> tuple[Tensor, None]:
        if x.device.type == "cpu":
            return tanh_loop(x, weights, hidden), None
        return self._by_library(x, weights, hidden), None

    def _activated(self, sums: Tensor, cell: Tensor | None) -> tuple[Tensor, None]:
        return torch.tanh(sums), None

    def _by_library(self, x: Tensor, weights: Weights, hidden: Tensor) -> Tensor:
        outputs: Tensor = _call(torch.rnn_tanh, x, hidden[None].to(x.dtype), weights, torch.zeros_like(weights.bias))[0]
        return outputs


class GruLayer(RecurrentLayer):
    """The gated recurrent unit; its equations are in `recurrent_gru`."""

    num_gates = 3

    def __init__(self, input_size: int, hidden_size: int, weight_dropout: float = 0.0) -> None:
        super().__init__(input_size, hidden_size, weight_dropout)
        self.candidate_bias = nn.Parameter(torch.zeros(hidden_size))

    def _read(
        self, x: Tensor, weights: Weights, hidden: Tensor, cell: Tensor | None, is_padding: Tensor | None
    ) -> tuple[Tensor, None]:
        if x.device.type == "cpu":
            return gru_loop(x, weights, self.candidate_bias.to(x.dtype), hidden), None
        return self._by_library(x, weights, hidden), None

    def step(self, x: Tensor, hidden: Tensor, cell: Tensor | None) -> tuple[Tensor, Tensor | None]:
        return self._activated(*self._products(x, hidden), hidden), None

    def looped(self) -> StepFunction:
        dtype = compute_dtype(self.from_input.weight)
        read = Deferred(self.from_input.weight, self.from_input.bias, dtype)
        recur = Deferred(self.weight_dropout(self.from_hidden.weight), None, dtype)

        def step(x: Tensor, hidden: Tensor, cell: Tensor | None) -> tuple[Tensor, None]:
            return self._activated(read(x).to(hidden.dtype), recur(hidden).to(hidden.dtype), hidden), None

        return step

    def _activated(self, from_input: Tensor, from_hidden: Tensor, hidden: Tensor) -> Tensor:
        """Give the hidden state (N, H) from both products (N, 3H) and the one before."""
        split = (2 * self.hidden_size, self.hidden_size)
        (gates, candidate), (gates_too, from_hidden) = (part.split(split, dim=-1) for part in (from_input, from_hidden))
        opened = gates + gates_too
        opened = torch.sigmoid(opened) if torch.is_grad_enabled() else steady_sigmoid_(opened)
        reset, update = opened.chunk(2, dim=-1)
        candidate = torch.tanh(candidate + reset * (from_hidden + self.candidate_bias))
        return torch.lerp(candidate, hidden, update)

    def _by_library(self, x: Tensor, weights: Weights, hidden: Tensor) -> Tensor:
        candidate_bias = F.pad(self.candidate_bias.to(x.dtype), (2 * self.hidden_size, 0))
        outputs: Tensor = _call(torch.gru, x, hidden[None].to(x.dtype), weights, candidate_bias)[0]
        return outputs


class LstmLayer(_SummingLayer):
    """The LSTM with a forget gate (Hochreiter & Schmidhuber 1997; Gers et al. 2000).

        i, f, o = sigmoid(W x + b + U h)    g = tanh(W_g x + b_g + U_g h)    c' = f * c + i * g    h' = o * tanh(c')

    torch's kernels for a whole sequence are fused, on the CPU in oneDNN. They do not tell the cell of a position that
    is not the last. So padding is an input of its own that shuts the input gate and opens the forget gate: then c' = c.
    """

    num_gates = 4

    def __init__(self, input_size: int, hidden_size: int, weight_dropout: float = 0.0) -> None:
        super().__init__(input_size, hidden_size, weight_dropout)
        nn.init.ones_(self.from_input.bias.detach()[hidden_size : 2 * hidden_size])

    def _read(
        self, x: Tensor, weights: Weights, hidden: Tensor, cell: Tensor | None, is_padding: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        assert cell is not None, "the state of an LSTM has a cell"
        if is_padding is not None:
            x = torch.cat((x, is_padding[..., None].to(x.dtype)), dim=-1)
            w_in = torch.cat((weights.w_in, self._holding_column(weights.w_in)), dim=-1)
            weights = weights._replace(w_in=w_in)
        if x.device.type == "cpu" and x.dtype == torch.bfloat16:  # torch.lstm would round the cell at each step
            if _HAS_FUSED_BF16 and not (torch.is_grad_enabled() and self.hidden_size >= LOOP_SIZE):
                return _fused_bf16(x, weights, hidden, cell)
            return lstm_loop(x, weights, hidden, cell)
        state = hidden[None].to(x.dtype), cell[None].to(x.dtype)
        outputs, _, last_cell = _call(torch.lstm, x, state, weights, torch.zeros_like(weights.bias))
        return outputs, last_cell[0].to(cell.dtype)

    def _activated(self, sums: Tensor, cell: Tensor | None) -> tuple[Tensor, Tensor | None]:
        assert cell is not None, "the state of an LSTM has a cell"
        if torch.is_grad_enabled():
            return lstm_cell(sums, cell)
        sums.narrow(-1, 2 * self.hidden_size, self.hidden_size).mul_(2)  # as tanh(x) is 2 s - 1, s = sigmoid(2 x)
        write, forget, candidate, read = steady_sigmoid_(sums).chunk(4, dim=-1)
        cell = torch.addcmul(forget * cell - write, write, candidate, value=2)  # f c + i (2 s - 1)
        return read * torch.tanh(cell), cell

    def _holding_column(self, like: Tensor) -> Tensor:
        """(4H, 1): what an input of 1 must be multiplied by for the cell to stay as it is."""
        column = like.new_zeros(4, self.hidden_size, 1)
        column[0], column[1] = -SHUT, SHUT
        return column.flatten(0, 1)


def _fused_bf16(x: Tensor, weights: Weights, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    """Call the kernel behind `torch.lstm` by its own name: so called, it keeps the cell in fp32 from step to step."""
    outputs, _, last_cell, _ = torch.ops.aten.mkldnn_rnn_layer(
        x,
        *weights,
        torch.zeros_like(weights.bias),
        hx_=hidden[None].to(x.dtype),
        cx_=cell[None],
        reverse=False,
        batch_sizes=[],
        mode=2,  # LSTM
        hidden_size=hidden.size(1),
        num_layers=1,
        has_biases=True,
        bidirectional=False,
        batch_first=False,
        train=torch.is_grad_enabled(),
    )
    return outputs, last_cell[0]


def _call(function: Callable[..., Any], x: Tensor, state: Any, weights: Weights, hidden_bias: Tensor) -> Any:
    """Call torch's function for one layer, time first: cuDNN on a GPU."""
    has_biases, num_layers, dropout, is_bidirectional, is_batch_first = True, 1, 0.0, False, False
    parameters, trains = (*weights, hidden_bias), torch.is_grad_enabled()
    return function(x, state, parameters, has_biases, num_layers, dropout, trains, is_bidirectional, is_batch_first)
