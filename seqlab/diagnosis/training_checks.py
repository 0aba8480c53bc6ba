"""Short trainings with one change: learning rate, length, clipping, batch size, regularization, size, data."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from seqlab.diagnosis.changes import (
    SMALLER_STEPS,
    constant_rate,
    larger,
    less_regularized,
    longer,
    more_regularized,
    smaller_batches,
    with_lr,
    without_clipping,
)
from seqlab.diagnosis.experiments import Experiments, Outcome
from seqlab.diagnosis.finding import Finding, LeftOut
from seqlab.diagnosis.next_commands import retrain_command
from seqlab.diagnosis.workbench import sample_rows

MIN_DROP = 0.07
"""Share of a loss by which a change must lower it."""
LOW_RATE, ENDED_SHARE = 0.01, 0.3
"""A schedule has ended early if the rate was below this share of its peak in this share of the steps."""
HIGHER_RATES = (10.0, 100.0)
MOST = 0.5
"""Share of the gain of a wider model that more updates of the run must not reach."""
FEW_ROWS = 300
"""Number of training rows below which a gap between training and validation has an obvious cause."""
LARGE_STEP = 0.1
"""Share of the training rows in a step from which its size is questioned."""


def check_length(lab: Experiments) -> Iterator[Finding]:
    """Train on from the weights of the run, with its rate and higher ones: the validation loss must not fall much."""
    same = lab.run("trained")
    gain = lab.compare(lab.final.valid, same.valid)
    evidence = f"{same.num_updates} more updates with the peak learning rate changed the validation loss {gain}"
    for factor in HIGHER_RATES:
        higher = lab.run("trained", lr_factor=factor)
        faster = lab.compare(same.valid, higher.valid)
        learned = lab.compare(lab.final.train, higher.train).is_below(MIN_DROP)
        is_main = faster.value < gain.value  # else training was too short, at a rate that could be higher, too
        total = lab.compare(lab.final.valid, higher.valid)
        if is_main and learned and faster.is_below(MIN_DROP) and total.is_below(2 * MIN_DROP):
            evidence = (
                f"{same.num_updates} more updates with {factor:g} times the learning rate instead of the same changed "
                f"the validation loss {faster}"
            )
            yield Finding("lr_too_low", evidence, 0.85, retrain_command(lab, with_lr(factor)))
            return
    if lab.shortened:
        raise LeftOut("the run was trained for a part of its steps only")
    if not (gain.is_below(MIN_DROP) and lab.compare(lab.final.train, same.train).is_below(MIN_DROP)):
        return
    ended = _ended_share(lab)
    if ended > ENDED_SHARE:
        text = f"the learning rate was below 1% of its peak in the last {100 * ended:.0f}% of the steps; {evidence}"
        yield Finding("schedule_ended", text, 0.9, retrain_command(lab, constant_rate))
    elif _share_of_step(lab) > LARGE_STEP:
        yield from _check_batch_size(lab, same, evidence)
    else:
        yield Finding("too_few_steps", evidence, 0.8, retrain_command(lab, longer))


def _check_batch_size(lab: Experiments, same: Outcome, evidence: str) -> Iterator[Finding]:
    """Train on as many rows in smaller steps, and thus with more updates."""
    small = lab.run("trained", share_of_step=1 / SMALLER_STEPS)
    difference = lab.compare(same.valid, small.valid)
    if difference.value < MIN_DROP * abs(same.valid.mean):
        text = (
            f"a step has {100 * _share_of_step(lab):.0f}% of the training rows; {evidence}; {small.num_updates} "
            f"updates on a quarter of the rows of a step changed it to {small.valid.mean:.3g}"
        )
        yield Finding("batch_too_large", text, 0.82, retrain_command(lab, smaller_batches))
    else:
        yield Finding("too_few_steps", evidence, 0.75, retrain_command(lab, longer))


def check_high_rate(lab: Experiments) -> Iterator[Finding]:
    """Train anew with a third and a tenth of the rate: the training loss must not be lower after as many updates."""
    same = lab.run("fresh")
    for factor in (0.1, 1 / 3):
        lower = lab.run("fresh", lr_factor=factor)
        if lower.has_diverged:
            continue
        difference = lab.compare(same.train, lower.train)
        if same.has_diverged or difference.is_below(2 * MIN_DROP):
            reached = "a loss that is not finite" if same.has_diverged else f"{same.train.mean:.3g}"
            evidence = (
                f"{same.num_updates} updates with {factor:.2g} times the learning rate reach a training loss of "
                f"{lower.train.mean:.3g} instead of {reached}"
            )
            yield Finding("lr_too_high", evidence, 0.88, retrain_command(lab, with_lr(factor)))
            return


def check_clipping(lab: Experiments) -> Iterator[Finding]:
    """Train on without clipping, if most steps are clipped."""
    limit = lab.bench.config.optim.max_grad_norm
    norms = [line["grad_norm"] for line in lab.bench.metrics if line["kind"] == "train" and "grad_norm" in line]
    if limit is None and lab.bench.config.optim.max_grad_value is None:
        raise LeftOut("the gradient is not clipped")
    if limit is not None and norms and np.median(norms) < 2 * limit:
        return
    same, free = lab.run("trained"), lab.run("trained", "without clipping", without_clipping)
    difference = lab.compare(same.train, free.train)
    if difference.is_below(MIN_DROP):
        shown = f" (the median norm is {np.median(norms):.2g}, the limit {limit:.2g})" if limit and norms else ""
        evidence = (
            f"{same.num_updates} more updates without clipping instead of with it changed the training loss "
            f"{difference}{shown}"
        )
        yield Finding("clipping", evidence, 0.9, retrain_command(lab, without_clipping))


def check_regularization(lab: Experiments) -> Iterator[Finding]:
    """Train on without regularization: training and validation loss must not both fall much."""
    change = less_regularized
    if change(lab.bench.config) == lab.bench.config:
        raise LeftOut("the run has no regularization")
    same, free = lab.run("trained"), lab.run("trained", "without regularization", change)
    train, valid = lab.compare(same.train, free.train), lab.compare(same.valid, free.valid)
    if valid.is_below(MIN_DROP) and train.is_below(MIN_DROP):
        evidence = (
            f"{same.num_updates} more updates without dropout and weight decay instead of with them "
            f"changed the training loss {train} and the validation loss {valid}"
        )
        is_main = abs(valid.value) > abs(lab.compare(lab.final.valid, same.valid).value)
        confidence = 0.86 if is_main else 0.5
        yield Finding("too_much_regularization", evidence, confidence, retrain_command(lab, change))


def check_size(lab: Experiments) -> Iterator[Finding]:
    """Train a model that is wider: it must not beat the run on training and validation rows."""
    wide = lab.run("fresh", "larger", larger)
    train, valid = lab.compare(lab.final.train, wide.train), lab.compare(lab.final.valid, wide.valid)
    # It must also beat as many updates of a model of the same size, from the weights of the run and from new ones.
    of_same_size = [lab.compare(lab.run(start).valid, wide.valid) for start in ("trained", "fresh")]
    if all(curve.is_below(MIN_DROP) for curve in (train, valid, *of_same_size)):
        evidence = (
            f"a wider model reaches in {wide.num_updates} updates a lower loss than the run: training "
            f"{train}, validation {valid}; it is lower than that of a new model of the same size, too "
            f"({of_same_size[1]})"
        )
        higher = lab.run("trained", lr_factor=HIGHER_RATES[0])  # `check_length` may have found that it helps, too
        is_main = higher.has_diverged or lab.compare(higher.valid, wide.valid).is_below(MIN_DROP)
        by_steps = lab.compare(lab.final.valid, lab.run("trained").valid)
        confidence = 0.87 if is_main else 0.84
        if by_steps.value < MOST * valid.value:  # the run was too short, whatever its size
            evidence, confidence = f"{evidence}; more updates of the run changed it {by_steps}", 0.6
        yield Finding("model_too_small", evidence, confidence, retrain_command(lab, larger))


def check_generalization(lab: Experiments) -> Iterator[Finding]:
    """Compare training and validation loss; then use parts of the data, and more regularization."""
    train, valid, count = lab.final.train, lab.final.valid, len(lab.rows)
    error = float(np.hypot(train.standard_error, valid.standard_error))
    gap = valid.mean - train.mean
    if gap < max(4 * error, 0.3 * abs(valid.mean)):
        return
    facts = f"the training loss is {train.mean:.3g}, the validation loss {valid.mean:.3g} (+{gap:.2g} ± {error:.1g})"
    quarter = lab.run("fresh", "quarter", rows=sample_rows(lab.half[0], count // 4))
    half, every = lab.run("fresh", "half", rows=lab.half[0]), lab.run("fresh")
    more = lab.run("fresh", "more regularization", more_regularized)
    by_data, by_rules = lab.compare(half.valid, every.valid), lab.compare(every.valid, more.valid)
    rising = _rise(lab)
    lacks_data = by_data.is_below(MIN_DROP) or count < FEW_ROWS
    if lacks_data:
        evidence = (
            f"{facts}; a quarter of the {count:,} training rows, half and all of them reach a validation loss of "
            f"{quarter.valid.mean:.3g}, {half.valid.mean:.3g} and {every.valid.mean:.3g} in {every.num_updates} updates"
        )
        yield Finding("too_little_data", evidence, 0.82 if count < FEW_ROWS else 0.6)
    is_regularized_better = by_rules.is_below(MIN_DROP)
    if is_regularized_better or rising > 0.1 or not lacks_data:
        shown = f"; after its minimum the validation loss rose by {100 * rising:.0f}%" if rising > 0.1 else ""
        evidence = (
            f"{facts}{shown}; more regularization changed the validation loss after {every.num_updates} updates "
            f"{by_rules}"
        )
        confidence = 0.78 if rising > 0.1 else 0.72 if is_regularized_better else 0.5
        yield Finding("overfitting", evidence, confidence, retrain_command(lab, more_regularized))


def check_memory(lab: Experiments) -> Iterator[Finding]:
    """Train on 32 rows: a model that cannot learn them by heart has a fault, a wrong rate, or is too small."""
    rows = sample_rows(lab.bench.train_rows, 32, seed=5)
    learner = lab.fresh(less_regularized)
    before = learner.losses(rows).mean
    count = min(200, 2 * lab.num_updates)
    lab.train(learner, rows, count)
    after = learner.losses(rows).mean
    if not np.isfinite(after) or after > 0.6 * min(before, lab.uniform_loss):
        evidence = f"after {count} updates on 32 rows their loss is {after:.3g}, before {before:.3g}"
        yield Finding("model_too_small", evidence, 0.4)


def _rise(lab: Experiments) -> float:
    """Return by which share the validation loss of the log rose after its minimum."""
    name = next(
        (
            key
            for line in lab.bench.metrics
            if line["kind"] == "valid"
            for key in line
            if key == "loss" or key.startswith("nll")
        ),
        None,
    )
    values = [line[name] for line in lab.bench.metrics if line["kind"] == "valid" and name in line] if name else []
    return values[-1] / min(values) - 1 if values and min(values) > 0 else 0.0


def _ended_share(lab: Experiments) -> float:
    """Return the share of the steps at the end of the training with a learning rate near 0."""
    lines = [line for line in lab.bench.metrics if line["kind"] == "train"]
    if not lines:
        return 0.0
    peak = max(line["lr"] for line in lines)
    last = max((line["step"] for line in lines if line["lr"] > LOW_RATE * peak), default=0)
    return 1 - last / lines[-1]["step"]


def _share_of_step(lab: Experiments) -> float:
    """Return the share of the training rows in a step."""
    return sum(len(batch.indices) for batch in lab.bench.first_step) / len(lab.rows)


QUESTIONS: Sequence[tuple[str, Any]] = (
    ("does longer training, or a higher rate, help?", check_length),
    ("does a lower learning rate help?", check_high_rate),
    ("what closes the gap between training and validation?", check_generalization),
    ("does clipping hold the training back?", check_clipping),
    ("does regularization hold the training back?", check_regularization),
    ("does a larger model reach a lower loss?", check_size),
    ("can the model learn 32 rows by heart?", check_memory),
)
"""Text of each question -> function that yields findings."""
