"""Update steps: invariance to splitting and padding (fp32, no dropout), clipping, and non-finite gradients."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from reference.tiny_models import make_batch, make_lstm, make_model, rows_of, with_empty_rows, with_more_padding
from torch import Tensor, nn

from seqlab.data.batch import IGNORE, Seq2SeqBatch
from seqlab.objectives import (
    CrossEntropy,
    CrossEntropyConfig,
    Loss,
    MinimumRiskConfig,
    Objective,
    PolicyGradientConfig,
    RDrop,
    RDropConfig,
    StepContext,
    TextSide,
)
from seqlab.optim import AdamConfig, AdamWConfig, OptimizerConfig, Parameters, SgdConfig
from seqlab.testing.random_examples import Vocabulary
from seqlab.training.accumulator import Accumulator
from seqlab.training.device_context import DeviceContext
from seqlab.training.update import NonFiniteUpdate, StartedUpdate, Update, can_skip_updates, start_update, update

NUM_STEPS = 20
DEVICE_CONTEXT = DeviceContext(torch.device("cpu"), torch.float32)
SGD = SgdConfig(lr=0.05)
Split = Callable[[Seq2SeqBatch], Sequence[Seq2SeqBatch]]


def unsplit(batch: Seq2SeqBatch) -> list[Seq2SeqBatch]:
    return [batch]


def run(
    split: Split,
    *,
    setup: str = "cross_entropy",
    optimizer: OptimizerConfig = SGD,
    max_grad_norm: float | None = 0.5,
    max_grad_value: float | None = None,
) -> tuple[list[Update], list[dict[str, Tensor]], list[float]]:
    """Train a model without dropout for 20 steps of 8 pairs; return updates, weights and norms of their changes."""
    make, objective = SETUPS[setup]
    model = make()
    accumulator = Accumulator(model, objective, DEVICE_CONTEXT, 1)
    built_optimizer = optimizer.build(Parameters(accumulator.parameters))
    updates, weights, change_norms = [], [], []
    rng = np.random.default_rng(3)
    for step in range(NUM_STEPS):
        before = weights_of(model)
        batch = make_batch([(int(s), int(t)) for s, t in rng.integers(0, 12, (8, 2))], seed=step)
        limits = max_grad_norm, max_grad_value
        updates.append(
            update(accumulator, built_optimizer, split(batch), StepContext(step, sides=SIDES), optimizer.lr, *limits)
        )
        weights.append(weights_of(model))
        change_norms.append(norm({name: value - before[name] for name, value in weights[-1].items()}))
    return updates, weights, change_norms


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def norm(tensors: dict[str, Tensor]) -> float:
    return float(torch.stack([value.double().norm() for value in tensors.values()]).norm())


SPLITS: dict[str, Split] = {
    "2x4": lambda batch: [rows_of(batch, range(4)), rows_of(batch, range(4, 8))],
    "8x1": lambda batch: [rows_of(batch, [row]) for row in range(8)],
    "1+7": lambda batch: [rows_of(batch, [0]), rows_of(batch, range(1, 8))],
    "8x1 reversed": lambda batch: [rows_of(batch, [row]) for row in reversed(range(8))],
    "shuffled rows": lambda batch: [rows_of(batch, [3, 1, 7, 5, 0, 2, 6, 4])],
    "more padding": lambda batch: [with_more_padding(batch, 5, 9)],
    "empty rows": lambda batch: [with_empty_rows(batch, 5)],
    "more padding in one": lambda batch: [
        rows_of(batch, range(4)),
        with_more_padding(rows_of(batch, range(4, 8)), 3, 1),
    ],
}


class MixedUnits:
    """Cross entropy per token, and the squared norm of the mean hidden state per row."""

    def __call__(self, model: Any, batch: Seq2SeqBatch, context: StepContext) -> Loss:
        assert batch.tgt_out is not None
        predicted = (batch.tgt_out != IGNORE)[..., None]
        hidden = (model(batch).hidden * predicted).sum(1) / predicted.sum(1).clamp_min(1)
        rows = predicted.any(1)[:, 0]
        norms = (hidden.square().sum(1) * rows).sum()
        by_row = Loss(norms, rows.sum().to(norms), {"norm": norms.detach()})
        return CrossEntropy(CrossEntropyConfig(label_smoothing=0.1))(model, batch, context) + 0.5 * by_row


SIDES = (TextSide(Vocabulary()), TextSide(Vocabulary()))
SAMPLED: Any = {"reward": "chrf", "num_samples": 3, "max_length": 12}
SETUPS: dict[str, tuple[Callable[[], nn.Module], Objective]] = {
    "mixed_units": (make_model, MixedUnits()),
    "policy_gradient": (
        make_model,
        PolicyGradientConfig(**SAMPLED, returns="to_go", cross_entropy=0.5).build_for(make_model()),
    ),
    "greedy baseline": (
        make_model,
        PolicyGradientConfig(**SAMPLED, returns="to_go", baseline="greedy").build_for(make_model()),
    ),
    "minimum_risk": (make_model, MinimumRiskConfig(**SAMPLED).build_for(make_model())),
    "cross_entropy": (make_model, CrossEntropy(CrossEntropyConfig(label_smoothing=0.1))),
    "r_drop": (make_model, RDrop(RDropConfig())),
    "lstm": (make_lstm, CrossEntropy(CrossEntropyConfig(label_smoothing=0.1, guided_attention=1.0))),
}


@cache
def run_unsplit(setup: str) -> tuple[list[Update], list[dict[str, Tensor]], list[float]]:
    return run(unsplit, setup=setup)


@pytest.mark.parametrize(
    ("split", "setup"),
    [
        *product(SPLITS, ("cross_entropy",)),
        *product(("8x1 reversed", "empty rows", "more padding in one"), ("lstm",)),
        *product(("2x4", "empty rows"), ("r_drop",)),
        *product(("8x1 reversed", "empty rows", "more padding in one"), ("mixed_units", "policy_gradient")),
        *product(("2x4", "empty rows"), ("minimum_risk",)),
        ("8x1 reversed", "greedy baseline"),
    ],
)
def test_splitting_and_padding_do_not_change_a_step(split: str, setup: str) -> None:
    expected_updates, expected_weights, change_norms = run_unsplit(setup)
    updates, weights, _ = run(SPLITS[split], setup=setup)
    for found, expected in zip(updates, expected_updates, strict=True):
        assert found.count == expected.count
        assert found.total == pytest.approx(expected.total, rel=1e-5)
        assert found.grad_norm == pytest.approx(expected.grad_norm, rel=1e-5)
        assert found.logs == pytest.approx(expected.logs, rel=1e-5, abs=1e-4)
    for step, (after, expected_after, change_norm) in enumerate(
        zip(weights, expected_weights, change_norms, strict=True), start=1
    ):
        difference = norm({name: after[name] - value for name, value in expected_after.items()})
        assert difference <= 1e-5 * change_norm * step, f"step {step}"


def test_losses_of_several_units_are_each_divided_by_their_own() -> None:
    model = make_model()
    batch = make_batch([(3, 7), (5, 2), (4, 4)])
    assert batch.tgt_out is not None
    loss = MixedUnits()(model, batch, StepContext(0))
    tokens, rows = loss.terms
    expected = torch.autograd.grad(tokens.total / (7 + 2 + 4 + 3) + rows.total / 3, list(model.parameters()))
    accumulator = Accumulator(model, MixedUnits(), DEVICE_CONTEXT, 1)
    done = update(
        accumulator,
        SGD.build(Parameters(accumulator.parameters)),
        [rows_of(batch, [0]), rows_of(batch, [1, 2])],
        StepContext(0),
        0.0,
        None,
    )
    assert done.grad_norm == pytest.approx(float(nn.utils.get_total_norm(expected)), rel=1e-5)
    assert done.total / done.count == pytest.approx(float(tokens.total / 16 + rows.total / 3), rel=1e-5)
    assert (done.log_counts["nll"], done.log_counts["norm"]) == (16, 3)


def test_steps_are_deterministic() -> None:
    assert run(SPLITS["2x4"])[0] == run(SPLITS["2x4"])[0]


@pytest.mark.parametrize(
    ("max_grad_norm", "max_grad_value"), [(None, None), (0.1, None), (1e3, None), (None, 1e-3), (0.1, 2e-3)]
)
@pytest.mark.parametrize("optimizer", [SgdConfig(lr=0.1), AdamConfig(lr=0.01, eps=1e-3)])
def test_steps_equal_torch_on_one_batch(
    optimizer: OptimizerConfig, max_grad_norm: float | None, max_grad_value: float | None
) -> None:
    """torch: mean loss, backward, `clip_grad_norm_`, `clip_grad_value_`, step. seqlab: micro-steps of unequal size."""
    model = make_model()
    torch_optimizer = optimizer.build(Parameters(model.parameters()))
    is_clipped = []
    rng = np.random.default_rng(3)
    expected = []
    for step in range(NUM_STEPS):
        batch = make_batch([(int(s), int(t)) for s, t in rng.integers(0, 12, (8, 2))], seed=step)
        assert batch.tgt_out is not None
        logits = model(batch).logits()
        torch_optimizer.zero_grad()
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), batch.tgt_out.flatten(), label_smoothing=0.1)
        loss.backward()
        grad_norm = nn.utils.clip_grad_norm_(
            model.parameters(), float("inf") if max_grad_norm is None else max_grad_norm
        )
        is_clipped.append(max_grad_norm is not None and float(grad_norm) > max_grad_norm)
        if max_grad_value is not None:
            nn.utils.clip_grad_value_(model.parameters(), max_grad_value)
        torch_optimizer.step()
        expected.append((float(loss.detach()), float(grad_norm)))
    assert all(is_clipped) == any(is_clipped) == (max_grad_norm == 0.1)
    limits = {"max_grad_norm": max_grad_norm, "max_grad_value": max_grad_value}
    updates, weights, change_norms = run(SPLITS["1+7"], optimizer=optimizer, **limits)
    for done, (loss_per_token, grad_norm) in zip(updates, expected, strict=True):
        assert done.total / done.count == pytest.approx(loss_per_token, rel=2e-5)
        assert done.grad_norm == pytest.approx(grad_norm, rel=1e-3)
    difference = norm({name: weights[-1][name] - p.detach() for name, p in model.named_parameters()})
    assert difference <= 1e-3 * sum(change_norms)


def test_the_learning_rate_of_a_step_is_the_given_one() -> None:
    model, batch = make_model(), make_batch([(3, 4)])
    accumulator = Accumulator(model, CrossEntropy(CrossEntropyConfig(label_smoothing=0.1)), DEVICE_CONTEXT, 1)
    optimizer = SgdConfig(lr=123.0, momentum=0).build(Parameters(accumulator.parameters))
    before = weights_of(model)
    done = update(accumulator, optimizer, [batch], StepContext(0), 1e-2, None)
    change_norm = norm({name: p.detach() - before[name] for name, p in model.named_parameters()})
    assert change_norm == pytest.approx(1e-2 * done.grad_norm, rel=1e-3)


def test_gradients_are_zero_after_a_step() -> None:
    model = make_model()
    accumulator = Accumulator(model, CrossEntropy(CrossEntropyConfig(label_smoothing=0.1)), DEVICE_CONTEXT, 1)
    optimizer = SGD.build(Parameters(accumulator.parameters))
    update(accumulator, optimizer, [make_batch([(3, 4)]), make_batch([(2, 5)], 1)], StepContext(0), 0.1, 1.0)
    assert all(p.grad is None or not p.grad.any() for p in model.parameters())


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
@pytest.mark.parametrize("max_grad_norm", [None, 1.0])
def test_a_non_finite_gradient_changes_neither_weights_nor_optimizer_state(
    value: float, max_grad_norm: float | None
) -> None:
    model = make_model()
    accumulator = Accumulator(model, CrossEntropy(CrossEntropyConfig(label_smoothing=0.1)), DEVICE_CONTEXT, 1)
    optimizer = AdamConfig().build(Parameters(accumulator.parameters))
    good = make_batch([(3, 4)])
    update(accumulator, optimizer, [good], StepContext(0), 0.1, max_grad_norm)
    model.decoder.norm.weight.data[0] = value
    before = weights_of(model)
    state = [{name: v.clone() for name, v in s.items()} for s in optimizer.state_dict()["state"].values()]
    with pytest.raises(NonFiniteUpdate, match=r"gradient norm .* over 5 units"):
        update(accumulator, optimizer, [good], StepContext(1), 0.1, max_grad_norm)
    for name, after in weights_of(model).items():
        assert torch.equal(after.nan_to_num(0.5), before[name].nan_to_num(0.5))
    for old, new in zip(state, optimizer.state_dict()["state"].values(), strict=True):
        assert all(torch.equal(old[name], new[name]) for name in old)
    model.decoder.norm.weight.data[0] = 1.0
    done = update(accumulator, optimizer, [good], StepContext(1), 0.1, max_grad_norm)
    assert np.isfinite(done.grad_norm)


@pytest.mark.parametrize("config", [AdamConfig(), AdamWConfig(weight_decay=0.1)])
def test_deferred_updates_equal_immediate_ones_and_are_skipped_after_a_failure(config: OptimizerConfig) -> None:
    """On a GPU, the next update starts before an update is read; after a non-finite update no weight changes."""
    batches = [make_batch([(3, 4)], seed=seed) for seed in range(4)]

    def make(is_deferred: bool) -> tuple[nn.Module, Callable[[int], StartedUpdate]]:
        model = make_model()
        accumulator = Accumulator(model, CrossEntropy(CrossEntropyConfig()), DEVICE_CONTEXT, 1)
        optimizer = config.build(Parameters(accumulator.parameters))
        assert can_skip_updates(optimizer)
        has_failed = torch.zeros(()) if is_deferred else None

        def run(step: int) -> StartedUpdate:
            return start_update(
                accumulator, optimizer, [batches[step]], StepContext(step), 0.1, 1.0, has_failed=has_failed
            )

        return model, run

    (expected, start_immediate), (model, start_deferred) = make(False), make(True)
    wanted, found = [start_immediate(step) for step in range(3)], [start_deferred(step) for step in range(3)]
    assert [each.finish() for each in found] == [each.finish() for each in wanted]
    assert all(torch.equal(value, weights_of(expected)[name]) for name, value in weights_of(model).items())
    bias = dict(model.named_parameters())["decoder.norm.bias"]
    bias.data[0] = float("inf")
    before = weights_of(model)
    failing, skipped = start_deferred(3), start_deferred(0)
    bias.data[0] = 0.0
    last = start_deferred(1)
    for each in (failing, skipped, last):  # the own gradient of the last one is finite
        with pytest.raises(NonFiniteUpdate):
            each.finish()
    after = weights_of(model)
    assert all(torch.equal(after[name], before[name]) for name in after if name != "decoder.norm.bias")


class FailsInOnePass:
    """Objective of four passes, of which the second has an infinite loss."""

    passes = 4

    def collect(self, model: nn.Module, batch: Any, context: StepContext) -> None:
        """Collect nothing."""

    def __call__(self, model: nn.Module, batch: Any, context: StepContext) -> Loss:
        """Return the sum of a weight, which has a finite gradient in the other passes."""
        factor = math.inf if context.number_of_pass == 1 else 1.0
        total = dict(model.named_parameters())["decoder.norm.bias"].sum() * factor
        return Loss(total, torch.tensor(1.0))


@pytest.mark.parametrize("is_deferred", [False, True])
def test_a_pass_that_fails_ends_training(is_deferred: bool) -> None:
    """With deferred metrics the later passes are finite, but change nothing."""
    accumulator = Accumulator(make_model(), FailsInOnePass(), DEVICE_CONTEXT, 1)
    optimizer = AdamConfig().build(Parameters(accumulator.parameters))
    has_failed = torch.zeros(()) if is_deferred else None
    with pytest.raises(NonFiniteUpdate):
        start_update(
            accumulator, optimizer, [make_batch([(3, 4)])], StepContext(0), 0.1, None, has_failed=has_failed
        ).finish()


def test_a_step_without_target_tokens_changes_no_weight() -> None:
    model = make_model()
    accumulator = Accumulator(model, CrossEntropy(CrossEntropyConfig()), DEVICE_CONTEXT, 1)
    batch = make_batch([(3, 4), (2, 2)], seed=0)
    assert batch.tgt_out is not None
    before, empty = weights_of(model), replace(batch, tgt_out=torch.full_like(batch.tgt_out, IGNORE))
    done = update(accumulator, SGD.build(Parameters(accumulator.parameters)), [empty], StepContext(0), 0.05, 0.5)
    assert (done.total, done.grad_norm) == (0.0, 0.0)
    assert all(torch.equal(value, before[name]) for name, value in weights_of(model).items())


def test_a_detached_loss_is_refused_by_name() -> None:
    def objective(model: nn.Module, batch: Seq2SeqBatch, context: StepContext) -> Loss:
        loss = CrossEntropy(CrossEntropyConfig())(model, batch, context)
        return replace(loss, total=loss.total.detach())

    accumulator = Accumulator(make_model(), objective, DEVICE_CONTEXT, 1)
    with pytest.raises(ValueError, match="`total` of an objective's `Loss` must be differentiable, but has no grad"):
        accumulator.backward([make_batch([(3, 4)])], StepContext(0))


def test_dropout_masks_differ_between_steps_and_micro_steps() -> None:
    batch = make_batch([(5, 7), (3, 4)], seed=1)
    accumulator = Accumulator(make_model(dropout=0.5), CrossEntropy(CrossEntropyConfig()), DEVICE_CONTEXT, 1)
    losses = [accumulator.backward([batch], StepContext(step))["total"].item() for step in (0, 1, 2, 0)]
    assert len(set(losses)) == 3
    assert losses[0] == losses[3]
    assert accumulator.backward([batch, batch], StepContext(0))["total"] != 2 * losses[0]
