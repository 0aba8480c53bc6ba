"""State of a recurrent stack, and the bridge from an encoder's final state to a decoder's initial state.

Shapes: B sentences, H hidden size.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from seqlab.nn.layers import Linear
from seqlab.nn.recurrent_layer import RecurrentKind


@dataclass(frozen=True)
class RecurrentState:
    """Hidden states and, for LSTMs, cells of all layers, carried by truncated BPTT and decoding.

    There is one tensor (B, H) per layer, or two per layer of a bidirectional stack: forward, backward.
    """

    hidden: tuple[Tensor, ...]
    cell: tuple[Tensor, ...] = ()

    def select(self, rows: Tensor) -> "RecurrentState":
        """Keep, reorder and repeat rows: row i of the result is row `rows[i]` (B', int64) of this state."""
        return self._map(lambda part: part.index_select(0, rows))

    def fork(self) -> "RecurrentState":
        """Return an independent copy."""
        return self._map(lambda part: part.clone())

    def detach(self) -> "RecurrentState":
        """Detach from the autograd graph, for truncated backpropagation through time."""
        return self._map(lambda part: part.detach())

    def join_directions(self, num_directions: int) -> "RecurrentState":
        """Concatenate the directions (B, H) of each layer's state: (B, H * num_directions)."""

        def concatenate(parts: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            starts = range(0, len(parts), num_directions)
            return tuple(torch.cat(parts[start : start + num_directions], dim=1) for start in starts)

        return RecurrentState(concatenate(self.hidden), concatenate(self.cell))

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors by name, `hidden.0`, `cell.0` and so on, for a checkpoint."""
        parts = (("hidden", self.hidden), ("cell", self.cell))
        return {f"{name}.{i}": tensor for name, part in parts for i, tensor in enumerate(part)}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> "RecurrentState":
        """Restore a state from `tensors`; raises ValueError if a name is missing or unknown."""

        def collect(name: str) -> tuple[Tensor, ...]:
            count = sum(key.startswith(f"{name}.") for key in tensors)
            return tuple(tensors[f"{name}.{i}"] for i in range(count))

        try:
            state = cls(collect("hidden"), collect("cell"))
        except KeyError as error:
            raise ValueError(f"A recurrent state needs `{error.args[0]}`, but has only {sorted(tensors)}.") from error
        if not state.hidden or len(state.tensors()) != len(tensors):
            raise ValueError(
                f"A recurrent state must be named `hidden.0`, `cell.0` and so on, but has {sorted(tensors)} instead."
            )
        return state

    def _map(self, change: Callable[[Tensor], Tensor]) -> "RecurrentState":
        return RecurrentState(tuple(map(change, self.hidden)), tuple(map(change, self.cell)))


BridgeKind = Literal["linear", "copy", "zero"]


class Bridge(nn.Module):
    """Map the encoder's final states to the decoder's initial states, last layer to last layer and so on downwards."""

    def __init__(
        self, kind: BridgeKind, recurrent: RecurrentKind, size: int, num_encoder_layers: int, num_decoder_layers: int
    ) -> None:
        """Build the projections; `recurrent`: kind of the layers; `size`: size H of a state."""
        super().__init__()
        self.kind = kind
        offset = num_encoder_layers - num_decoder_layers
        self.sources = [max(0, offset + i) for i in range(num_decoder_layers)]
        """Index of the encoder layer for each decoder layer."""
        self.projections = nn.ModuleDict()
        if kind == "linear":
            for part in ("hidden", "cell") if recurrent == "lstm" else ("hidden",):
                layers = [Linear(size, size) for _ in self.sources]
                self.projections[part] = nn.ModuleList(layers)

    def forward(self, state: RecurrentState) -> RecurrentState:
        """Return the state (B, H) of each decoder layer; projected hidden states pass through tanh."""
        selected = RecurrentState(
            *(tuple(part[i] for i in self.sources if part) for part in (state.hidden, state.cell))
        )
        if self.kind == "copy":
            return selected
        if self.kind == "zero":
            return RecurrentState(*(tuple(map(torch.zeros_like, part)) for part in (selected.hidden, selected.cell)))
        hidden, cell = (self._project(name, getattr(selected, name)) for name in ("hidden", "cell"))
        return RecurrentState(tuple(map(torch.tanh, hidden)), cell)

    def _project(self, name: str, parts: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        if not parts:
            return ()
        layers = self.projections[name]
        assert isinstance(layers, nn.ModuleList)
        return tuple(layer(part).float() for layer, part in zip(layers, parts, strict=True))
