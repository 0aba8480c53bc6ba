"""Checks of what the inputs of rows say about their targets: shuffled, shifted or partly wrong targets."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from seqlab.data.batch import IGNORE
from seqlab.diagnosis.alignment import UNSHIFTED, Alignment, align, align_tokens
from seqlab.diagnosis.baselines import constant_losses
from seqlab.diagnosis.experiments import Experiments
from seqlab.diagnosis.finding import Finding, LeftOut
from seqlab.diagnosis.linear_models import cross_fit_ridge
from seqlab.diagnosis.pair_checks import recognizes_targets
from seqlab.diagnosis.row_features import BagsOfTokens, RowFeatures, Standardized, features_of_targets
from seqlab.diagnosis.rows import Rows, features
from seqlab.diagnosis.simple_models import FoldedScores, cross_fit

MAX_SIMPLE_ROWS = 2000
"""Rows for simple models."""
NUM_FOLDS = 4
MIN_ERRORS = 3.0
MIN_PREDICTED = 0.05
"""Share by which the loss of a run that predicts its targets is below that of a constant."""
MIN_FIT = 0.02
"""Nats by which the targets of other rows must be worse for a source than its own."""
MAX_MISSED = 0.3
"""Share of the loss of a constant by which inputs may still predict targets that are called unrelated to them. With few
rows the gain is too uncertain to say so."""
MIN_SURE_ROWS, MIN_OVERCONFIDENCE, MAX_NOISY_ACCURACY = 30, 0.15, 0.85
"""Labels are wrong if a linear model is right for fewer of its surest rows than it expects. It needs so many rows."""
MIN_KNOWN, MAX_PLATEAU_DROP = 0.3, 0.05
"""Labels are wrong, too, if its accuracy is clearly above that of the most frequent label, but no higher for its surest
tenth of the rows than for the next three."""
MAX_OF_NOISE_LOSS = 0.7
"""Share of the lowest loss with so many wrong labels below which a run shows that they are right."""


def check_association(lab: Experiments) -> Iterator[Finding]:
    """Predict held-out targets by simple models, with their own targets and with permuted ones."""
    rows = lab.rows.sample(MAX_SIMPLE_ROWS)
    if rows.target_kind == "label":
        findings = check_labels(rows, lab.final.valid.mean)
    elif rows.target_kind == "numbers":
        findings = check_numbers(rows)
    else:
        raise LeftOut("the targets are neither labels of rows nor numbers")
    for finding in findings:
        if finding.cause != "shuffled_labels" or not _predicts_targets(lab):
            yield finding


def _predicts_targets(lab: Experiments) -> bool:
    """Return whether the run predicts validation targets clearly better than a constant does, from their inputs."""
    try:
        return lab.compare(constant_losses(lab), lab.final.valid).is_below(MIN_PREDICTED)
    except LeftOut:
        return False


def check_labels(rows: Rows, valid_loss: float = np.inf) -> Iterator[Finding]:
    """Compare simple models of the labels with those of permuted labels, and look for wrong labels.

    `valid_loss`: validation loss of the run, in nats per label.
    """
    rows = rows.take(np.flatnonzero(rows.labels() != IGNORE))
    labels = rows.labels()
    if len(np.unique(labels)) < 2:
        raise LeftOut("all labels are equal")
    inputs, num_classes = features(rows), int(labels.max()) + 1
    scores = cross_fit(inputs, labels, num_classes)
    evidence = _missing_association(inputs, scores, labels)
    if evidence:
        kernel = _kernel_features(inputs)
        if _missing_association(kernel, cross_fit(kernel, labels, num_classes), labels):
            yield Finding("shuffled_labels", f"{evidence}; with a Gaussian kernel it predicts no better", 0.95)
        return
    yield from _check_label_noise(scores.log_probs, labels, valid_loss)


def _missing_association(inputs: NDArray[np.float32], scores: FoldedScores, labels: NDArray[np.int64]) -> str:
    """Return the figures of a linear model that predicts labels no better than permuted ones; "" if it does better."""
    permuted = np.random.default_rng(4).permutation(labels)
    gain = scores.of(labels) - cross_fit(inputs, permuted, scores.log_probs.shape[1]).of(permuted)
    error = gain.std() / len(gain) ** 0.5
    shares = np.bincount(labels) / len(labels)
    accuracy, majority = scores.accuracy(labels), shares.max()
    chance = majority + MIN_ERRORS * (majority * (1 - majority) / len(labels)) ** 0.5
    if gain.mean() >= MIN_ERRORS * error or accuracy >= chance:
        return ""
    _require_certainty(gain.mean() + MIN_ERRORS * error, -float((shares * np.log(np.maximum(shares, 1e-12))).sum()))
    return (
        f"with permuted labels a linear model predicts other rows as well ({gain.mean():+.3f} ± {error:.3f} nats); "
        f"its accuracy is {100 * accuracy:.0f}%, that of the most frequent label {100 * majority:.0f}%"
    )


def _require_certainty(highest: float, constant_loss: float) -> None:
    """Raise LeftOut if the highest probable gain by the inputs is a large share of the loss of a constant."""
    if highest > MAX_MISSED * constant_loss:
        raise LeftOut("there are too few rows to tell whether the inputs determine the targets")


def _kernel_features(inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return random features (N, 256), of which a linear model approximates a Gaussian kernel of the inputs (N, D)."""
    return Standardized(inputs).block(0, len(inputs))[:, inputs.shape[1] :]


