"""The state of a recurrent stack, and the bridge from an encoder's last state to a decoder's first one.

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
    """The hidden states of a stack and, for LSTMs, the cells: what truncated backpropagation and decoding carry.

    There is one tensor (B, H) for each layer, or two for each layer of a bidirectional stack: forwards, backwards.
    """

    hidden: tuple[Tensor, ...]
    cell: tuple[Tensor, ...] = ()

    def select(self, rows: Tensor) -> "RecurrentState":
        """Keep, reorder and repeat rows: row i of the result is row `rows[i]` (B', int64) of this state."""
        return self._mapped(lambda part: part.index_select(0, rows))

    def fork(self) -> "RecurrentState":
        """Copy, so that changes to one leave the other alone."""
        return self._mapped(lambda part: part.clone())

    def detach(self) -> "RecurrentState":
        """Cut it from the graph that made it: the truncation of backpropagation through time."""
        return self._mapped(lambda part: part.detach())

    def join_directions(self, num_directions: int) -> "RecurrentState":
        """Put the directions (B, H) of each layer's state beside each other: (B, H * num_directions)."""

        def beside(parts: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            starts = range(0, len(parts), num_directions)
            return tuple(torch.cat(parts[start : start + num_directions], dim=1) for start in starts)

        return RecurrentState(beside(self.hidden), beside(self.cell))

    def tensors(self) -> dict[str, Tensor]:
        """Name the tensors, `hidden.0`, `cell.0` and so on, for a checkpoint."""
        parts = (("hidden", self.hidden), ("cell", self.cell))
        return {f"{name}.{i}": tensor for name, part in parts for i, tensor in enumerate(part)}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> "RecurrentState":
        """Undo `tensors`; raises ValueError where a name is missing or is none of a state."""

        def numbered(name: str) -> tuple[Tensor, ...]:
            count = sum(key.startswith(f"{name}.") for key in tensors)
            return tuple(tensors[f"{name}.{i}"] for i in range(count))

        try:
            state = cls(numbered("hidden"), numbered("cell"))
        except KeyError as error:
            raise ValueError(f"A recurrent state needs `{error.args[0]}`, but has only {sorted(tensors)}.") from error
        if not state.hidden or len(state.tensors()) != len(tensors):
            raise ValueError(f"A recurrent state has `hidden.0` and so on and `cell.0`, but not {sorted(tensors)}.")
        return state

    def _mapped(self, change: Callable[[Tensor], Tensor]) -> "RecurrentState":
        return RecurrentState(tuple(map(change, self.hidden)), tuple(map(change, self.cell)))


BridgeKind = Literal["linear", "copy", "zero"]


class Bridge(nn.Module):
    """The encoder's last states to the decoder's first ones; where one has more layers, the last ones correspond."""

    def __init__(
        self, kind: BridgeKind, recurrent: RecurrentKind, size: int, num_encoder_layers: int, num_decoder_layers: int
    ) -> None:
        """`recurrent`: the kind of the layers, whose states have `size` values."""
        super().__init__()
        self.kind = kind
        more = num_encoder_layers - num_decoder_layers
        self.sources = [max(0, more + i) for i in range(num_decoder_layers)]
        self.projections = nn.ModuleDict()
        if kind == "linear":
            for part in ("hidden", "cell") if recurrent == "lstm" else ("hidden",):
                layers = [Linear(size, size) for _ in self.sources]
                self.projections[part] = nn.ModuleList(layers)

    def forward(self, state: RecurrentState) -> RecurrentState:
        """For each layer of the decoder (B, H); hidden states stay within -1 and 1."""
        chosen = RecurrentState(*(tuple(part[i] for i in self.sources if part) for part in (state.hidden, state.cell)))
        if self.kind == "copy":
            return chosen
        if self.kind == "zero":
            return RecurrentState(*(tuple(map(torch.zeros_like, part)) for part in (chosen.hidden, chosen.cell)))
        hidden, cell = (self._projected(name, getattr(chosen, name)) for name in ("hidden", "cell"))
        return RecurrentState(tuple(map(torch.tanh, hidden)), cell)

    def _projected(self, name: str, parts: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        if not parts:
            return ()
        layers = self.projections[name]
        assert isinstance(layers, nn.ModuleList)
        return tuple(layer(part).float() for layer, part in zip(layers, parts, strict=True))
