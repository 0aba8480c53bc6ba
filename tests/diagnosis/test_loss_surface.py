"""Minimum, saddle and slope; escape from a saddle; slices and paths."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from reference.fixed_loss import fixed_loss
from torch import Tensor, nn

from seqlab.data.batch import batch_of_arrays
from seqlab.diagnosis.curvature import MeanLoss
from seqlab.diagnosis.loss_surface import analyze_point, find_spectrum, search_line, two_samples
from seqlab.diagnosis.slices import (
    Direction,
    eigenvector_directions,
    interpolate,
    random_directions,
    slice_line,
    slice_plane,
)

INPUTS = torch.linspace(-2, 2, 24, dtype=torch.float64)[:, None]
TARGETS = 0.5 * (3 * INPUTS).tanh()[:, 0] + 0.5 * (3 * INPUTS - 4).tanh()[:, 0]
"""Two stairs: two hidden units with different biases fit them, two equal units do not."""


def squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs[:, 0] - targets).square()


def network(first: list[list[float]], second: list[float]) -> MeanLoss:
    """Return the loss of a network of two tanh units: weights and biases of the hidden layer, weights of the output."""
    model = nn.Sequential(nn.Linear(1, 2), nn.Tanh(), nn.Linear(2, 1, bias=False)).double()
    weights, biases = torch.tensor(first).T.double()
    model[0].weight.data, model[0].bias.data = weights[:, None].clone(), biases.clone()
    model[2].weight.data = torch.tensor([second]).double()
    return fixed_loss(model, INPUTS, TARGETS, squared_error, rows_per_pass=12)


def descend(loss: MeanLoss, steps: int = 100) -> None:
    """Minimize by L-BFGS, which keeps equal units equal."""
    optimizer = torch.optim.LBFGS(loss.parameters, max_iter=steps, line_search_fn="strong_wolfe", tolerance_change=0)

    def closure() -> float:
        for parameter, part in zip(loss.parameters, loss.split(loss.gradient()[0]), strict=True):
            parameter.grad = part.clone()
        return loss.losses().mean

    optimizer.step(closure)


@pytest.fixture(scope="module")
def saddle() -> MeanLoss:
    """Two equal units have equal gradients: descent ends where only a difference lowers the loss."""
    loss = network([[1.0, 0.3], [1.0, 0.3]], [0.5, 0.5])
    descend(loss)
    return loss


def test_equal_units_end_at_a_saddle_that_the_lowest_eigenvector_leaves(saddle: MeanLoss) -> None:
    point = analyze_point(saddle)
    assert point.kind == "saddle"
    assert point.gradient_norm < 1e-3
    assert point.spectrum.lowest.value < -1e-3
    biases = point.escape.vector[2:4]  # those of the two units move apart
    assert float(biases[0]) == pytest.approx(-float(biases[1])) != 0
    assert point.descent.gain < point.escape.gain == point.escape.decrease
    with saddle.moved(point.escape.vector):
        assert saddle.losses().mean == pytest.approx(point.loss - point.escape.decrease)
        descend(saddle)
        assert saddle.losses().mean < 0.1 * point.loss


def test_lanczos_finds_the_same_saddle(saddle: MeanLoss) -> None:
    exact, found = find_spectrum(saddle), find_spectrum(saddle, max_exact_weights=0)
    assert (exact.is_exact, found.is_exact) == (True, False)
    assert found.lowest.value == pytest.approx(exact.lowest.value, abs=1e-8)
    assert found.highest.value == pytest.approx(exact.highest.value)


def test_a_fitted_line_is_a_minimum_and_other_weights_are_a_slope() -> None:
    model = nn.Linear(1, 1)
    loss = fixed_loss(model, INPUTS, 3 * INPUTS[:, 0] + INPUTS[:, 0].sin(), squared_error, rows_per_pass=12)
    assert analyze_point(loss).kind == "slope"
    descend(loss)
    point = analyze_point(loss)
    assert (point.kind, point.spectrum.minimum_ratio) == ("minimum", 1)
    assert point.escape.gain == 0


def test_a_negative_curvature_of_a_few_rows_only_is_no_saddle(saddle: MeanLoss) -> None:
    """Other rows, on which the curvature is positive, contradict it."""
    targets = saddle.learner.model(INPUTS).detach()[:, 0]  # the network is at the minimum of these rows
    other = fixed_loss(saddle.learner.model, INPUTS, targets, squared_error, rows_per_pass=12)
    point = analyze_point(saddle, other)
    assert point.kind == "unresolved"
    assert point.escape.gain == 0 > (point.escape.other_decrease or 0)


def test_the_best_step_of_a_quadratic_is_near_its_minimum() -> None:
    """Lengths double, so that the loss is at most that of a step of the wrong length by a factor of the root of 2."""
    loss = fixed_loss(
        nn.Linear(1, 1, bias=False), torch.ones(2, 1, dtype=torch.float64), torch.full((2,), 5.0), squared_error
    )
    before = loss.losses().mean
    step = search_line(loss, torch.tensor([1.0], dtype=torch.float64))
    assert step.decrease > before * (1 - (math.sqrt(2) - 1) ** 2) or step.relative_length == pytest.approx(0.8192)
    assert search_line(loss, torch.tensor([-1.0], dtype=torch.float64)).decrease == step.decrease


def test_samples_are_disjoint(saddle: MeanLoss) -> None:
    first, second = two_samples(saddle.rows, 8)
    numbers = [set(torch.cat([batch.indices for batch in rows]).tolist()) for rows in (first, second)]
    assert (len(numbers[0]), len(numbers[1]), numbers[0] & numbers[1]) == (8, 8, set())


def test_samples_are_groups_of_rows_of_one_batch() -> None:
    """Each batch of a sample takes a forward pass of its own: 60 rows of 100 batches must not take 60."""
    rows = [
        batch_of_arrays(
            np.zeros((20, 1, 2), np.float32), np.zeros(20, np.int64), np.arange(20 * number, 20 * number + 20)
        )
        for number in range(100)
    ]
    samples = two_samples(rows, 60)
    numbers = [torch.cat([batch.indices for batch in sample]).tolist() for sample in samples]
    assert [len(set(each)) for each in (*numbers, [*numbers[0], *numbers[1]])] == [60, 60, 120]
    assert all(6 <= len(sample) <= 16 for sample in samples)
    for count, expected in {1999: [1000, 1000], 2000: [2000, 0]}.items():
        assert [sum(len(batch.indices) for batch in sample) for sample in two_samples(rows, count)] == expected
    assert two_samples([], 60) == ([], [])  # a task without validation rows


def test_random_directions_have_the_norms_of_filters(saddle: MeanLoss) -> None:
    """Also after the hidden layer is scaled; biases do not move."""
    for direction in random_directions(saddle):
        first, bias, second = saddle.split(direction.vector)
        weights = saddle.split(saddle.weights)
        torch.testing.assert_close(first.abs(), weights[0].abs())  # rows of one weight
        torch.testing.assert_close(second.norm(), weights[2].norm())
        assert not bias.any()


def test_slices_have_the_losses_of_their_points(saddle: MeanLoss) -> None:
    x, y = eigenvector_directions(saddle, find_spectrum(saddle))
    line = slice_line(saddle, x, 5)
    assert line.positions == [-1, -0.5, 0, 0.5, 1]
    assert line.losses[2] == pytest.approx(saddle.losses().mean)
    assert line.losses[3] == pytest.approx(saddle.losses(0.5 * x.vector).mean)
    plane = slice_plane(saddle, x, y, 3)
    assert plane.losses[2][0] == pytest.approx(saddle.losses(y.vector - x.vector).mean)
    assert plane.losses[1][1] < plane.losses[0][1]  # upwards along the highest eigenvector
    assert min(slice_line(saddle, x, 41).losses) < line.losses[2]  # downwards along the lowest


def test_two_solutions_with_exchanged_units_have_a_barrier() -> None:
    """Both fit perfectly; halfway the units are equal, which cannot fit."""
    loss = network([[3.0, 0.0], [3.0, -4.0]], [0.5, 0.5])
    learner: Any = loss.learner
    learner.bench.folder = SimpleNamespace(path=Path("runs/first"))
    learner.state = lambda: {name: p.detach().clone() for name, p in learner.model.named_parameters()}
    start = learner.state()
    other = {**start, "0.bias": start["0.bias"].flip(0)}
    path = interpolate(learner, other, loss, 5)
    assert path.positions == [0, 0.25, 0.5, 0.75, 1]
    assert path.losses[0] == pytest.approx(0, abs=1e-12)
    assert path.losses[-1] == pytest.approx(0, abs=1e-12)
    halfway = float(((3 * INPUTS[:, 0] - 2).tanh() - TARGETS).square().mean())
    assert (path.barrier, path.barrier_position) == (pytest.approx(halfway), 0.5)
    assert path.distance == pytest.approx(math.sqrt(2 * 4**2))
    assert all(torch.equal(value, learner.state()[name]) for name, value in start.items())
    with pytest.raises(ValueError, match=r"`0.bias` is \(2,\) in runs/first, but missing in the other run"):
        interpolate(learner, {name: value for name, value in other.items() if name != "0.bias"}, loss, 5)


def test_the_zero_direction_is_no_step() -> None:
    loss = fixed_loss(nn.Linear(1, 1), INPUTS, TARGETS, squared_error)
    step = search_line(loss, torch.zeros(2, dtype=torch.float64))
    assert (step.decrease, step.relative_length) == (0, 0)
    line = slice_line(loss, Direction("none", step.vector), 3)
    assert np.ptp(line.losses) == 0
