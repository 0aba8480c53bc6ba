"""Find out whether a run is stuck: with a large gradient or a small one, and then at a minimum or at a saddle."""

import time
from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor

from seqlab.data.batch import DivisibleBatch
from seqlab.diagnosis.curvature import MeanLoss
from seqlab.diagnosis.experiments import Experiments
from seqlab.diagnosis.finding import Finding, LeftOut
from seqlab.diagnosis.loss_surface import SLOPE_SHARE, PointAnalysis, Step, analyze_point, search_line, two_samples
from seqlab.diagnosis.measurement import Measurement
from seqlab.diagnosis.training_checks import MIN_DROP
from seqlab.diagnosis.workbench import Learner, sample_rows

TIME_SHARE = 0.05
"""Share of the time for the gradient, and again for the Hessian; without the training that follows a saddle."""
NUM_STEPS = 15
"""Number of Lanczos steps."""
GRADIENT_COST, HESSIAN_COST = 10, 65
"""Cost of the measurements of the gradient and of the Hessian, in gradients of their rows."""
TIMED_ROWS, MIN_ROWS, MAX_ROWS, NUM_GROUPS = 32, 32, 256, 8
"""Rows of each of two samples, in groups for the standard error: steps are found on one and measured on the other."""
MIN_LOSS = 0.1
"""Share of the loss of uniform outputs below which a training loss is low."""
GRADIENTS = {
    "low": "the loss is low",
    "large": "a step against it lowers the loss",
    "small": "no step against it clearly lowers the loss of other rows",
}
CURVATURES = {
    "saddle": "a saddle: the loss falls on both sides along the lowest eigenvector of the Hessian",
    "minimum": "a minimum: the loss is curved upwards or flat in all directions",
    "flat": "no step along the lowest eigenvector of the Hessian clearly lowers the loss of other rows",
    "unresolved": "a minimum or a saddle: the rows are too few to tell",
    "slope": "not clear: a step against the gradient lowers the loss of these rows",
}


def check_critical_point(lab: Experiments) -> Iterator[Finding | Measurement]:
    """Measure the gradient; where no step against it helps and the loss is high, tell a minimum from a saddle."""
    samples = _samples(lab, GRADIENT_COST)
    loss, other = (_mean_loss(lab.trained, rows) for rows in samples)
    start, start_error = _mean_loss(lab.fresh(), samples[0]).gradient()
    gradient, error = loss.gradient()
    if not gradient.isfinite().all():
        raise LeftOut("the gradient is not finite")
    descent = search_line(loss, -gradient, other, (1,))
    is_large = descent.gain > SLOPE_SHARE * abs(descent.loss)
    size = "low" if descent.loss < MIN_LOSS * lab.uniform_loss else "large" if is_large else "small"
    topic = f"gradient of the training loss: {GRADIENTS[size]}"
    yield Measurement(topic, "norm at the start of the training", float(start.norm()), start_error)
    yield Measurement(topic, "norm at the weights of the run", float(gradient.norm()), error)
    yield _decrease(topic, "decrease of the loss by the best step against it", descent)
    if size != "small":
        return
    loss, other = (_mean_loss(lab.trained, rows) for rows in _samples(lab, HESSIAN_COST))
    point = analyze_point(loss, other, NUM_STEPS, 1, advance=lambda _: lab.check_time(), max_exact_weights=0)
    assert point.lowest_on_other_rows is not None
    is_flat = point.kind != "minimum" and point.escape.gain <= SLOPE_SHARE * abs(point.loss)
    topic = f"curvature of the training loss: {CURVATURES['flat' if is_flat else point.kind]}"
    yield Measurement(topic, "along the lowest eigenvector of the Hessian", *point.lowest_on_other_rows)
    yield _decrease(topic, "decrease of the loss by the best step along it", point.escape)
    yield from _check_escape(lab, loss, gradient, point)


def _samples(lab: Experiments, cost: float) -> Sequence[Sequence[DivisibleBatch]]:
    """Return two samples, as large as there is time for `cost` gradients; raise LeftOut if they are too small."""
    probe = _mean_loss(lab.trained, sample_rows(lab.bench.train_rows, TIMED_ROWS))
    started = time.monotonic()
    probe.gradient()
    seconds = time.monotonic() - started
    count = int(TIMED_ROWS * min(60 * TIME_SHARE * lab.minutes, lab.seconds_left) / (cost * seconds))
    if count < MIN_ROWS:
        raise LeftOut(f"a gradient of {TIMED_ROWS} rows takes {seconds:.2g} s: `--minutes` is too short")
    half = sum(len(batch.indices) for batch in lab.bench.train_rows) // 2
    return two_samples(lab.bench.train_rows, max(1, min(count, MAX_ROWS, half)))


def _mean_loss(learner: Learner, rows: Sequence[DivisibleBatch]) -> MeanLoss:
    """Return the mean loss of rows; raise LeftOut if it is not a function of the weights."""
    count = sum(len(batch.indices) for batch in rows)
    try:
        return MeanLoss(learner, rows, rows_per_pass=max(1, count // NUM_GROUPS))
    except ValueError as error:
        raise LeftOut(str(error)) from None


def _decrease(topic: str, name: str, step: Step) -> Measurement:
    assert step.other_decrease is not None
    assert step.other_standard_error is not None
    return Measurement(topic, name, step.other_decrease, step.other_standard_error)


def _check_escape(lab: Experiments, loss: MeanLoss, gradient: Tensor, point: PointAnalysis) -> Iterator[Finding]:
    """Train on from a saddle, and after a step away from it: only the latter lowers the loss if the run is stuck."""
    step = point.escape
    if point.kind != "saddle" or step.gain <= MIN_DROP * abs(point.loss):
        return
    same = lab.run("trained")
    if lab.compare(lab.final.train, same.train).is_below(MIN_DROP):
        return
    with loss.moved(step.vector):
        escaped = lab.bench.learner(weights=lab.trained.state())
    lab.train(escaped, lab.bench.train_rows, same.num_updates, share=lab.share_of_step)
    difference = lab.compare(same.train, escaped.losses(lab.train_sample))
    if not difference.is_below(MIN_DROP):
        return
    evidence = (
        f"the gradient is small (norm {float(gradient.norm()):.2g}), and {same.num_updates} more updates leave the "
        f"training loss at {same.train.mean:.3g}; but a step along the lowest eigenvector of the Hessian lowers it by "
        f"{step.other_decrease:.2g} ± {step.other_standard_error:.1g}, and as many updates after this step instead of "
        f"without it changed it {difference}"
    )
    yield Finding("saddle_point", evidence, _confidence(gradient, step))


def _confidence(gradient: Tensor, step: Step) -> float:
    """Return a confidence above that of `no_gradient` if most of the step is in weights with a gradient of 0.

    The loss does depend on these weights: they are not cut off, but zero or symmetric.
    """
    silent = step.vector[gradient == 0].square().sum()
    return 0.98 if float(silent) > 0.5 * float(step.vector.square().sum()) else 0.9


QUESTIONS: Sequence[tuple[str, Any]] = (("is the run stuck at a minimum or a saddle?", check_critical_point),)
"""Text of each question -> function that yields findings and measurements."""
