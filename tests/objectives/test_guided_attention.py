"""The guide of attention against its definition, position by position."""

import math

import pytest
import torch

from seqlab.data.batch import IGNORE
from seqlab.models.source import SourceTags
from seqlab.objectives.guided_attention import diagonal_cost

LENGTHS = [(3, 4), (5, 2), (1, 1)]
WIDTH = 0.3


def places_of(lengths: torch.Tensor, size: int) -> torch.Tensor:
    """Place the symbols of sources without tags."""
    return SourceTags("symbols", range(0), 2).places(torch.zeros(len(lengths), size), lengths)


def test_cost_is_that_of_the_definition() -> None:
    torch.manual_seed(0)
    tgt_out = torch.tensor([[7, 7, 7, 7], [7, 7, IGNORE, IGNORE], [7, IGNORE, IGNORE, IGNORE]])
    attention = torch.rand(3, 4, 5)
    src_lengths = torch.tensor([src for src, _ in LENGTHS])
    expected = 0.0
    for b, (src, tgt) in enumerate(LENGTHS):
        for t in range(tgt):
            for s in range(src):
                gap = s / max(1, src - 1) - t / max(1, tgt - 1)
                expected += float(attention[b, t, s]) * (1 - math.exp(-(gap**2) / (2 * WIDTH**2)))
    found = diagonal_cost(attention, places_of(src_lengths, 5), tgt_out, WIDTH)
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_the_diagonal_is_free_and_its_corner_is_not() -> None:
    tgt_out, diagonal = torch.full((1, 6), 7), places_of(torch.tensor([6]), 6)
    assert float(diagonal_cost(torch.eye(6)[None], diagonal, tgt_out, WIDTH)) == pytest.approx(0.0, abs=1e-6)
    assert float(diagonal_cost(torch.eye(6).flip(0)[None], diagonal, tgt_out, WIDTH)) > 3
