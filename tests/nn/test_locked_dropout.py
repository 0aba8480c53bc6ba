"""Locked (variational) dropout with one mask per sequence, and embedding dropout of vocabulary entries."""

import pytest
import torch
import torch.nn.functional as F

from seqlab.nn.layers import EmbeddingDropout, LockedDropout
from seqlab.training.accumulator import seeded


@pytest.mark.parametrize("time_dim", [0, 1])
def test_mask_is_constant_over_time_and_differs_between_sequences(time_dim: int) -> None:
    torch.manual_seed(0)
    y = LockedDropout(0.25, time_dim)(torch.ones(50, 60, 70)).movedim(time_dim, 0)
    assert torch.equal(y, y[:1].expand_as(y))
    assert y.unique().tolist() == pytest.approx([0, 4 / 3])
    mask = (y[0] > 0).float()  # (sequences, features)
    assert mask.mean().item() == pytest.approx(0.75, abs=0.03)
    correlation = torch.corrcoef(torch.stack((mask[1:].flatten(), mask[:-1].flatten())))
    assert correlation[0, 1].abs() < 0.06


def test_gradient_has_the_same_mask() -> None:
    x = torch.ones(4, 5, 6, requires_grad=True)
    y = LockedDropout(0.5)(x)
    y.sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, y.detach())


def test_embedding_dropout_equals_dropping_rows_of_the_matrix() -> None:
    torch.manual_seed(0)
    weight, ids = torch.randn(200, 3), torch.randint(0, 200, (30, 40))
    module = EmbeddingDropout(0.5, 200)
    with seeded(1, torch.device("cpu")):
        y = module(F.embedding(ids, weight), ids)
    with seeded(1, torch.device("cpu")):
        rows = module(weight, torch.arange(200))  # masks the rows of the matrix itself
    torch.testing.assert_close(y, F.embedding(ids, rows))
    is_dropped = (rows == 0).all(1)
    torch.testing.assert_close(rows[~is_dropped], weight[~is_dropped] * 2)
    assert is_dropped.float().mean().item() == pytest.approx(0.5, abs=0.1)


def test_identity_in_evaluation_mode_and_for_p_zero() -> None:
    x, ids = torch.randn(3, 4, 5), torch.zeros(3, 4, dtype=torch.int64)
    assert LockedDropout(0.5).eval()(x) is x
    assert LockedDropout(0.0)(x) is x
    assert EmbeddingDropout(0.5, 7).eval()(x, ids) is x
    assert EmbeddingDropout(0.0, 7)(x, ids) is x
    with pytest.raises(ValueError, match=r"must be in \[0, 1\), but is -0.1 instead"):
        EmbeddingDropout(-0.1, 7)
