"""Dropout: rate, expectation, training and evaluation modes."""

from contextlib import AbstractContextManager

import pytest
import torch

from seqlab.models import RecurrentConfig, TransformerConfig
from seqlab.nn.cpu.elementwise import random_bytes
from seqlab.nn.kernels import dropout
from seqlab.nn.layers import Dropout
from seqlab.training.accumulator import seeded


@pytest.mark.parametrize("p", [0.1, 0.3, 0.5, 0.9])
def test_dropout_rate_and_expected_value(p: float) -> None:
    torch.manual_seed(0)
    y = Dropout(p)(torch.ones(1000, 1001))
    rate = round(p * 256) / 256  # the nearest multiple of 1/256
    assert (y == 0).float().mean().item() == pytest.approx(rate, abs=2e-3)
    assert y.mean().item() == pytest.approx(1, abs=8e-3)
    assert len(y.unique()) == 2


def test_neighboring_elements_are_dropped_independently() -> None:
    torch.manual_seed(0)
    kept = (Dropout(0.5)(torch.ones(1_000_001)) > 0).float()
    for distance in (1, 2, 4, 7, 8, 64):
        assert torch.corrcoef(torch.stack([kept[distance:], kept[:-distance]]))[0, 1].abs() < 5e-3


def test_gradient_has_the_same_mask() -> None:
    x = torch.ones(100, 10, requires_grad=True)
    y = Dropout(0.4)(x)
    y.sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, y.detach())


def test_identity_in_evaluation_mode_and_for_p_zero() -> None:
    x = torch.randn(3, 4)
    assert Dropout(0.5).eval()(x) is x
    assert Dropout(0.0)(x) is x
    with pytest.raises(ValueError, match=r"must be in \[0, 1\), but is 1 instead"):
        Dropout(1)


@pytest.mark.parametrize("p", [1e-9, 0.001, 1 / 512])
def test_probabilities_that_round_to_zero_are_refused(p: float) -> None:
    message = r"drops nothing on the CPU, .*: the nearest values that work are 0 and 0\.00390625"
    for build in (
        lambda: Dropout(p),
        lambda: TransformerConfig(dropout=p),
        lambda: RecurrentConfig(family="lstm", weight_dropout=p),
    ):
        with pytest.raises(ValueError, match=message):
            build()
    assert (Dropout(0.00196)(torch.ones(100, 1000)) == 0).any()


def fixed_seed() -> AbstractContextManager[torch.Generator]:
    return seeded(7, torch.device("cpu"))


def test_seeded_contexts_nest() -> None:
    def draw() -> torch.Tensor:
        return random_bytes(torch.Size([100]))

    with fixed_seed():
        first, second = draw(), draw()
    with fixed_seed():
        assert torch.equal(draw(), first)
        with fixed_seed():
            assert torch.equal(draw(), first)
        assert torch.equal(draw(), second)


def test_masks_are_drawn_on_every_device() -> None:
    """Random bytes are used only on the CPU. Here, the meta device replaces a GPU."""
    on_cpu, on_meta = (dropout(torch.ones(3, 50, device=device), 0.5) for device in ("cpu", "meta"))
    assert set(on_cpu.unique().tolist()) == {0.0, 2.0}
    assert (on_meta.device.type, on_meta.shape) == ("meta", on_cpu.shape)
