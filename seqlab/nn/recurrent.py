"""A stack of recurrent layers, regularised as in AWD-LSTM, over padded batches, in one or in both directions.

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
    """What a stack gives for a sequence."""

    output: Tensor
    """(B, T, D): what the last layer gives, 0 at padding."""
    undropped: Tensor
    """(B, T, D): the same before the output's dropout, for temporal activation regularisation."""
    state: RecurrentState
    """After each row's last real position, in fp32 at least."""


class Recurrent(nn.Module):
    """Layers of tanh RNNs, LSTMs or GRUs, batch first.

    Every dropout is locked: one mask for a sequence (see `LockedDropout`). A residual connection adds a layer's input,
    from before its dropout, to the layer's output (Wu et al. 2016, arXiv:1609.08144).
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
        """Build the layers; the sizes are those of each direction.

        `last_size`: the last layer's size where it is not `hidden_size`, as with tied embeddings. `residual`: for
        layers after the first that are as wide as their input. `hidden_dropout`: between layers. `weight_dropout`: of
        the recurrent matrices. Raises ValueError for an unknown kind and for sizes below 1.
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
            nn.ModuleList(RecurrentLayer(kind, entering, size, weight_dropout) for _ in range(self.num_directions))
            for entering, size in zip(input_sizes, self.sizes, strict=False)
        )
        self.input_dropout = LockedDropout(input_dropout, time_dim=0)
        self.hidden_dropout = LockedDropout(hidden_dropout, time_dim=0)
        self.output_dropout = LockedDropout(output_dropout)

    def initial_state(self, batch_size: int) -> RecurrentState:
        """Give a state of zeros for so many rows."""
        like = next(self.parameters())
        dtype = torch.promote_types(like.dtype, torch.float32)
        sizes = [size for size in self.sizes for _ in range(self.num_directions)]
        hidden, cell = (tuple(like.new_zeros(batch_size, size, dtype=dtype) for size in sizes) for _ in range(2))
        return RecurrentState(hidden, cell if self.kind == "lstm" else ())

    def forward(self, x: Tensor, state: RecurrentState | None = None, lengths: Tensor | None = None) -> RecurrentOutput:
        """Read x (B, T, I), going on from a state (default: zeros); where `lengths` (B,) are given, each at least 1,
        the rest of each row is padding.

        Padding changes nothing. Without a gradient, on the CPU, neither do the other rows, bit for bit. Raises
        ValueError for shapes that do not fit.
        """
        batch, steps = self._checked_shape(x, state, lengths)
        rows = kernels.padded_batch_size(x)
        ends = _Ends(lengths, steps, rows)
        before = _with_rows(self.initial_state(batch) if state is None else state, rows)
        after: list[tuple[Tensor, Tensor | None]] = []
        x = F.pad(x.transpose(0, 1), (0, 0, 0, rows - batch)).contiguous()  # (T, rows, I)
        for depth, layers in enumerate(self._stack()):
            entering = self.hidden_dropout(x) if depth > 0 else self.input_dropout(x)
            outputs = []
            for direction, layer in enumerate(layers):
                ordered = ends.reverse(entering) if direction == 1 else entering
                hidden, cell = _part(before, len(after))
                read, cell = layer(ordered, hidden, cell, ends.is_padding)
                after.append((ends.last(read).to(hidden.dtype), cell))
                outputs.append(ends.reverse(read) if direction == 1 else read)
            x = self._connected(depth, x, outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=-1))
        undropped = x.transpose(0, 1)[:batch]
        if lengths is not None:
            undropped = undropped.masked_fill(padding_mask(lengths, steps)[..., None], 0)
        return RecurrentOutput(self.output_dropout(undropped), undropped, _with_rows(_state(after), batch))

    def step(self, x: Tensor, state: RecurrentState) -> tuple[Tensor, RecurrentState]:
        """Read one position of each row, without dropout: x (N, I) -> output (N, D), in fp32 at least, and the state.

        Raises ValueError for a bidirectional stack.
        """
        self._refuse_steps_back()
        after = []
        for depth, (layer,) in enumerate(self._stack()):
            after.append(layer.step(x, *_part(state, depth)))
            x = self._connected(depth, x, after[-1][0])
        return x, _state(after)

    def repeated_step(self, rows: int) -> Callable[[Tensor, RecurrentState], tuple[Tensor, RecurrentState]]:
        """Return what computes `step` of so many rows in a loop with a gradient through all steps.

        Dropout is that between layers and of the weights, one mask for all steps. Raises ValueError as `step` does.
        """
        self._refuse_steps_back()
        ones = next(self.parameters()).new_ones(1, rows, 1)
        masks = [self.hidden_dropout(ones.expand(1, rows, size))[0] for size in self.sizes[:-1]]
        steps = [layer.repeated_step() for (layer,) in self._stack()]

        def step(x: Tensor, state: RecurrentState) -> tuple[Tensor, RecurrentState]:
            after = []
            for depth, read in enumerate(steps):
                entering = x * masks[depth - 1] if depth > 0 and self.training else x
                after.append(read(entering, *_part(state, depth)))
                x = self._connected(depth, x, after[-1][0])
            return x, _state(after)

        return step

    def _refuse_steps_back(self) -> None:
        if self.num_directions == 2:
            raise ValueError("A bidirectional stack has no `step`: it reads a sequence from its end, too.")

    def _stack(self) -> Iterator[list[RecurrentLayer]]:
        """Give the layers from the first to the last, those of both directions together."""
        for layers in self.layers:
            yield cast(list[RecurrentLayer], list(cast(nn.ModuleList, layers)))

    def _connected(self, depth: int, entering: Tensor, output: Tensor) -> Tensor:
        """Add the residual connection of the layer at this depth, if it has one."""
        has_residual = self.residual and depth > 0 and entering.shape == output.shape
        return entering + output if has_residual else output

    def _checked_shape(self, x: Tensor, state: RecurrentState | None, lengths: Tensor | None) -> tuple[int, int]:
        if x.dim() != 3 or x.size(2) != self.input_size:
            raise ValueError(f"The input must be (B, T, {self.input_size}), but is {tuple(x.shape)} instead.")
        if lengths is not None and lengths.shape != x.shape[:1]:
            raise ValueError(f"`lengths` must be ({len(x)},) as the input, but is {tuple(lengths.shape)} instead.")
        if state is not None:
            expected = {name: each.shape for name, each in self.initial_state(len(x)).tensors().items()}
            found = {name: each.shape for name, each in state.tensors().items()}
            if expected != found:
                raise ValueError(f"The state must have the shapes {_text(expected)}, but has {_text(found)} instead.")
        return x.size(0), x.size(1)


