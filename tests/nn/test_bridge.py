"""Bridge from encoder to decoder states: choice of layers, and equations."""

import pytest
import torch

from seqlab.nn.recurrent import RecurrentKind
from seqlab.nn.recurrent_state import Bridge, BridgeKind, RecurrentState

SIZE, ROWS = 6, 3
DEPTHS = {(2, 2): [0, 1], (3, 1): [2], (3, 2): [1, 2], (1, 3): [0, 0, 0], (2, 3): [0, 0, 1]}
"""(encoder layers, decoder layers) -> the encoder layer that initializes each decoder layer."""


def random_state(layers: int, kind: RecurrentKind) -> RecurrentState:
    torch.manual_seed(layers)
    hidden, cell = (tuple(torch.randn(ROWS, SIZE) for _ in range(layers)) for _ in range(2))
    return RecurrentState(hidden, cell if kind == "lstm" else ())


@pytest.mark.parametrize("recurrent", ["lstm", "gru", "rnn"])
@pytest.mark.parametrize("kind", ["linear", "copy", "zero"])
@pytest.mark.parametrize("depths", DEPTHS)
def test_last_decoder_layer_starts_from_the_last_encoder_layer(
    depths: tuple[int, int], kind: BridgeKind, recurrent: RecurrentKind
) -> None:
    torch.manual_seed(0)
    bridge, state = Bridge(kind, recurrent, SIZE, *depths), random_state(depths[0], recurrent)
    with torch.no_grad():
        for parameter in bridge.parameters():
            parameter.normal_()
    found = bridge(state)
    assert len(found.hidden) == depths[1]
    assert len(found.cell) == (depths[1] if recurrent == "lstm" else 0)
    weights = dict(bridge.named_parameters())
    for layer, encoder_layer in enumerate(DEPTHS[depths]):
        for part, initial, final in (("hidden", found.hidden, state.hidden), ("cell", found.cell, state.cell)):
            if not initial:
                continue
            expected = final[encoder_layer]
            if kind == "zero":
                expected = torch.zeros_like(expected)
            if kind == "linear":
                weight, bias = (weights[f"projections.{part}.{layer}.{name}"] for name in ("weight", "bias"))
                expected = expected @ weight.T + bias
                expected = torch.tanh(expected) if part == "hidden" else expected
            torch.testing.assert_close(initial[layer], expected)
