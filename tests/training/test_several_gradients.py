"""Optimizers that compute gradients at several points in a step."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from reference.tiny_models import make_batch, make_model
from torch import Tensor, nn

from seqlab.objectives import CrossEntropy, CrossEntropyConfig, Loss, StepContext
from seqlab.optim import Parameters, SamConfig
from seqlab.training.accumulator import Accumulator
from seqlab.training.device_context import DeviceContext
from seqlab.training.update import NonFiniteUpdate, update

DEVICE_CONTEXT = DeviceContext(torch.device("cpu"), torch.float32)


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters()}


class TwoPointSgd(torch.optim.SGD):
    """SGD with the mean of the gradients at the weights and at half the weights."""

    @torch.no_grad()  # as of torch's `step`
    def update(self, closure: Callable[[], Tensor]) -> None:
        closure()
        parameters = [p for group in self.param_groups for p in group["params"]]
        first = [(p.detach().clone(), p.grad.clone()) for p in parameters]
        for p in parameters:
            p.data.mul_(0.5)
        closure()
        for p, (weight, gradient) in zip(parameters, first, strict=True):
            p.data.copy_(weight)
            p.grad.add_(gradient).mul_(0.5)
        self.step()


def test_optimizers_can_compute_gradients_at_several_points() -> None:
    """Each gradient is clipped and normalized as in a separate step, with the same dropout masks."""
    batches = [make_batch([(3, 4), (2, 2)], seed=seed) for seed in range(2)]
    weights = []
    for uses_closure in (True, False):
        model = make_model(dropout=0.3).train()
        accumulator = Accumulator(model, CrossEntropy(CrossEntropyConfig()), DEVICE_CONTEXT, 1)
        parameters = list(accumulator.parameters)
        if uses_closure:
            optimizer = TwoPointSgd(parameters, lr=0.1)
            update(accumulator, optimizer, batches, StepContext(3), 0.1, 0.5)
        else:
            start, found = [p.detach().clone() for p in parameters], []
            for factor in (1.0, 0.5):
                for p, value in zip(parameters, start, strict=True):
                    p.data.copy_(factor * value)
                plain = torch.optim.SGD(parameters, lr=1.0)
                before = [p.detach().clone() for p in parameters]
                update(accumulator, plain, batches, StepContext(3), 1.0, 0.5)
                found.append([old - p.detach() for old, p in zip(before, parameters, strict=True)])
            for p, value, *gradients in zip(parameters, start, *found, strict=True):
                p.data.copy_(value - 0.1 * sum(gradients) / 2)
        weights.append(weights_of(model))
    for name, value in weights[0].items():
        torch.testing.assert_close(value, weights[1][name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("fails_at", [1, 2])
def test_a_failure_in_any_pass_changes_no_weight(fails_at: int) -> None:
    model, batch = make_model(), make_batch([(3, 4)])
    passes = []

    def objective(*arguments: object) -> Loss:
        loss = CrossEntropy(CrossEntropyConfig())(*arguments)
        passes.append(loss)
        return replace(loss, total=loss.total * float("nan")) if len(passes) == fails_at else loss

    accumulator = Accumulator(model, objective, DEVICE_CONTEXT, 1)
    optimizer = SamConfig(lr=0.1, rho=0.5).build(Parameters(accumulator.parameters))
    before = weights_of(model)
    with pytest.raises(NonFiniteUpdate):
        update(accumulator, optimizer, [batch], StepContext(0), 0.1, 1.0)
    assert all(torch.equal(value, before[name]) for name, value in weights_of(model).items())
    update(accumulator, optimizer, [batch], StepContext(0), 0.1, 1.0)
    assert not all(torch.equal(value, before[name]) for name, value in weights_of(model).items())


def test_optimizers_must_call_the_closure() -> None:
    class Idle(torch.optim.SGD):
        def update(self, closure: Callable[[], Tensor]) -> None:
            pass

    accumulator = Accumulator(make_model(), CrossEntropy(CrossEntropyConfig()), DEVICE_CONTEXT, 1)
    with pytest.raises(ValueError, match="`update` of Idle must call its `closure` at least once"):
        update(accumulator, Idle(accumulator.parameters), [make_batch([(3, 4)])], StepContext(0), 0.1, 1.0)
