"""From an encoder's last states to a decoder's first ones.

Shapes: B sentences, H hidden size.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from seqlab.nn.linear import Linear
from seqlab.nn.recurrent import RecurrentKind
from seqlab.nn.recurrent_state import RecurrentState

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
