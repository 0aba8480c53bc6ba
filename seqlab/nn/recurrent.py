"""Stack of recurrent layers (RNN, LSTM, GRU) over padded batches, uni- or bidirectional, with AWD-LSTM's dropouts.

Shapes: B batch, T time, N rows while decoding, I input size, H the size of a layer, D the size of the output.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqlab.nn import kernels
from seqlab.nn.layers import LockedDropout
from seqlab.nn.masks import padding_mask
from seqlab.nn.recurrent_layer import CELLS, RecurrentKind, RecurrentLayer
from seqlab.nn.recurrent_state import RecurrentState


class RecurrentOutput(NamedTuple):
    """Output and final state of a recurrent stack."""

    output: Tensor
    """(B, T, D): output of the last layer, 0 at padding."""
    undropped: Tensor
    """(B, T, D): the output before output dropout, for temporal activation regularization."""
    state: RecurrentState
    """State after each row's last token, in fp32 or fp64."""


class Recurrent(nn.Module):
    """Stack of tanh RNN, LSTM or GRU layers, batch first.

    Each dropout uses the same mask at all positions of a sequence (see `LockedDropout`). A residual connection adds a
    layer's input, before dropout, to its output (Wu et al. 2016, arXiv:1609.08144).
    """

    def __init__(
        self,
        kind: RecurrentKind,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        last_size: int | None = None,
        bidirectional: bool = False,
        residual: bool = False,
        input_dropout: float = 0.0,
        hidden_dropout: float = 0.0,
        output_dropout: float = 0.0,
        weight_dropout: float = 0.0,
    ) -> None:
        """Build the layers; sizes are those of each direction.

        `last_size`: size of the last layer if it is not `hidden_size`, as with tied embeddings. `residual`: whether
        layers after the first have a residual connection, if they are as wide as their input. `hidden_dropout`:
        between layers. `weight_dropout`: of the recurrent matrices.

        Raises:
            ValueError: the kind is unknown, or a size is below 1.
        """
        super().__init__()
        if kind not in CELLS:
            raise ValueError(f"`kind` must be one of {', '.join(CELLS)}, but is `{kind}` instead.")
        last_size = hidden_size if last_size is None else last_size
        named = {"input_size": input_size, "hidden_size": hidden_size, "num_layers": num_layers, "last_size": last_size}
        for name, value in named.items():
            if value < 1:
                raise ValueError(f"`{name}` must be at least 1, but is {value} instead.")
        self.kind, self.residual, self.num_directions = kind, residual, 2 if bidirectional else 1
        self.sizes = [hidden_size] * (num_layers - 1) + [last_size]
        self.input_size, self.output_size = input_size, self.num_directions * last_size
        input_sizes = [input_size, *(self.num_directions * size for size in self.sizes)]
        self.layers = nn.ModuleList(
            nn.ModuleList(RecurrentLayer(kind, layer_input, size, weight_dropout) for _ in range(self.num_directions))
            for layer_input, size in zip(input_sizes, self.sizes, strict=False)
        )
        self.input_dropout = LockedDropout(input_dropout, time_dim=0)
        self.hidden_dropout = LockedDropout(hidden_dropout, time_dim=0)
        self.output_dropout = LockedDropout(output_dropout)

    def initial_state(self, batch_size: int) -> RecurrentState:
        """Return a state of zeros."""
        like = next(self.parameters())
        dtype = torch.promote_types(like.dtype, torch.float32)
        sizes = [size for size in self.sizes for _ in range(self.num_directions)]
        hidden, cell = (tuple(like.new_zeros(batch_size, size, dtype=dtype) for size in sizes) for _ in range(2))
        return RecurrentState(hidden, cell if self.kind == "lstm" else ())

    def forward(self, x: Tensor, state: RecurrentState | None = None, lengths: Tensor | None = None) -> RecurrentOutput:
        """Process x (B, T, I) from a state (default: zeros).

        With `lengths` (B,), each at least 1, positions from a row's length on are padding and change no result. On the
        CPU, with gradients disabled, a row's result does not depend on the other rows either, bit for bit.

        Raises:
            ValueError: shapes do not match.
        """
        batch, steps = self._check_shapes(x, state, lengths)
        rows = kernels.padded_batch_size(x)
        ends = _SequenceEnds(lengths, steps, rows)
        before = _with_rows(self.initial_state(batch) if state is None else state, rows)
        after: list[tuple[Tensor, Tensor | None]] = []
        x = F.pad(x.transpose(0, 1), (0, 0, 0, rows - batch)).contiguous()  # (T, rows, I)
        for depth, layers in enumerate(self._directions()):
            layer_input = self.hidden_dropout(x) if depth > 0 else self.input_dropout(x)
            outputs = []
            for direction, layer in enumerate(layers):
                ordered = ends.reverse(layer_input) if direction == 1 else layer_input
                hidden, cell = _layer_state(before, len(after))
                output, cell = layer(ordered, hidden, cell, ends.is_padding)
                after.append((ends.last(output).to(hidden.dtype), cell))
                outputs.append(ends.reverse(output) if direction == 1 else output)
            x = self._add_residual(depth, x, outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=-1))
        undropped = x.transpose(0, 1)[:batch]
        if lengths is not None:
            undropped = undropped.masked_fill(padding_mask(lengths, steps)[..., None], 0)
        return RecurrentOutput(self.output_dropout(undropped), undropped, _with_rows(_combine(after), batch))

    def step(self, x: Tensor, state: RecurrentState) -> tuple[Tensor, RecurrentState]:
        """Process one position of each row, without dropout: x (N, I) -> output (N, D), in fp32 or fp64, next state.

        Raises:
            ValueError: the stack is bidirectional.
        """
        self._refuse_bidirectional()
        after = []
        for depth, (layer,) in enumerate(self._directions()):
            after.append(layer.step(x, *_layer_state(state, depth)))
            x = self._add_residual(depth, x, after[-1][0])
        return x, _combine(after)

    def repeated_step(self, rows: int) -> Callable[[Tensor, RecurrentState], tuple[Tensor, RecurrentState]]:
        """Return a function like `step`, for a training loop over all steps.

        It applies dropout between layers and to the recurrent weights, with one mask for all steps.

        Raises:
            ValueError: the stack is bidirectional.
        """
        self._refuse_bidirectional()
        ones = next(self.parameters()).new_ones(1, rows, 1)
        masks = [self.hidden_dropout(ones.expand(1, rows, size))[0] for size in self.sizes[:-1]]
        steps = [layer.repeated_step() for (layer,) in self._directions()]

        def step(x: Tensor, state: RecurrentState) -> tuple[Tensor, RecurrentState]:
            after = []
            for depth, layer_step in enumerate(steps):
                layer_input = x * masks[depth - 1] if depth > 0 and self.training else x
                after.append(layer_step(layer_input, *_layer_state(state, depth)))
                x = self._add_residual(depth, x, after[-1][0])
            return x, _combine(after)

        return step

    def _refuse_bidirectional(self) -> None:
        if self.num_directions == 2:
            raise ValueError(
                "A bidirectional stack has no `step`, because its backward layers need complete sequences."
            )

    def _directions(self) -> Iterator[list[RecurrentLayer]]:
        """Yield the layers of each depth, one per direction, from the first depth to the last."""
        for layers in self.layers:
            yield cast(list[RecurrentLayer], list(cast(nn.ModuleList, layers)))

    def _add_residual(self, depth: int, layer_input: Tensor, output: Tensor) -> Tensor:
        """Add the residual connection of the layer at this depth, if it has one."""
        has_residual = self.residual and depth > 0 and layer_input.shape == output.shape
        return layer_input + output if has_residual else output

    def _check_shapes(self, x: Tensor, state: RecurrentState | None, lengths: Tensor | None) -> tuple[int, int]:
        if x.dim() != 3 or x.size(2) != self.input_size:
            raise ValueError(f"The input must be (B, T, {self.input_size}), but is {tuple(x.shape)} instead.")
        if lengths is not None and lengths.shape != x.shape[:1]:
            raise ValueError(f"`lengths` must be ({len(x)},) to fit the input, but is {tuple(lengths.shape)} instead.")
        if state is not None:
            expected = {name: tensor.shape for name, tensor in self.initial_state(len(x)).tensors().items()}
            actual = {name: tensor.shape for name, tensor in state.tensors().items()}
            if expected != actual:
                shapes, actual_shapes = _format_shapes(expected), _format_shapes(actual)
                raise ValueError(f"The state must have the shapes {shapes}, but has {actual_shapes} instead.")
        return x.size(0), x.size(1)


