"""Every optimizer against its paper's update in numpy, in fp64, over several steps."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import nn

from seqlab.optim.config import AdamConfig, AdamWConfig, OptimizerConfig, RAdamConfig, SgdConfig
from seqlab.optim.optimizers import build_optimizer

Array = NDArray[np.float64]
STEPS = 8


def sgd(config: Any, w: Array, gradients: list[Array], decay: float) -> Array:
    velocity = np.zeros_like(w)
    for g in gradients:
        g = g + decay * w
        velocity = config.momentum * velocity + g
        w = w - config.lr * (g + config.momentum * velocity if config.nesterov else velocity)
    return w


def adam(config: Any, w: Array, gradients: list[Array], decay: float, decoupled: bool = False) -> Array:
    (b1, b2), m, v = config.betas, np.zeros_like(w), np.zeros_like(w)
    for t, g in enumerate(gradients, start=1):
        if decoupled:
            w = w - config.lr * decay * w
        else:
            g = g + decay * w
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
        w = w - config.lr * (m / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + config.eps)
    return w


def adamw(config: Any, w: Array, gradients: list[Array], decay: float) -> Array:
    return adam(config, w, gradients, decay, decoupled=True)


def radam(config: Any, w: Array, gradients: list[Array], decay: float) -> Array:
    """Algorithm 2 of Liu et al. 2020, where the rectified step needs a length of the average above 5 (as in torch)."""
    (b1, b2), m, v = config.betas, np.zeros_like(w), np.zeros_like(w)
    longest = 2 / (1 - b2) - 1
    for t, g in enumerate(gradients, start=1):
        w = w - config.lr * decay * w
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
        unbiased, length = m / (1 - b1**t), longest - 2 * t * b2**t / (1 - b2**t)
        if length > 5:
            rectified = (length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)
            step = np.sqrt(rectified) * np.sqrt(1 - b2**t) / (np.sqrt(v) + config.eps)
        else:
            step = 1.0
        w = w - config.lr * unbiased * step
    return w


@pytest.mark.parametrize("num_steps", [1, STEPS])
@pytest.mark.parametrize(
    ("config", "reference"),
    [
        (SgdConfig(lr=0.1, momentum=0.0), sgd),
        (SgdConfig(lr=0.1, momentum=0.9, weight_decay=0.1), sgd),
        (SgdConfig(lr=0.1, momentum=0.9, nesterov=True), sgd),
        (AdamConfig(lr=0.1), adam),
        (AdamConfig(lr=0.1, betas=(0.8, 0.9), eps=1e-3, weight_decay=0.1), adam),
        (AdamWConfig(lr=0.1, weight_decay=0.2), adamw),
        (RAdamConfig(lr=0.1, weight_decay=0.2), radam),
        (RAdamConfig(lr=0.1, betas=(0.5, 0.6)), radam),
    ],
)
def test_steps_are_those_of_the_paper(config: OptimizerConfig, reference: Callable[..., Array], num_steps: int) -> None:
    rng = np.random.default_rng(0)
    matrix, vector = rng.normal(size=(3, 4)), rng.normal(size=5)
    parameters = [nn.Parameter(torch.tensor(value)) for value in (matrix, vector)]
    optimizer = build_optimizer(config, parameters)
    gradients = [[rng.normal(size=p.shape) for p in parameters] for _ in range(num_steps)]
    for step in gradients:
        for parameter, gradient in zip(parameters, step, strict=True):
            parameter.grad = torch.tensor(gradient)
        optimizer.step()
    expected = reference(config, matrix, [step[0] for step in gradients], config.weight_decay)
    np.testing.assert_allclose(parameters[0].detach().numpy(), expected, rtol=1e-6)
    # Vectors (biases and norms) do not decay.
    expected = reference(config, vector, [step[1] for step in gradients], 0.0)
    np.testing.assert_allclose(parameters[1].detach().numpy(), expected, rtol=1e-6)


def test_the_rectified_step_is_among_those_tested() -> None:
    lengths = [2 / 0.02 - 1 - 2 * t * 0.98**t / (1 - 0.98**t) for t in range(1, STEPS + 1)]
    assert min(lengths) <= 5 < max(lengths)


def test_nesterov_needs_momentum() -> None:
    with pytest.raises(ValidationError, match="`nesterov` needs a `momentum` above 0"):
        SgdConfig(momentum=0, nesterov=True)
