"""Optimizers against the updates of their papers, computed with numpy in fp64 over several steps."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

import seqlab.optim.muon
from seqlab.optim import (
    AdagradConfig,
    AdamConfig,
    AdamWConfig,
    MuonConfig,
    OptimizerConfig,
    Parameters,
    RAdamConfig,
    RmspropConfig,
    SamConfig,
    ScheduleFreeConfig,
    SgdConfig,
)

Array = NDArray[np.float64]
NUM_STEPS = 8


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
    """Algorithm 2 of Liu et al. 2020; updates are rectified above a length of 5, as in torch."""
    (b1, b2), m, v = config.betas, np.zeros_like(w), np.zeros_like(w)
    max_length = 2 / (1 - b2) - 1
    for t, g in enumerate(gradients, start=1):
        w = w - config.lr * decay * w
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
        unbiased, length = m / (1 - b1**t), max_length - 2 * t * b2**t / (1 - b2**t)
        if length > 5:
            rectified = (length - 4) * (length - 2) * max_length / ((max_length - 4) * (max_length - 2) * length)
            step = np.sqrt(rectified) * np.sqrt(1 - b2**t) / (np.sqrt(v) + config.eps)
        else:
            step = 1.0
        w = w - config.lr * unbiased * step
    return w


def adagrad(config: Any, w: Array, gradients: list[Array], decay: float) -> Array:
    total = np.zeros_like(w)
    for g in gradients:
        g = g + decay * w
        total = total + g**2
        w = w - config.lr * g / (np.sqrt(total) + config.eps)
    return w


def rmsprop(config: Any, w: Array, gradients: list[Array], decay: float) -> Array:
    average, velocity = np.zeros_like(w), np.zeros_like(w)
    for g in gradients:
        g = g + decay * w
        average = config.decay * average + (1 - config.decay) * g**2
        velocity = config.momentum * velocity + g / (np.sqrt(average) + config.eps)
        w = w - config.lr * velocity
    return w


def schedule_free(config: Any, w: Array, gradients: list[Array], decay: float) -> Array:
    """Algorithm 1 of Defazio et al. 2024 with Adam's scaling; returns y, where the next gradient is computed."""
    (b1, b2), z, x, v = config.betas, w, w, np.zeros_like(w)
    for t, g in enumerate(gradients, start=1):
        v = b2 * v + (1 - b2) * g**2
        z = z - config.lr * (g / (np.sqrt(v / (1 - b2**t)) + config.eps) + decay * w)
        x = (1 - 1 / t) * x + z / t
        w = (1 - b1) * z + b1 * x
    return w