class _SequenceEnds:
    """Ends of the sequences in a batch (T, rows, ...), at `lengths`; without lengths, and for padding rows, at T."""

    def __init__(self, lengths: Tensor | None, steps: int, rows: int) -> None:
        self.is_padding: Tensor | None = None
        if lengths is None:
            return
        lengths = F.pad(lengths, (0, rows - len(lengths)), value=steps)
        self.is_padding = padding_mask(lengths, steps).t()  # (T, rows)
        times = torch.arange(steps, device=lengths.device)[:, None]
        columns = torch.arange(rows, device=lengths.device)
        mirrored = torch.where(self.is_padding, times, lengths - 1 - times)
        self.mirrored = (mirrored * rows + columns).flatten()
        self.final = (lengths - 1) * rows + columns

    def last(self, x: Tensor) -> Tensor:
        """Select the last position of each sequence: (T, rows, H) -> (rows, H)."""
        return x[-1] if self.is_padding is None else x.flatten(0, 1).index_select(0, self.final)

    def reverse(self, x: Tensor) -> Tensor:
        """Reverse each sequence within its length, with padding left at its end: (T, rows, H)."""
        if self.is_padding is None:
            return x.flip(0)
        return x.flatten(0, 1).index_select(0, self.mirrored).view_as(x)


def _with_rows(state: RecurrentState, rows: int) -> RecurrentState:
    """Pad a state with rows of zeros, or drop its last rows."""
    return RecurrentState(
        *(tuple(F.pad(x, (0, 0, 0, rows - len(x))) for x in part) for part in (state.hidden, state.cell))
    )


def _layer_state(state: RecurrentState, index: int) -> tuple[Tensor, Tensor | None]:
    """Return one layer's hidden state and cell."""
    return state.hidden[index], state.cell[index] if state.cell else None


def _combine(parts: list[tuple[Tensor, Tensor | None]]) -> RecurrentState:
    """Combine the hidden states and cells of all layers."""
    return RecurrentState(tuple(hidden for hidden, _ in parts), tuple(cell for _, cell in parts if cell is not None))


def _format_shapes(shapes: dict[str, torch.Size]) -> str:
    return ", ".join(f"{name} {tuple(shape)}" for name, shape in shapes.items())
