"""Guided attention: cost against its definition, tags, and the added loss."""

import math

import pytest
import torch
from reference.tiny_translators import ALL, RECURRENT, TRANSFORMERS, batch_of, build

from seqlab.data.batch import IGNORE
from seqlab.models.encoder_decoder import SourceTags
from seqlab.objectives import CrossEntropy, CrossEntropyConfig, StepContext
from seqlab.objectives.cross_entropy import off_diagonal_cost

LENGTHS = [(3, 4), (5, 2), (1, 1)]
WIDTH = 0.3


def relative_positions(lengths: torch.Tensor, size: int) -> torch.Tensor:
    """Compute relative source positions (0 to 1) without tags."""
    return SourceTags("symbols", range(0), 2).relative_positions(torch.zeros(len(lengths), size), lengths)


def test_cost_equals_the_definition() -> None:
    torch.manual_seed(0)
    tgt_out = torch.tensor([[7, 7, 7, 7], [7, 7, IGNORE, IGNORE], [7, IGNORE, IGNORE, IGNORE]])
    attention = torch.rand(3, 4, 5)
    src_lengths = torch.tensor([src for src, _ in LENGTHS])
    expected = 0.0
    for b, (src, tgt) in enumerate(LENGTHS):
        for t in range(tgt):
            for s in range(src):
                gap = s / max(1, src - 1) - t / max(1, tgt - 1)
                share = float(attention[b, t, s] / attention[b, t, :src].sum())
                expected += share * (1 - math.exp(-(gap**2) / (2 * WIDTH**2)))
    found = off_diagonal_cost(attention, relative_positions(src_lengths, 5), tgt_out, WIDTH)
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_cost_is_zero_on_the_diagonal_and_high_on_the_antidiagonal() -> None:
    tgt_out, diagonal = torch.full((1, 6), 7), relative_positions(torch.tensor([6]), 6)
    assert float(off_diagonal_cost(torch.eye(6)[None], diagonal, tgt_out, WIDTH)) == pytest.approx(0.0, abs=1e-6)
    assert float(off_diagonal_cost(torch.eye(6).flip(0)[None], diagonal, tgt_out, WIDTH)) > 3


def test_attention_to_tags_does_not_lower_the_cost() -> None:
    """The tags get 0.9 or nearly all of the attention."""
    torch.manual_seed(0)
    tgt_out, tags = torch.full((2, 4), 7), range(10, 12)
    src = torch.tensor([[5, 6, 7, 10, 11, 2], [5, 10, 6, 7, 2, 0]])
    positions = SourceTags("symbols", tags, 2).relative_positions(src, torch.tensor([6, 5]))
    attention, is_tag = torch.rand(2, 4, 6).softmax(2), (src >= 10)[:, None].expand(2, 4, 6)
    expected = off_diagonal_cost(attention, positions, tgt_out, WIDTH)
    assert float(expected) > 0
    for share in (0.1, 1e-6):
        with_tags = torch.where(is_tag, (1 - share) / 2, share * attention)
        torch.testing.assert_close(
            off_diagonal_cost(with_tags, positions, tgt_out, WIDTH), expected, rtol=1e-4, atol=0.0
        )


@pytest.mark.parametrize("name", ["pre", "lstm", "gru, without input feeding, rotary"])
def test_the_weighted_cost_is_added_to_the_loss(name: str) -> None:
    model, batch = build((TRANSFORMERS | RECURRENT)[name]), batch_of(ALL)
    plain = CrossEntropy(CrossEntropyConfig())(model, batch, StepContext(0))
    guided = CrossEntropy(CrossEntropyConfig(guided_attention=0.7, guided_width=0.3))(model, batch, StepContext(0))
    output = model(batch, need_attention=True)
    assert output.attention is not None
    assert output.relative_src_positions is not None
    assert batch.tgt_out is not None
    cost = off_diagonal_cost(output.attention, output.relative_src_positions, batch.tgt_out, width=0.3).detach()
    assert 0 < float(cost) < float(plain.count)
    torch.testing.assert_close(guided.total, plain.total + 0.7 * cost)
    torch.testing.assert_close(guided.logs["strayed"], cost)


def test_a_width_without_guided_attention_is_refused() -> None:
    CrossEntropyConfig(guided_attention=1.0, guided_width=0.3)
    with pytest.raises(ValueError, match=r"`guided_width` \(0\.3\) has no effect without `guided_attention`"):
        CrossEntropyConfig(guided_width=0.3)
