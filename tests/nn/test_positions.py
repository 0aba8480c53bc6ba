"""Position encodings: formulas, offsets, and tables that grow with the length."""

import math

import pytest
import torch

from seqlab.nn.embedding import LearnedPositions, RotaryPositions, SinusoidalPositions


def test_sinusoids_follow_the_formula() -> None:
    module, dim = SinusoidalPositions(8), 8
    encodings = module(torch.zeros(1, 300, dim))[0]
    for position in (0, 1, 17, 255, 256, 299):
        for i in range(dim // 2):
            angle = position * 10000 ** (-i / (dim // 2 - 1))
            assert encodings[position, i].item() == pytest.approx(math.sin(angle), abs=1e-4)
            assert encodings[position, dim // 2 + i].item() == pytest.approx(math.cos(angle), abs=1e-4)


@pytest.mark.parametrize("module", [SinusoidalPositions(6), LearnedPositions(6, 1000)])
def test_start_position_shifts_the_encodings(module: torch.nn.Module) -> None:
    x = torch.randn(2, 20, 6)
    assert torch.equal(module(x)[:, 7:], module(x[:, 7:], 7))


def test_rotary_positions_equal_complex_multiplication() -> None:
    torch.manual_seed(0)
    x, wavelengths = torch.randn(2, 13, 16), 10000.0 ** (torch.arange(0, 16, 2) / 16)
    angles = torch.arange(13)[:, None] / wavelengths
    rotated = torch.complex(*x.chunk(2, dim=-1)) * torch.polar(torch.ones_like(angles), angles)
    expected = torch.cat([rotated.real, rotated.imag], dim=-1)
    rotary = RotaryPositions(16)
    torch.testing.assert_close(rotary(x), expected)
    for position in (4, 12):
        assert torch.equal(rotary(x[:, position], position), rotary(x)[:, position])


@pytest.mark.parametrize("kind", [SinusoidalPositions, RotaryPositions])
def test_position_tables_grown_in_steps_equal_tables_computed_at_once(kind: type) -> None:
    x = torch.randn(1, 1, 700, 12) if kind is RotaryPositions else torch.randn(1, 700, 12)
    grown_in_steps, at_once = kind(12), kind(12)
    for end in (100, 257, 300, 600):
        grown_in_steps(x[..., :end, :])
    assert torch.equal(grown_in_steps(x), at_once(x))


def test_sequences_longer_than_the_learned_positions_are_refused() -> None:
    with pytest.raises(ValueError, match=r"learned positions for 4 tokens, but a sequence has 5"):
        LearnedPositions(6, 4)(torch.zeros(1, 5, 6))


def test_odd_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="even"):
        SinusoidalPositions(5)
    with pytest.raises(ValueError, match="even"):
        RotaryPositions(5)