@pytest.mark.parametrize("num_steps", [1, NUM_STEPS])
@pytest.mark.parametrize(
    ("config", "reference"),
    [
        (AdagradConfig(lr=0.1), adagrad),
        (AdagradConfig(lr=0.1, weight_decay=0.1, eps=1e-3), adagrad),
        (RmspropConfig(lr=0.1), rmsprop),
        (RmspropConfig(lr=0.1, decay=0.8, momentum=0.7, weight_decay=0.1), rmsprop),
        (ScheduleFreeConfig(lr=0.1, weight_decay=0.1), schedule_free),
        (ScheduleFreeConfig(lr=0.1, betas=(0.5, 0.8), eps=1e-3), schedule_free),
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
def test_updates_equal_the_paper(config: OptimizerConfig, reference: Callable[..., Array], num_steps: int) -> None:
    rng = np.random.default_rng(0)
    matrix, vector = rng.normal(size=(3, 4)), rng.normal(size=5)
    parameters = [nn.Parameter(torch.tensor(value)) for value in (matrix, vector)]
    optimizer = config.build(Parameters(parameters))
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


def test_radam_tests_include_rectified_and_plain_updates() -> None:
    lengths = [2 / 0.02 - 1 - 2 * t * 0.98**t / (1 - 0.98**t) for t in range(1, NUM_STEPS + 1)]
    assert min(lengths) <= 5 < max(lengths)


def test_nesterov_needs_momentum() -> None:
    with pytest.raises(ValueError, match="`nesterov` needs a `momentum` above 0"):
        SgdConfig(momentum=0, nesterov=True)


def orthogonal(matrix: Array) -> Array:
    """Return U V^T of the singular value decomposition."""
    left, _, right = np.linalg.svd(matrix, full_matrices=False)
    return left @ right


def test_muon_orthogonalizes_updates_of_matrices_and_uses_adamw_for_the_rest() -> None:
    """Orthogonalization is approximate: singular values are between 0.5 and 1.5 (Jordan et al. 2024)."""
    rng = np.random.default_rng(0)
    config = MuonConfig(lr=0.1, weight_decay=0.2)
    matrix, embedding = (nn.Parameter(torch.tensor(rng.normal(size=(6, 4)), dtype=torch.float32)) for _ in range(2))
    bias = nn.Parameter(torch.tensor(rng.normal(size=3), dtype=torch.float32))
    optimizer = config.build(Parameters([matrix, embedding, bias], hidden_matrices=[matrix]))
    gradients = [[rng.normal(size=p.shape) for p in (matrix, embedding, bias)] for _ in range(3)]
    w, start, velocity = matrix.detach().double().numpy(), embedding.detach().double().numpy(), np.zeros((6, 4))
    first_bias = bias.detach().double().numpy()
    for step in gradients:
        for parameter, gradient in zip((matrix, embedding, bias), step, strict=True):
            parameter.grad = torch.tensor(gradient, dtype=torch.float32)
        optimizer.step()
        velocity = config.momentum * velocity + (1 - config.momentum) * step[0]
        nesterov = (1 - config.momentum) * step[0] + config.momentum * velocity
        moved = matrix.detach().double().numpy() - w * (1 - config.lr * config.weight_decay)
        scale = config.lr * 0.2 * np.sqrt(6)  # matches the RMS of AdamW's updates
        values = np.linalg.svd(moved / scale, compute_uv=False)
        assert 0.4 < values.min() <= values.max() < 1.6
        cosine = -(moved * orthogonal(nesterov)).sum() / np.linalg.norm(moved) / np.linalg.norm(orthogonal(nesterov))
        assert cosine > 0.95
        w = matrix.detach().double().numpy()
    expected = adamw(config, start, [step[1] for step in gradients], config.weight_decay)
    np.testing.assert_allclose(embedding.detach().numpy(), expected, rtol=1e-4)
    expected = adamw(config, first_bias, [step[2] for step in gradients], 0.0)
    np.testing.assert_allclose(bias.detach().numpy(), expected, rtol=1e-4)


def test_muon_in_fp32_is_close_to_torch_in_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    """seqlab uses fp32 on CPUs without bf16. bf16 has 8 bits of precision."""
    rng = np.random.default_rng(2)
    start, gradients = rng.normal(size=(24, 9)), rng.normal(size=(3, 24, 9))
    moved = []
    for has_bf16 in (True, False):
        monkeypatch.setattr(seqlab.optim.muon, "HAS_BF16", has_bf16)
        matrix = nn.Parameter(torch.tensor(start, dtype=torch.float32))
        optimizer = MuonConfig(lr=0.1, weight_decay=0.2).build(Parameters([matrix], hidden_matrices=[matrix]))
        for gradient in gradients:
            matrix.grad = torch.tensor(gradient, dtype=torch.float32)
            optimizer.step()
        moved.append((matrix.detach() - torch.tensor(start)).numpy())
    assert np.linalg.norm(moved[0] - moved[1]) < 0.03 * np.linalg.norm(moved[0])


def test_muon_resumes_exactly_from_its_saved_state() -> None:
    def make() -> tuple[list[nn.Parameter], torch.optim.Optimizer]:
        torch.manual_seed(1)
        parameters = [nn.Parameter(torch.randn(4, 4)), nn.Parameter(torch.randn(4))]
        return parameters, MuonConfig(lr=0.1).build(Parameters(parameters, hidden_matrices=parameters[:1]))

    def step(parameters: list[nn.Parameter], optimizer: torch.optim.Optimizer, seed: int) -> None:
        torch.manual_seed(seed)
        for parameter in parameters:
            parameter.grad = torch.randn_like(parameter)
        optimizer.step()

    parameters, optimizer = make()
    step(parameters, optimizer, 2)
    resumed_parameters, resumed = make()
    for one, two in zip(resumed_parameters, parameters, strict=True):
        one.data.copy_(two.data)
    resumed.load_state_dict(deepcopy(optimizer.state_dict()))  # without a copy, torch shares the tensors
    for group in (*optimizer.param_groups, *resumed.param_groups):
        group["lr"] = 0.05
    for seed in (3, 4):
        step(parameters, optimizer, seed)
        step(resumed_parameters, resumed, seed)
    assert all(torch.equal(one, two) for one, two in zip(resumed_parameters, parameters, strict=True))


def test_sam_uses_the_gradient_at_perturbed_weights() -> None:
    """On a quadratic loss: AdamW with the gradient at w + rho g / |g|, where |g| is the norm over both tensors."""
    config = SamConfig(lr=0.1, rho=0.3, weight_decay=0.1)
    rng = np.random.default_rng(1)
    scales = [rng.uniform(0.5, 3, (3, 4)), rng.uniform(0.5, 3, 5)]
    weights = [rng.normal(size=(3, 4)), rng.normal(size=5)]
    parameters = [nn.Parameter(torch.tensor(value)) for value in weights]
    optimizer: Any = config.build(Parameters(parameters))
    used_gradients: list[list[Array]] = [[], []]
    points: list[list[Array]] = []

    def gradient() -> torch.Tensor:
        points.append([p.detach().numpy().copy() for p in parameters])
        for p, scale in zip(parameters, scales, strict=True):
            p.grad = torch.tensor(scale) * p.detach()
        return nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])

    for _ in range(3):
        optimizer.update(gradient)
        before, perturbed = points[-2:]
        gradients = [scale * w for scale, w in zip(scales, before, strict=True)]
        norm = np.sqrt(sum((g**2).sum() for g in gradients))
        for number, (w, g, w_perturbed) in enumerate(zip(before, gradients, perturbed, strict=True)):
            np.testing.assert_allclose(w_perturbed, w + 0.3 * g / norm, rtol=1e-6)
            used_gradients[number].append(scales[number] * w_perturbed)
    assert len(points) == 6
    for p, w, gradients, decay in zip(parameters, weights, used_gradients, (0.1, 0.0), strict=True):
        np.testing.assert_allclose(p.detach().numpy(), adamw(config, w, gradients, decay), rtol=1e-5)
