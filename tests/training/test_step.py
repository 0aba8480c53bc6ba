"""One update: what must not matter, in fp32 without dropout over 20 steps, and the order of what happens."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from itertools import product

import numpy as np
import pytest
import torch
from reference.tiny_models import make_batch, make_lstm, make_model
from torch import Tensor, nn

from seqlab.data.batch import IGNORE, Seq2SeqBatch
from seqlab.objectives import CrossEntropy, CrossEntropyConfig, Loss, Objective, RDrop, RDropConfig, StepContext
from seqlab.optim import AdamConfig, AdamWConfig, OptimizerConfig, Parameters, SamConfig, SgdConfig
from seqlab.training.accumulator import Accumulator
from seqlab.training.device_context import DeviceContext
from seqlab.training.step import NonFiniteUpdate, StartedUpdate, Update, can_skip_updates, start_update, update

STEPS = 20
MACHINE = DeviceContext(torch.device("cpu"), torch.float32)
SGD = SgdConfig(lr=0.05)
Split = Callable[[Seq2SeqBatch], Sequence[Seq2SeqBatch]]


def rows_of(batch: Seq2SeqBatch, rows: Sequence[int]) -> Seq2SeqBatch:
    """Take some rows, as wide as the whole batch: more padding than they need."""
    assert batch.tgt_in is not None
    assert batch.tgt_out is not None
    index = torch.tensor(rows)
    tgt_out = batch.tgt_out[index]
    return Seq2SeqBatch(
        batch.src[index],
        batch.src_lengths[index],
        batch.tgt_in[index],
        tgt_out,
        batch.indices[index],
        int((tgt_out != IGNORE).sum()),
    )


def widened(batch: Seq2SeqBatch, src: int, tgt: int) -> Seq2SeqBatch:
    """Add columns of padding."""
    assert batch.tgt_in is not None
    assert batch.tgt_out is not None
    pad = nn.functional.pad
    return replace(
        batch,
        src=pad(batch.src, (0, src)),
        tgt_in=pad(batch.tgt_in, (0, tgt)),
        tgt_out=pad(batch.tgt_out, (0, tgt), value=IGNORE),
    )


def with_empty_rows(batch: Seq2SeqBatch, count: int) -> Seq2SeqBatch:
    """Add rows that predict nothing."""
    more = rows_of(batch, [0] * count)
    assert more.tgt_out is not None
    more = replace(more, tgt_out=torch.full_like(more.tgt_out, IGNORE))
    names = ("src", "src_lengths", "tgt_in", "tgt_out", "indices")
    return replace(batch, **{name: torch.cat([getattr(batch, name), getattr(more, name)]) for name in names})


def whole(batch: Seq2SeqBatch) -> list[Seq2SeqBatch]:
    return [batch]


def run(
    split: Split,
    *,
    setup: str = "cross_entropy",
    optimizer: OptimizerConfig = SGD,
    max_grad_norm: float | None = 0.5,
    max_grad_value: float | None = None,
) -> tuple[list[Update], list[dict[str, Tensor]], list[float]]:
    """Train a model without dropout for 20 steps of 8 pairs; return updates, weights, and weight norms moved."""
    make, objective = SETUPS[setup]
    model = make()
    accumulator = Accumulator(model, objective, MACHINE, 1)
    built = optimizer.build(Parameters(accumulator.parameters))
    updates, weights, moves = [], [], []
    rng = np.random.default_rng(3)
    for step in range(STEPS):
        before = weights_of(model)
        batch = make_batch([(int(s), int(t)) for s, t in rng.integers(0, 12, (8, 2))], seed=step)
        limits = max_grad_norm, max_grad_value
        updates.append(update(accumulator, built, split(batch), StepContext(step), optimizer.lr, *limits))
        weights.append(weights_of(model))
        moves.append(norm({name: value - before[name] for name, value in weights[-1].items()}))
    return updates, weights, moves


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def norm(tensors: dict[str, Tensor]) -> float:
    return float(torch.stack([value.double().norm() for value in tensors.values()]).norm())


SPLITS: dict[str, Split] = {
    "2x4": lambda batch: [rows_of(batch, range(4)), rows_of(batch, range(4, 8))],
    "8x1": lambda batch: [rows_of(batch, [row]) for row in range(8)],
    "1+7": lambda batch: [rows_of(batch, [0]), rows_of(batch, range(1, 8))],
    "8x1 backwards": lambda batch: [rows_of(batch, [row]) for row in reversed(range(8))],
    "rows in another order": lambda batch: [rows_of(batch, [3, 1, 7, 5, 0, 2, 6, 4])],
    "wider": lambda batch: [widened(batch, 5, 9)],
    "more rows": lambda batch: [with_empty_rows(batch, 5)],
    "one wider": lambda batch: [rows_of(batch, range(4)), widened(rows_of(batch, range(4, 8)), 3, 1)],
}


SETUPS: dict[str, tuple[Callable[[], nn.Module], Objective]] = {
    "cross_entropy": (make_model, CrossEntropy(CrossEntropyConfig(label_smoothing=0.1))),
    "r_drop": (make_model, RDrop(RDropConfig())),
    "lstm": (make_lstm, CrossEntropy(CrossEntropyConfig(label_smoothing=0.1, guided_attention=1.0))),
}


@cache
def run_whole(setup: str) -> tuple[list[Update], list[dict[str, Tensor]], list[float]]:
    return run(whole, setup=setup)


@pytest.mark.parametrize(
    ("split", "setup"),
    [*product(SPLITS, ("cross_entropy", "lstm")), ("2x4", "r_drop"), ("more rows", "r_drop")],
)
def test_how_a_step_is_cut_and_padded_changes_nothing(split: str, setup: str) -> None:
    expected_updates, expected_weights, moves = run_whole(setup)
    updates, weights, _ = run(SPLITS[split], setup=setup)
    for found, expected in zip(updates, expected_updates, strict=True):
        assert found.count == expected.count
        assert found.total == pytest.approx(expected.total, rel=1e-5)
        assert found.grad_norm == pytest.approx(expected.grad_norm, rel=1e-5)
        assert found.logs == pytest.approx(expected.logs, rel=1e-5, abs=1e-4)
    for step, (after, expected_after, moved) in enumerate(zip(weights, expected_weights, moves, strict=True), start=1):
        difference = norm({name: after[name] - value for name, value in expected_after.items()})
        assert difference <= 1e-5 * moved * step, f"step {step}"


def test_the_same_cut_is_bitwise_the_same() -> None:
    assert run(SPLITS["2x4"])[0] == run(SPLITS["2x4"])[0]


@pytest.mark.parametrize(
    ("max_grad_norm", "max_grad_value"), [(None, None), (0.1, None), (1e3, None), (None, 1e-3), (0.1, 2e-3)]
)
@pytest.mark.parametrize("optimizer", [SgdConfig(lr=0.1), AdamConfig(lr=0.01, eps=1e-3)])
def test_a_step_is_that_of_torch_on_one_batch(
    optimizer: OptimizerConfig, max_grad_norm: float | None, max_grad_value: float | None
) -> None:
    """Mean loss, backward, `clip_grad_norm_`, `clip_grad_value_`, step: over micro-steps of unequal size the same."""
    model = make_model()
    theirs = optimizer.build(Parameters(model.parameters()))
    clipped = []
    rng = np.random.default_rng(3)
    expected = []
    for step in range(STEPS):
        batch = make_batch([(int(s), int(t)) for s, t in rng.integers(0, 12, (8, 2))], seed=step)
        assert batch.tgt_out is not None
        logits = model(batch).logits()
        theirs.zero_grad()
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), batch.tgt_out.flatten(), label_smoothing=0.1)
        loss.backward()
        found = nn.utils.clip_grad_norm_(model.parameters(), float("inf") if max_grad_norm is None else max_grad_norm)
        clipped.append(max_grad_norm is not None and float(found) > max_grad_norm)
        if max_grad_value is not None:
            nn.utils.clip_grad_value_(model.parameters(), max_grad_value)
        theirs.step()
        expected.append((float(loss.detach()), float(found)))
    assert all(clipped) == any(clipped) == (max_grad_norm == 0.1)
    limits = {"max_grad_norm": max_grad_norm, "max_grad_value": max_grad_value}
    updates, weights, moves = run(SPLITS["1+7"], optimizer=optimizer, **limits)
    for ours, (loss_per_token, grad_norm) in zip(updates, expected, strict=True):
        assert ours.total / ours.count == pytest.approx(loss_per_token, rel=2e-5)
        assert ours.grad_norm == pytest.approx(grad_norm, rel=1e-3)
    difference = norm({name: weights[-1][name] - p.detach() for name, p in model.named_parameters()})
    assert difference <= 1e-3 * sum(moves)


def test_the_given_learning_rate_is_the_one_of_the_step() -> None:
    model, batch = make_model(), make_batch([(3, 4)])
    accumulator = Accumulator(model, CrossEntropy(CrossEntropyConfig(label_smoothing=0.1)), MACHINE, 1)
    optimizer = SgdConfig(lr=123.0, momentum=0).build(Parameters(accumulator.parameters))
    before = weights_of(model)
    done = update(accumulator, optimizer, [batch], StepContext(0), 1e-2, None)
    moved = norm({name: p.detach() - before[name] for name, p in model.named_parameters()})
    assert moved == pytest.approx(1e-2 * done.grad_norm, rel=1e-3)


def test_no_gradient_is_left_for_the_next_step() -> None:
    model = make_model()
    accumulator = Accumulator(model, CrossEntropy(CrossEntropyConfig(label_smoothing=0.1)), MACHINE, 1)
    optimizer = SGD.build(Parameters(accumulator.parameters))
    update(accumulator, optimizer, [make_batch([(3, 4)]), make_batch([(2, 5)], 1)], StepContext(0), 0.1, 1.0)
    assert all(p.grad is None or not p.grad.any() for p in model.parameters())


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
@pytest.mark.parametrize("max_grad_norm", [None, 1.0])
def test_a_gradient_that_is_not_finite_moves_nothing(value: float, max_grad_norm: float | None) -> None:
    model = make_model()
    accumulator = Accumulator(model, CrossEntropy(CrossEntropyConfig(label_smoothing=0.1)), MACHINE, 1)
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
def test_updates_that_are_read_late_are_the_same_and_stop_at_a_failure(config: OptimizerConfig) -> None:
    """As on a GPU: each update is read when the next one was started; after one that is not finite no weight moves."""
    batches = [make_batch([(3, 4)], seed=seed) for seed in range(4)]

    def start(is_late: bool) -> tuple[nn.Module, Callable[[int], StartedUpdate]]:
        model = make_model()
        accumulator = Accumulator(model, CrossEntropy(CrossEntropyConfig()), MACHINE, 1)
        optimizer = config.build(Parameters(accumulator.parameters))
        assert can_skip_updates(optimizer)
        has_failed = torch.zeros(()) if is_late else None

        def run(step: int) -> StartedUpdate:
            return start_update(
                accumulator, optimizer, [batches[step]], StepContext(step), 0.1, 1.0, has_failed=has_failed
            )

        return model, run

    (expected, at_once), (model, late) = start(False), start(True)
    wanted, found = [at_once(step) for step in range(3)], [late(step) for step in range(3)]
    assert [each.finish() for each in found] == [each.finish() for each in wanted]
    assert all(torch.equal(value, weights_of(expected)[name]) for name, value in weights_of(model).items())
    bias = dict(model.named_parameters())["decoder.norm.bias"]
    bias.data[0] = float("inf")
    before = weights_of(model)
    failing, later = late(3), late(0)
    bias.data[0] = 0.0
    last = late(1)
    for each in (failing, later):
        with pytest.raises(NonFiniteUpdate):
            each.finish()
    assert np.isfinite(last.finish().grad_norm), "by itself it could go on"
    after = weights_of(model)
    assert all(torch.equal(after[name], before[name]) for name in after if name != "decoder.norm.bias")


def test_a_step_without_a_unit_moves_no_weight() -> None:
    model = make_model()
    accumulator = Accumulator(model, CrossEntropy(CrossEntropyConfig()), MACHINE, 1)
    batch = make_batch([(3, 4), (2, 2)], seed=0)
    assert batch.tgt_out is not None
    before, empty = weights_of(model), replace(batch, tgt_out=torch.full_like(batch.tgt_out, IGNORE))
    done = update(accumulator, SGD.build(Parameters(accumulator.parameters)), [empty], StepContext(0), 0.05, 0.5)
    assert (done.total, done.grad_norm) == (0.0, 0.0)
    assert all(torch.equal(value, before[name]) for name, value in weights_of(model).items())


def test_each_micro_step_of_each_step_drops_other_units() -> None:
    batch = make_batch([(5, 7), (3, 4)], seed=1)
    accumulator = Accumulator(make_model(dropout=0.5), CrossEntropy(CrossEntropyConfig()), MACHINE, 1)
    losses = [accumulator.backward([batch], StepContext(step))["total"].item() for step in (0, 1, 2, 0)]
    assert len(set(losses)) == 3
    assert losses[0] == losses[3]
    assert accumulator.backward([batch, batch], StepContext(0))["total"] != 2 * losses[0]


class Averaging(torch.optim.SGD):
    """SGD by the mean of the gradients at the weights and at their halves."""

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


def test_an_optimizer_takes_gradients_where_it_likes() -> None:
    """Twice as many micro-steps, each clipped and normalised as in a step of its own, with the same dropout."""
    batches = [make_batch([(3, 4), (2, 2)], seed=seed) for seed in range(2)]
    weights = []
    for is_whole in (True, False):
        model = make_model(dropout=0.3).train()
        accumulator = Accumulator(model, CrossEntropy(CrossEntropyConfig()), MACHINE, 1)
        parameters = list(accumulator.parameters)
        if is_whole:
            optimizer = Averaging(parameters, lr=0.1)
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
def test_a_failed_pass_moves_no_weight(fails_at: int) -> None:
    model, batch = make_model(), make_batch([(3, 4)])
    passes = []

    def objective(*arguments: object) -> Loss:
        loss = CrossEntropy(CrossEntropyConfig())(*arguments)
        passes.append(loss)
        return replace(loss, total=loss.total * float("nan")) if len(passes) == fails_at else loss

    accumulator = Accumulator(model, objective, MACHINE, 1)
    optimizer = SamConfig(lr=0.1, rho=0.5).build(Parameters(accumulator.parameters))
    before = weights_of(model)
    with pytest.raises(NonFiniteUpdate):
        update(accumulator, optimizer, [batch], StepContext(0), 0.1, 1.0)
    assert all(torch.equal(value, before[name]) for name, value in weights_of(model).items())
    update(accumulator, optimizer, [batch], StepContext(0), 0.1, 1.0)
    assert not all(torch.equal(value, before[name]) for name, value in weights_of(model).items())


def test_an_update_without_a_gradient_is_refused() -> None:
    class Idle(torch.optim.SGD):
        def update(self, closure: Callable[[], Tensor]) -> None:
            pass

    accumulator = Accumulator(make_model(), CrossEntropy(CrossEntropyConfig()), MACHINE, 1)
    with pytest.raises(ValueError, match="`update` of Idle must call its `closure` at least once"):
        update(accumulator, Idle(accumulator.parameters), [make_batch([(3, 4)])], StepContext(0), 0.1, 1.0)
