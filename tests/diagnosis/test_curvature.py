"""Gradient, Hessian-vector products and Hessian of a mean loss: analytic ones, and those of torch."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from reference.fixed_loss import fixed_loss
from torch import Tensor, nn
from torch.autograd.functional import hessian
from torch.func import functional_call

from seqlab.diagnosis.curvature import MeanLoss
from seqlab.objectives import Loss

N, D = 12, 4


@pytest.fixture
def inputs() -> Tensor:
    return torch.randn(N, D, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs[:, 0] - targets).square()


def log_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(outputs[:, 0], targets, reduction="none")


def test_linear_regression(inputs: Tensor) -> None:
    """The Hessian is 2 X^T X / N. In batches of five rows, the gradient and its standard error are those of groups."""
    model, targets = nn.Linear(D, 1, bias=False), inputs.sum(1).sin()
    loss = fixed_loss(model, inputs, targets, squared_error, rows_per_pass=5)
    torch.testing.assert_close(loss.hessian(), 2 * inputs.T @ inputs / N)
    residuals = inputs @ model.weight.detach()[0] - targets
    assert loss.losses().mean == pytest.approx(float(residuals.square().mean()))
    gradient, error = loss.gradient()
    torch.testing.assert_close(gradient, 2 * inputs.T @ residuals / N)
    sums = [2 * inputs[rows].T @ residuals[rows] - len(rows) * gradient for rows in torch.arange(N).split(5)]
    assert error == pytest.approx(float((torch.stack(sums).square().sum() * 3 / 2).sqrt() / N))
    assert loss.num_weights == D


def test_logistic_regression(inputs: Tensor) -> None:
    """The Hessian is X^T diag(p (1 - p)) X / N."""
    model = nn.Linear(D, 1, bias=False)
    loss = fixed_loss(model, inputs, (inputs[:, 0] > 0).double(), log_loss)
    probs = torch.sigmoid(inputs @ model.weight.detach()[0])
    expected = (inputs.T * (probs * (1 - probs))) @ inputs / N
    torch.testing.assert_close(loss.hessian(), expected)
    vector = torch.arange(1.0, D + 1, dtype=torch.float64)
    torch.testing.assert_close(loss.hessian_product(vector), expected @ vector)
    assert loss.curvature(vector).mean == pytest.approx(float(vector @ expected @ vector))


def test_products_equal_those_of_torch(inputs: Tensor) -> None:
    """Of torch.autograd.functional: `jacrev(jacrev(...))` of torch 2.13 is wrong for layer norms."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(D, 5), nn.Tanh(), nn.LayerNorm(5), nn.GELU(), nn.Linear(5, 3)).double()
    classes = torch.arange(N) % 3
    loss = fixed_loss(
        model, inputs, classes, lambda outputs, targets: F.cross_entropy(outputs, targets, reduction="none")
    )
    shapes = {name: parameter.shape for name, parameter in model.named_parameters()}

    def mean_loss(flat: Tensor) -> Tensor:
        parts = flat.split([shape.numel() for shape in shapes.values()])
        weights = {name: part.view(shape) for part, (name, shape) in zip(parts, shapes.items(), strict=True)}
        return F.cross_entropy(functional_call(model, weights, (inputs,)), classes)

    expected = hessian(mean_loss, nn.utils.parameters_to_vector(model.parameters()).detach())
    torch.testing.assert_close(loss.hessian(), expected)
    for vector in torch.randn(3, loss.num_weights, dtype=torch.float64):
        torch.testing.assert_close(loss.hessian_product(vector), expected @ vector)


def test_batches_of_rows_change_nothing(inputs: Tensor) -> None:
    model, targets = nn.Sequential(nn.Linear(D, 3), nn.Tanh(), nn.Linear(3, 1)), inputs.sum(1)
    one, many = (fixed_loss(model, inputs, targets, squared_error, rows_per_pass=size) for size in (N, 2))
    torch.testing.assert_close(one.gradient()[0], many.gradient()[0])
    torch.testing.assert_close(one.hessian(), many.hessian())
    assert one.losses().mean == pytest.approx(many.losses().mean)


def test_steps_are_undone_and_losses_at_a_step_are_those_of_moved_weights(inputs: Tensor) -> None:
    model = nn.Linear(D, 1, bias=False)
    loss = fixed_loss(model, inputs, inputs.sum(1), squared_error)
    before, step = loss.weights, torch.ones(D, dtype=torch.float64)
    expected = float((inputs @ (before + step) - inputs.sum(1)).square().mean())
    assert loss.losses(step).mean == pytest.approx(expected)
    assert torch.equal(loss.weights, before)


def test_frozen_rows_are_left_out(inputs: Tensor) -> None:
    """The Hessian is that of the remaining weights."""
    model = nn.Linear(D, 2, bias=False)
    complete = fixed_loss(model, inputs, inputs[:, :2], lambda outputs, targets: (outputs - targets).square().sum(1))
    mask = torch.ones_like(model.weight)
    mask[0] = 0
    complete.learner.accumulator.trained_row_masks = [(model.weight, mask)]
    loss = MeanLoss(complete.learner, complete.rows)
    assert loss.num_weights == D
    torch.testing.assert_close(loss.hessian(), complete.hessian()[D:, D:])
    with loss.moved(torch.ones(D, dtype=torch.float64)):
        moved = model.weight.detach().clone()
    torch.testing.assert_close(moved - model.weight.detach(), mask)


def test_each_term_is_divided_by_its_own_units(inputs: Tensor) -> None:
    """A term with twice as many units counts half; the number of units differs between batches."""
    model = nn.Linear(D, 1, bias=False)
    loss = fixed_loss(model, inputs, inputs.sum(1), squared_error)
    expected, hessian = loss.losses().mean, loss.hessian()

    def objective(model: nn.Module, batch: Any, context: Any) -> Loss:
        losses = squared_error(model(batch.src), batch.targets)
        return Loss(losses.sum(), torch.tensor(float(len(losses)))) + Loss(losses.sum(), 2.0 * batch.indices.sum())

    loss.learner.objective = objective
    found = MeanLoss(loss.learner, loss.rows, rows_per_pass=5)
    factor = 1 + N / (2 * np.arange(N).sum())
    assert found.losses().mean == pytest.approx(factor * expected)
    torch.testing.assert_close(found.hessian(), factor * hessian)


def test_rows_without_targets_and_models_without_weights_are_refused(inputs: Tensor) -> None:
    loss = fixed_loss(nn.Linear(D, 1), inputs, inputs.sum(1), squared_error)
    with pytest.raises(ValueError, match="has no units"):
        MeanLoss(loss.learner, [loss.rows[0].without_targets()])
    loss.learner.config.model = SimpleNamespace(family="counting")
    loss.learner.model.requires_grad_(False)
    with pytest.raises(ValueError, match="counting` has no weights that gradients train"):
        MeanLoss(loss.learner, loss.rows)


def test_layers_without_second_derivatives_are_named() -> None:
    """The gradient of `nn.EmbeddingBag` cannot be differentiated."""
    model = nn.EmbeddingBag(7, 1, mode="sum")
    ids = torch.arange(N)[:, None] % 7
    loss = fixed_loss(model, ids, ids[:, 0].double(), squared_error)
    with pytest.raises(
        ValueError, match=r"`model.family: test` has a layer without second derivatives: .*embedding_bag"
    ):
        loss.hessian_product(loss.weights)
