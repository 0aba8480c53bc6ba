"""Weight averages against numpy: mean of checkpoints, exponential moving average, running mean; stalled losses."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from seqlab.optim.averaging import MovingAverage, RunningMean, is_stalled, mean_of_weights


def random_weights(seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {"a": torch.randn(3, 4, generator=generator), "b": torch.randn(5, generator=generator)}


@pytest.mark.parametrize("count", [1, 2, 7])
def test_mean_of_weights_equals_numpy(count: int) -> None:
    members = [random_weights(seed) for seed in range(count)]
    before = [{name: value.clone() for name, value in member.items()} for member in members]
    mean = mean_of_weights(iter(members))
    for name in ("a", "b"):
        expected = np.mean([member[name].double().numpy() for member in before], axis=0).astype(np.float32)
        np.testing.assert_array_equal(mean[name].numpy(), expected)
        assert mean[name].dtype == torch.float32
        assert all(torch.equal(member[name], old[name]) for member, old in zip(members, before, strict=True))


def test_mean_of_equal_weights_is_exact() -> None:
    equal = random_weights(0)
    assert all(torch.equal(value, equal[name]) for name, value in mean_of_weights([equal] * 3).items())


def test_mean_of_no_weights_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one set of weights"):
        mean_of_weights([])


@pytest.mark.parametrize("decay", [0.05, 0.5, 0.9])
def test_moving_average_equals_numpy(decay: float) -> None:
    start = random_weights(0)
    average = MovingAverage(start, decay)
    expected = {name: value.double().numpy() for name, value in start.items()}
    for step in range(30):
        current = random_weights(step + 1)
        average.update(current, step)
        effective_decay = min(decay, (1 + step) / (10 + step))
        expected = {
            name: effective_decay * expected[name] + (1 - effective_decay) * current[name].double().numpy()
            for name in expected
        }
        for name, value in average.weights.items():
            np.testing.assert_allclose(value.numpy(), expected[name], rtol=1e-4, atol=1e-6)
    # The initial weights are not modified.
    assert all(torch.equal(start[name], value) for name, value in random_weights(0).items())


def test_running_mean_starts_at_its_first_step() -> None:
    average = RunningMean(random_weights(0), first_step=7)
    assert all(torch.equal(average.weights[name], value) for name, value in random_weights(0).items())
    members = [random_weights(seed) for seed in range(1, 6)]
    for step, member in enumerate(members, start=7):
        average.update(member, step)
    for name, value in average.weights.items():
        expected = np.mean([member[name].double().numpy() for member in members], axis=0)
        np.testing.assert_allclose(value.numpy(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("losses", "patience", "stalled"),
    [
        ([3.0], 2, False),
        ([3.0, 3.5, 3.5], 2, False),  # too few validations
        ([3.0, 3.5, 3.5, 3.1], 2, True),
        ([3.0, 2.0, 2.5, 2.9], 2, False),  # 2.0 is lower, but too recent
        ([3.0, 2.0, 2.5, 2.9, 2.1], 2, True),
        ([3.0, 2.9, 2.8, 2.7, 2.6], 1, False),
        ([math.nan, 3.0, 3.5, math.nan, 3.5, -math.inf, 3.1], 2, True),  # NaN and infinity are left out
        ([-math.inf, 3.0, 2.9, 2.8, 2.7], 1, False),
        ([3.0, 2.0, 2.5, 2.9, 2.1, math.inf], 2, False),
    ],
)
def test_is_stalled_compares_with_losses_more_than_patience_validations_ago(
    losses: list[float], patience: int, stalled: bool
) -> None:
    assert is_stalled(losses, patience) == stalled