class _Ends:
    """Where the rows of a batch (T, rows, ...) end, all at T unless they have lengths; rows beyond these only pad."""

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
        """(T, rows, H) -> (rows, H) at each row's end."""
        return x[-1] if self.is_padding is None else x.flatten(0, 1).index_select(0, self.final)

    def reverse(self, x: Tensor) -> Tensor:
        """Reverse each sequence within its length: (T, rows, H); padding stays."""
        if self.is_padding is None:
            return x.flip(0)
        return x.flatten(0, 1).index_select(0, self.mirrored).view_as(x)


def _with_rows(state: RecurrentState, rows: int) -> RecurrentState:
    """Add rows of zeros, or cut rows off."""
    return RecurrentState(
        *(tuple(F.pad(x, (0, 0, 0, rows - len(x))) for x in part) for part in (state.hidden, state.cell))
    )


def _part(state: RecurrentState, index: int) -> tuple[Tensor, Tensor | None]:
    """Give one layer's hidden state and cell."""
    return state.hidden[index], state.cell[index] if state.cell else None


def _state(parts: list[tuple[Tensor, Tensor | None]]) -> RecurrentState:
    """Join the hidden states and cells of all layers."""
    return RecurrentState(tuple(hidden for hidden, _ in parts), tuple(cell for _, cell in parts if cell is not None))


def _text(shapes: dict[str, torch.Size]) -> str:
    return ", ".join(f"{name} {tuple(shape)}" for name, shape in shapes.items())
