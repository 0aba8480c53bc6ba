"""The public check of objectives refuses each of several wrong ones, naming what is wrong."""

from collections.abc import Callable
from dataclasses import dataclass as plain_dataclass
from typing import Any

import pytest
import torch

from seqlab.models import RecurrentConfig
from seqlab.objectives import (
    CrossEntropyConfig,
    Loss,
)
from seqlab.testing import (
    check_objective,
    token_pairs,
)

GRU = RecurrentConfig(family="gru", hidden_size=16)
Change = Callable[[Loss], Loss]


@plain_dataclass(frozen=True)
class Changed:
    """Config of cross entropy whose loss is changed."""

    change: Change

    def build(self) -> Callable[..., Loss]:
        correct = CrossEntropyConfig(label_smoothing=0.0).build()
        return lambda *arguments: self.change(correct(*arguments))

    def build_for(self, model: Any) -> Callable[..., Loss]:
        return self.build()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda loss: Loss(loss.total / loss.count.clamp_min(1), loss.count), "`total` of a batch must be the sum"),
        (lambda loss: Loss(loss.total, loss.count.clamp(max=1)), "`count` of a batch must be the sum"),
        (lambda loss: Loss(loss.total, loss.count, {"mean": (loss.total / 3).detach().sqrt()}), "The log `mean`"),
        (lambda loss: Loss(loss.total, loss.count, {"nll": loss.total}), "must be detached, but nll"),
        (lambda loss: Loss(loss.total + 1, loss.count), "Without targets, `total` and `count` must be 0"),
        (lambda loss: Loss(loss.total[None], loss.count), "must be a tensor without dimensions"),
        (lambda loss: Loss(loss.total.detach(), loss.count), "must be differentiable"),
        (lambda loss: Loss(loss.total * torch.inf, loss.count), "must be finite"),
        (lambda loss: Loss(loss.total * 0, loss.count), "is 0 for all parameters"),
        (lambda loss: Loss(loss.total, loss.count * loss.total.exp() ** 0), "must be detached, but count"),
        (lambda loss: Loss(loss.total.half(), loss.count), "must be a sum in fp32"),
        (lambda loss: Loss(loss.total, loss.count, {"n": loss.count} if loss.count < 3 else {}), "`n` is missing"),
        (lambda loss: Loss(loss.total, loss.count * 0), "but is 0"),
    ],
)
def test_wrong_objectives_are_refused(change: Change, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_objective(Changed(change), GRU, token_pairs())


class LearnedBias(torch.nn.Module):
    """Cross entropy with a parameter of its own, whose gradient is a mean over the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = torch.nn.Parameter(torch.zeros(()))
        self.correct = CrossEntropyConfig(label_smoothing=0.0).build()

    def forward(self, *arguments: Any) -> Loss:
        loss = self.correct(*arguments)
        return Loss(loss.total + self.bias * (loss.count > 0), loss.count)


@plain_dataclass(frozen=True)
class LearnedBiasConfig:
    def build(self) -> LearnedBias:
        return LearnedBias()

    def build_for(self, model: Any) -> LearnedBias:
        return self.build()


def test_gradients_of_an_objective_that_are_no_sums_are_refused() -> None:
    with pytest.raises(AssertionError, match=r"The gradient of `objective\.bias` for a batch differs"):
        check_objective(LearnedBiasConfig(), GRU, token_pairs())


def test_losses_that_draw_from_another_generator_are_refused() -> None:
    generator = torch.Generator().manual_seed(1)
    noisy = Changed(lambda loss: Loss(loss.total * (1 + torch.rand((), generator=generator)), loss.count))
    with pytest.raises(AssertionError, match=r"same `StepContext\.generator` differ"):
        check_objective(noisy, GRU, token_pairs())
