"""Check of objectives: sums over examples, whose division into batches changes nothing."""

from typing import Any

import torch
from torch import Tensor, nn

from seqlab.objectives import Loss, StepContext
from seqlab.objectives.loss import check_loss
from seqlab.testing.examples import Examples
from seqlab.testing.models import build

TOLERANCE = 1e-4
"""Relative difference of a sum over a batch and the sum of its parts."""


def check_objective(objective: Any, model: Any, examples: Examples, *, is_random: bool = False) -> None:
    """Check an objective with a model on a few examples.

    1. It returns a `Loss` of finite sums; `count` is above 0 and the logs have no gradient.
    2. The sum over a batch is the sum over its examples: total, count, logs and gradients. Then the division of a step
       into micro-steps and devices, and padding, do not change the training. A mean instead of a sum fails here.
    3. Without targets, total and count are 0.
    4. The same state of the random generator gives the same loss.

    Args:
        objective: config of the objective.
        model: config of a model that it fits.
        examples: examples of the model's data, such as `token_pairs()`.
        is_random: whether the loss draws random numbers or compares examples of a batch; then 2 is not checked.

    Raises:
        AssertionError: one of these does not hold; the message names it.
    """
    module, function = build(model, examples), objective.build()
    loss, gradients = _loss(function, module, examples.all())
    again, _ = _loss(function, module, examples.all())
    assert torch.equal(again.total, loss.total), (
        "Two losses with the same state of the generator differ: draw from `StepContext.generator`."
    )
    assert loss.count.item() > 0, "`count` must be the number of units of the loss, but is 0."
    _check_idle(function, module, examples)
    if is_random:
        return
    parts = [_loss(function, module, examples.collate([row])) for row in range(examples.count)]
    _assert_sum("total", loss.total, [part.total for part, _ in parts])
    _assert_sum("count", loss.count, [part.count for part, _ in parts])
    for name, value in loss.logs.items():
        _assert_sum(f"the log `{name}`", value, [part.logs[name] for part, _ in parts])
    largest = max(float(gradient.abs().max()) for gradient in gradients.values())
    for name, gradient in gradients.items():
        total = torch.stack([part[name] for _, part in parts]).sum(0)
        difference = float((gradient - total).abs().max())
        assert difference <= TOLERANCE * largest, (
            f"The gradient of `{name}` for a batch differs from the sum over its examples by {difference:.3g}."
        )


def _loss(function: Any, module: nn.Module, batch: Any) -> tuple[Loss, dict[str, Tensor]]:
    """Return the loss of a batch and its gradients, with a generator in a fixed state."""
    torch.manual_seed(0)
    module.zero_grad()
    loss = function(module, batch, StepContext(step=0, generator=torch.default_generator))
    try:
        check_loss(loss)
    except ValueError as error:
        raise AssertionError(str(error)) from None
    assert loss.total.requires_grad, "`total` must be differentiable, but has no gradient."
    attached = [name for name, value in loss.logs.items() if value.requires_grad]
    assert not attached, f"Logs must be detached, but {', '.join(attached)} has a gradient."
    assert bool(loss.total.isfinite()), f"`total` must be finite, but is {loss.total.item()}."
    loss.total.backward()
    return loss, {
        name: torch.zeros_like(item) if item.grad is None else item.grad.clone()
        for name, item in module.named_parameters()
    }


def _check_idle(function: Any, module: nn.Module, examples: Examples) -> None:
    loss, gradients = _loss(function, module, examples.all().without_targets())
    assert loss.total.item() == loss.count.item() == 0, (
        f"Without targets, `total` and `count` must be 0, but are {loss.total.item():g} and {loss.count.item():g}."
    )
    reached = [name for name, gradient in gradients.items() if bool((gradient != 0).any())]
    assert not reached, f"Without targets there must be no gradient, but {', '.join(reached)} has one."


def _assert_sum(name: str, value: Tensor, parts: list[Tensor]) -> None:
    expected = torch.stack([part.double() for part in parts]).sum()
    assert abs(value.item() - expected.item()) <= TOLERANCE * max(1e-6, abs(expected.item())), (
        f"{name} of a batch must be the sum over its examples, {expected.item():.6g}, but is {value.item():.6g}: "
        "return sums, never means."
    )
