"""Update steps of objectives on samples: the first pass is the plain gradient; several passes."""

from typing import Any

import torch
from reference.tiny_models import make_batch, make_model

from seqlab.objectives import PolicyGradientConfig, StepContext, TextSide
from seqlab.optim import Parameters, SgdConfig
from seqlab.testing.random_examples import Vocabulary
from seqlab.training.accumulator import Accumulator
from seqlab.training.device_context import DeviceContext
from seqlab.training.update import update

SIDES = (TextSide(Vocabulary()), TextSide(Vocabulary()))
SAMPLED: Any = {"reward": "chrf", "num_samples": 3, "max_length": 12}


def test_one_pass_over_fresh_samples_is_the_plain_policy_gradient() -> None:
    """PPO's clipped ratios are 1 in the first pass, for which dropout must be 0."""
    batch = make_batch([(3, 7), (5, 2), (4, 4)])
    gradients = []
    for fields in ({}, {"passes": 2, "clip": 1e6}):
        model = make_model()
        objective = PolicyGradientConfig(**SAMPLED, **fields).build_for(model)
        context = StepContext(0, sides=SIDES)
        loss = objective(model, batch, context)
        assert float(loss.sums()["clipped"]) == 0
        gradients.append(torch.autograd.grad(loss.total, list(model.parameters())))
    samples = objective.collect(model, batch, context)
    actions = objective.policy.actions(model, batch, samples.ids, 0)
    totals = samples.rewards.result().totals.unflatten(0, (3, 3))
    advantages = (totals - (totals.sum(1, keepdim=True) - totals) / 2).flatten()
    plain = -(actions.log_probs.sum(1) * advantages).sum() / 3
    gradients.append(torch.autograd.grad(plain, list(model.parameters())))
    for values in zip(*gradients, strict=True):
        for value in values[1:]:
            torch.testing.assert_close(value, values[0], rtol=1e-4, atol=1e-6)


def test_several_passes_update_with_the_same_samples() -> None:
    batch = make_batch([(3, 7), (5, 2), (4, 4)])
    model = make_model()
    objective = PolicyGradientConfig(**SAMPLED, passes=3).build_for(model)
    accumulator = Accumulator(model, objective, DeviceContext(torch.device("cpu"), torch.float32), 1)
    drawn, draw = [], objective.draw
    objective.draw = lambda *args: drawn.append(draw(*args)) or drawn[-1]  # type: ignore[method-assign, func-returns-value]
    optimizer = SgdConfig(lr=0.05).build(Parameters(accumulator.parameters))
    steps, step = [], optimizer.step
    optimizer.step = lambda *args: steps.append(step(*args))  # type: ignore[method-assign, assignment, func-returns-value]
    update(accumulator, optimizer, [batch], StepContext(0, sides=SIDES), 0.05, None)
    assert (len(drawn), len(steps)) == (1, 3)