def _check_label_noise(
    log_probs: NDArray[np.float64], labels: NDArray[np.int64], valid_loss: float
) -> Iterator[Finding]:
    """Compare confidence and accuracy of the tenth of the rows that a model of the other rows is most sure of."""
    confidence, is_right = np.exp(log_probs.max(1)), log_probs.argmax(1) == labels
    order, size = np.argsort(-confidence), len(labels) // 10
    surest = order[:size]
    if size < MIN_SURE_ROWS:
        raise LeftOut("there are too few rows for the search for wrong labels")
    accuracy, expected = float(is_right[surest].mean()), float(confidence[surest].mean())
    if accuracy >= MAX_NOISY_ACCURACY or valid_loss < MAX_OF_NOISE_LOSS * _lowest_loss(accuracy, log_probs.shape[1]):
        return
    error = (accuracy * (1 - accuracy) / size) ** 0.5
    shown = f"of the tenth of the rows that a linear model of other rows is most sure of, {100 * accuracy:.0f}% have"
    if expected - accuracy > max(MIN_OVERCONFIDENCE, MIN_ERRORS * error):
        evidence = f"{shown} the label that it predicts; it expects {100 * expected:.0f}%"
        yield Finding("label_noise", evidence, 0.9)
        return
    following, majority = float(is_right[order[size : 4 * size]].mean()), np.bincount(labels).max() / len(labels)
    if accuracy - majority > MIN_KNOWN and following > accuracy - MAX_PLATEAU_DROP:
        evidence = f"{shown} the label that it predicts, and no fewer of the next three tenths ({100 * following:.0f}%)"
        yield Finding("label_noise", evidence, 0.8)


def _lowest_loss(accuracy: float, num_labels: int) -> float:
    """Return the lowest loss in nats of labels of which this share is right and the others are random."""
    shares = np.array([accuracy, *[(1 - accuracy) / max(1, num_labels - 1)] * (num_labels - 1)])
    return -float((shares * np.log(np.maximum(shares, 1e-12))).sum())


def check_numbers(rows: Rows) -> Iterator[Finding]:
    """Compare the squared errors of simple models of the numbers with their variance."""
    numbers = rows.numbers()
    known = ~np.isnan(numbers).any(1)
    numbers, inputs = numbers[known], features(rows)[known]
    if len(np.unique(numbers)) < 2:
        raise LeftOut("all targets are equal")
    targets = Standardized(numbers, num_random=0)
    folds = np.random.default_rng(1).permutation(len(numbers)) % NUM_FOLDS
    scaled = targets.block(0, len(numbers))
    baseline = (scaled**2).mean(1)
    shown = []
    for values in (inputs, _kernel_features(inputs)):
        residual = ((scaled - cross_fit_ridge(Standardized(values, num_random=0), targets, folds)) ** 2).mean(1)
        gain = baseline - residual
        error = gain.std() / len(gain) ** 0.5
        if gain.mean() >= MIN_ERRORS * error:
            return
        _require_certainty(gain.mean() + MIN_ERRORS * error, float(baseline.mean()))
        shown.append(f"to {residual.mean():.3g} (gain {gain.mean():+.2g} ± {error:.1g})")
    evidence = (
        f"a linear model of other rows changes the squared error from {baseline.mean():.3g} {shown[0]}, with a "
        f"Gaussian kernel {shown[1]}"
    )
    yield Finding("shuffled_labels", evidence, 0.75)


def check_alignment(lab: Experiments) -> Iterator[Finding]:
    """Compare how well inputs fit the targets of their own row and of the rows before and after it."""
    rows = lab.rows
    alignment = _align(rows)
    for shift in alignment.shifts()[:1]:
        location = lab.bench.task.locate(lab.bench.data, int(rows.indices[shift.start]))
        direction = "after" if shift.offset > 0 else "before"
        advantage = shift.advantage / (shift.stop - shift.start)
        distance = f"{abs(shift.offset)} row{'s' * (abs(shift.offset) > 1)}"
        evidence = (
            f"from {location} on, inputs fit the targets {distance} {direction} them better than their own: "
            f"by {advantage:.2g} nats per row over {shift.stop - shift.start} rows"
        )
        yield Finding("shifted_pairs", evidence, 0.97)
        return
    uniform_loss = float(np.log(alignment.log_probs.shape[1]))
    gain = alignment.log_probs[:, UNSHIFTED] + uniform_loss
    error = gain.std() / len(gain) ** 0.5
    is_unrelated = gain.mean() < max(MIN_FIT, MIN_ERRORS * error)
    if rows.target_kind == "tokens" and rows.are_ids and is_unrelated and not recognizes_targets(lab):
        _require_certainty(gain.mean() + MIN_ERRORS * error, uniform_loss)
        evidence = (
            f"sources fit their own targets no better than those of other rows ({gain.mean():+.3f} ± {error:.3f} nats)"
        )
        yield Finding("shuffled_labels", evidence, 0.9)


def _align(rows: Rows) -> Alignment:
    """Compute the offsets of the targets of rows; raise LeftOut for rows without targets of their own."""
    if not rows.has_inputs or rows.target_kind == "labels of positions":
        raise LeftOut("the rows have no targets of their own")
    if rows.are_ids and rows.target_kind == "tokens":
        return align_tokens(rows.inputs, rows.targets)
    inputs: RowFeatures = BagsOfTokens(rows.inputs) if rows.are_ids else Standardized(features(rows))
    if rows.target_kind == "tokens":
        return align(inputs, BagsOfTokens(rows.targets))
    return align(inputs, features_of_targets(rows.labels() if rows.target_kind == "label" else rows.numbers()))
