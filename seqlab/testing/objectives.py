"""Check of objectives: sums over examples, whose division into batches changes nothing."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from seqlab.objectives import Loss, StepContext, TextSide
from seqlab.objectives.loss import COUNT_OF, check_loss, numbered
from seqlab.testing.assertions import explaining_errors, require, require_config, require_examples
from seqlab.testing.layouts import check_objective_layouts
from seqlab.testing.models import build
from seqlab.testing.random_examples import Examples

TOLERANCE = 1e-4
"""Relative difference of a sum over a batch and the sum of its parts."""


def check_objective(objective: Any, model: Any, examples: Examples, *, is_random: bool = False) -> None:
    """Check an objective with a model on a few examples; it sets the seed of torch's global generator.

    1. It returns a `Loss` of finite sums; `count` is above 0, and count, logs and carry have no gradient.
    2. The sum over a batch is the sum over its examples: total, count, logs and gradients, those of the parameters of
       the objective included. Then the division of a step into micro-steps and devices, and padding, do not change the
       training. A mean instead of a sum fails here.
    3. Without targets, total and count are 0.
    4. The same state of `StepContext.generator` gives the same loss.
    5. The loss of a text does not depend on the `text_layouts` that the objective and the model declare.

    Args:
        objective: config of the objective.
        model: config of a model that it fits.
        examples: examples of the model's data, such as `token_pairs()`.
        is_random: whether the loss draws random numbers or compares examples of a batch; then 2 and 5 are not checked.

    Raises:
        AssertionError: one of these does not hold; the message names it.
    """
    require_examples(examples)
    require_config(objective, "objective")
    require_config(model, "model")
    with explaining_errors(f"The objective of {type(objective).__name__}"):
        checked = _Objective(objective, build(model, examples), (TextSide(examples.src), TextSide(examples.tgt)))
        checked.check_repetition(examples.all())
        checked.check_without_targets(examples.all().without_targets())
        if not is_random:
            checked.check_sums(examples)
            check_objective_layouts(objective, model, checked.loss, examples.all())


@dataclass
class _Sums:
    """A loss and its gradients, by parameter."""

    loss: Loss
    gradients: dict[str, Tensor]


class _Objective:
    """An objective with its model."""

    def __init__(self, config: Any, model: nn.Module, sides: tuple[TextSide, TextSide]) -> None:
        self.model, self.sides = model.eval(), sides
        torch.manual_seed(0)
        self.function = config.build_for(model)
        self.modules = nn.ModuleDict({"model": model})
        if isinstance(self.function, nn.Module):
            self.modules["objective"] = self.function

    def sums(self, batch: Any, global_seed: int = 0) -> _Sums:
        """Compute the loss of a batch and its gradients, with the generator of the context in a fixed state."""
        torch.manual_seed(global_seed)
        self.modules.zero_grad()
        loss = self.loss(batch)
        require(not self.model.training, "The objective must not change the mode of the model (`train`, `eval`).")
        reached = [name for name, item in self.modules.named_parameters() if item.grad is not None]
        require(not reached, "The objective must not call `backward`: training does.")
        torch.stack([term.total for term in loss.terms]).sum().backward()
        gradients = {
            name: torch.zeros_like(item) if item.grad is None else item.grad.clone()
            for name, item in self.modules.named_parameters()
        }
        return _Sums(loss, gradients)

    def loss(self, batch: Any, carry: dict[str, Tensor] | None = None) -> Loss:
        """Compute the loss of a batch, with the generator of the context in a fixed state."""
        generator = torch.Generator().manual_seed(0)
        context = StepContext(step=0, generator=generator, carry=carry, sides=self.sides)
        loss: Loss = self.function(self.model, batch, context)
        _require_valid(loss)
        return loss

    def check_repetition(self, batch: Any) -> None:
        first, again = self.sums(batch), self.sums(batch, global_seed=1)
        require(
            torch.equal(first.loss.total, again.loss.total),
            "Two losses of a batch with the same `StepContext.generator` differ: draw all random numbers from it, and "
            "keep no state between calls.",
        )
        require(first.loss.count.item() > 0, "`count` must be the number of units of the loss, but is 0.")
        is_trained = any(bool((gradient != 0).any()) for gradient in first.gradients.values())
        require(is_trained, "The gradient of `total` is 0 for all parameters, so nothing would be trained.")

    def check_without_targets(self, batch: Any) -> None:
        sums = self.sums(batch)
        total, count = sums.loss.total.item(), sums.loss.count.item()
        require(
            total == count == 0, f"Without targets, `total` and `count` must be 0, but are {total:g} and {count:g}."
        )
        reached = [name for name, gradient in sums.gradients.items() if bool((gradient != 0).any())]
        require(not reached, f"Without targets there must be no gradient, but {', '.join(reached)} has one.")

    def check_sums(self, examples: Examples) -> None:
        """Compare the sums over a batch with those over its examples."""
        batch = self.sums(examples.all())
        rows = [self.sums(examples.collate([row])) for row in range(examples.count)]
        logs = {name for term in batch.loss.terms for name in term.logs}
        summed, parts = batch.loss.sums(), [row.loss.sums() for row in rows]
        names = {*summed, *(name for part in parts for name in part)}
        for name in sorted(names, key=lambda name: (name.startswith(COUNT_OF), name)):
            missing = [sums for sums in (summed, *parts) if name not in sums]
            require(not missing, f"The log `{name}` is missing for some batches: return 0 for them.")
            _require_sum(
                f"The log `{name}`" if name in logs else f"`{name}`", summed[name], [part[name] for part in parts]
            )
        largest = max(float(gradient.abs().max()) for gradient in batch.gradients.values())
        for name, gradient in batch.gradients.items():
            difference = float((gradient - torch.stack([row.gradients[name] for row in rows]).sum(0)).abs().max())
            message = f"The gradient of `{name}` for a batch differs from the sum over its examples by {difference:.3g}"
            require(difference <= TOLERANCE * largest, f"{message}.")


def _require_valid(loss: Any) -> None:
    """Raise AssertionError unless a loss consists of finite sums, and only `total` has a gradient."""
    try:
        check_loss(loss)
    except ValueError as error:
        raise AssertionError(str(error)) from None
    sums = loss.sums()
    totals = {numbered("total", index) for index in range(len(loss.terms))}
    for name in totals:
        dtype = sums[name].dtype
        require(dtype in (torch.float32, torch.float64), f"`{name}` must be a sum in fp32, but is {dtype}.")
    detached = {name: value for name, value in {**sums, **(loss.carry or {})}.items() if name not in totals}
    attached = [name for name, value in detached.items() if value.requires_grad]
    require(not attached, f"Count, logs and carry must be detached, but {', '.join(attached)} has a gradient.")
    for name, value in sums.items():
        require(bool(value.isfinite()), f"`{name}` must be finite, but is {value.item()}.")


def _require_sum(name: str, value: Tensor, parts: list[Tensor]) -> None:
    expected = torch.stack([part.double() for part in parts]).sum().item()
    is_sum = abs(value.item() - expected) <= TOLERANCE * max(1e-6, abs(expected))
    require(
        is_sum,
        f"{name} of a batch must be the sum over its examples, {expected:.6g}, but is {value.item():.6g}: return sums, "
        "never means.",
    )
