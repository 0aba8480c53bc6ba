"""Losses of simple models on the validation rows of a run, which a model must be better than.

Rows with a label or numbers: a constant, a linear model, nearest neighbors, and one hidden layer. Texts: n-gram models
of the targets, without their sources. Labels of words: their frequencies, alone and for each word. They are trained on
rows of the training split, and measured on the rows on which the diagnosis measures the run: numbers with the objective
of the run, all else in nats.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from seqlab.data.batch import IGNORE, DivisibleBatch, LabelledBatch, TextBatch, batch_of_arrays
from seqlab.data.config import TokensConfig
from seqlab.diagnosis.experiments import Experiments
from seqlab.diagnosis.finding import LeftOut
from seqlab.diagnosis.measurement import Measurement
from seqlab.diagnosis.rows import Rows, features, rows_of_batches
from seqlab.diagnosis.simple_models import fit_by_lbfgs, standardize, zero_linear
from seqlab.diagnosis.workbench import Losses
from seqlab.models.frequency_labeller import FrequencyLabeller, FrequencyLabellerConfig
from seqlab.models.ngram import NgramConfig
from seqlab.nn.masks import padding_mask
from seqlab.objectives import TextSide
from seqlab.objectives.loss import CollectingObjective
from seqlab.search.protocols import Stepper

MAX_ROWS = 3000
"""Number of training rows of models of features."""
HIDDEN_SIZE = 64
NUM_NEIGHBORS = 10
ORDERS = {1: "frequencies of the tokens", 3: "3-grams of the targets"}
Named = Iterator[tuple[str, Losses]]
SumOfLosses = Callable[[Tensor, Tensor], tuple[Tensor, float]]
"""Function of outputs (N, O) and targets: the sum of the losses, and the number of their units."""


def measure_baselines(lab: Experiments) -> Iterator[Measurement]:
    """Measure the run and simple models on the same validation rows."""
    _refuse_other_terms(lab)
    kind, objective = lab.rows.target_kind, f"`objective.family: {lab.bench.config.objective.family}`"
    unit = {"tokens": "nats per token", "numbers": objective}.get(kind, "nats per label")
    count = sum(len(batch.indices) for batch in lab.valid_sample)
    models = {"tokens": _token_models, "labels of positions": _position_models}.get(kind, _row_models)
    for name, losses in chain([("the run", lab.final.valid)], models(lab)):
        yield Measurement(f"loss of {count} validation rows, in {unit}", name, losses.mean, losses.standard_error)
        lab.check_time()


def _refuse_other_terms(lab: Experiments) -> None:
    """Raise LeftOut if the loss of the run is not the negative log-likelihood that its objective logs."""
    if isinstance(lab.trained.objective, CollectingObjective):
        raise LeftOut("the run is trained on samples or episodes")
    loss = lab.trained.loss(lab.valid_sample[0])
    nll = loss.logs.get("nll", loss.total)
    if loss.added or isinstance(nll, tuple) or not torch.isclose(nll.to(loss.total), loss.total, rtol=1e-3):
        raise LeftOut("the loss of the run has terms that simple models do not have")


# Rows of features


@dataclass(frozen=True)
class _Problem:
    """Features (N, D) and targets (N,) or (N, O) of training rows, and of validation rows with the groups of rows."""

    inputs: Tensor
    targets: Tensor
    valid_inputs: Tensor
    valid_targets: Tensor
    groups: Sequence[NDArray[np.int64]]
    loss: SumOfLosses
    num_outputs: int
    check_time: Callable[[], None]
    """Function that is called in each iteration, and may raise an exception to stop."""

    def measure(self, outputs: Tensor) -> Losses:
        """Compute the losses of outputs (N, O) for the validation rows."""
        pairs = [self.loss(outputs[rows], self.valid_targets[rows]) for rows in self.groups]
        return Losses(np.array([float(total) for total, _ in pairs]), np.array([count for _, count in pairs]))

    def fit_constant(self) -> Losses:
        """Fit a prediction that is the same for all rows, and measure it."""
        blind = replace(
            self, inputs=torch.zeros(len(self.inputs), 1), valid_inputs=torch.zeros(len(self.valid_inputs), 1)
        )
        return blind.fit(zero_linear(1, self.num_outputs))

    def fit(self, model: nn.Module) -> Losses:
        """Train a model, and measure it."""

        def mean_loss(outputs: Tensor) -> Tensor:
            self.check_time()
            total, count = self.loss(outputs, self.targets)
            return total / max(1.0, count)

        fit_by_lbfgs(model, self.inputs, mean_loss)
        with torch.no_grad():
            return self.measure(model(self.valid_inputs))


def _row_models(lab: Experiments) -> Named:
    """Yield a constant, a linear model, nearest neighbors, and one hidden layer."""
    problem = _problem(lab)
    size, outputs = problem.inputs.size(1), problem.num_outputs
    yield "a constant prediction", problem.fit_constant()
    yield "linear model", problem.fit(zero_linear(size, outputs))
    yield f"{NUM_NEIGHBORS} nearest neighbors", problem.measure(_neighbor_outputs(problem))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        layers = nn.Sequential(nn.Linear(size, HIDDEN_SIZE), nn.Tanh(), nn.Linear(HIDDEN_SIZE, outputs))
    yield f"one hidden layer of {HIDDEN_SIZE} units", problem.fit(layers)


def constant_losses(lab: Experiments) -> Losses:
    """Compute the losses of the best constant prediction for the validation rows, in the groups of `lab.final.valid`.

    Raises:
        LeftOut: the targets are neither labels of rows nor numbers.
    """
    return _problem(lab).fit_constant()


def _problem(lab: Experiments) -> _Problem:
    train, valid = lab.rows.sample(MAX_ROWS), rows_of_batches(lab.valid_sample)
    numbers = np.arange(len(train) + len(valid))
    joined = Rows([*train.inputs, *valid.inputs], [*train.targets, *valid.targets], numbers, train.target_kind)
    inputs = standardize(features(joined))
    groups = [np.searchsorted(valid.indices, batch.indices.numpy()) for batch in lab.valid_sample]
    loss: SumOfLosses
    if train.target_kind == "label":
        targets = torch.from_numpy(joined.labels())
        loss, num_outputs = _cross_entropy, int(targets.max()) + 1
    else:
        targets = torch.from_numpy(joined.numbers()).float()
        loss, num_outputs = _objective_loss(lab), targets.size(1)
    count = len(train)
    parts = inputs[:count], targets[:count], inputs[count:], targets[count:]
    return _Problem(*parts, groups, loss, num_outputs, lab.check_time)


def _cross_entropy(outputs: Tensor, labels: Tensor) -> tuple[Tensor, float]:
    total = F.cross_entropy(outputs, labels, reduction="sum", ignore_index=IGNORE)
    return total, float((labels != IGNORE).sum())


def _objective_loss(lab: Experiments) -> SumOfLosses:
    """Return the objective of the run as a function of the outputs of any model."""

    def loss(outputs: Tensor, targets: Tensor) -> tuple[Tensor, float]:
        no_inputs = np.zeros((len(targets), 1, 1), np.float32)
        batch = batch_of_arrays(no_inputs, targets.numpy(), np.arange(len(targets)))
        measured = lab.trained.measured(lambda _: outputs, batch, lab.bench.context)
        return measured.total, float(measured.count)

    return loss


def _neighbor_outputs(problem: _Problem) -> Tensor:
    """Predict log-probabilities, means or logits from the nearest training rows and one row of average targets."""
    neighbors = torch.cdist(problem.valid_inputs, problem.inputs).topk(
        min(NUM_NEIGHBORS, len(problem.inputs)), largest=False
    )
    targets, is_label = problem.targets, problem.targets.dim() == 1
    if is_label:
        known = targets[targets != IGNORE]
        prior = (F.one_hot(known, problem.num_outputs).float().sum(0) + 1) / (len(known) + problem.num_outputs)
        targets = F.one_hot(targets.clamp_min(0), problem.num_outputs).float()
    else:
        prior = targets.nanmean(0)
        targets = torch.where(targets.isnan(), prior, targets)
    means = (targets[neighbors.indices].sum(1) + prior) / (neighbors.indices.size(1) + 1)
    if is_label:
        return means.log()
    if targets.size(1) > 1 and torch.allclose(targets.sum(1), torch.ones(len(targets)), atol=1e-3):
        return means.clamp_min(1e-3).log()  # probabilities of classes
    is_binary = bool(torch.isin(targets, torch.tensor([0.0, 1.0])).all())
    return torch.logit(means, eps=1e-3) if is_binary else means


# Texts


def _token_models(lab: Experiments) -> Named:
    """Yield n-gram models of the targets."""
    config, codec = lab.bench.config, lab.bench.codecs[1]
    if not isinstance(lab.trained.model, Stepper) or config.model.outputs != "tokens":
        raise LeftOut("the loss of the run is not that of one token after the other")
    is_continuous = isinstance(config.data, TokensConfig) and config.data.is_continuous
    documents = list(_documents(lab.rows, TextSide(codec).eos_id))
    for order, name in ORDERS.items():
        model = NgramConfig(order=order).build(codec, codec)
        model.fit(documents, "continuous" if is_continuous else "lines", logging.DEBUG)
        yield name, _total_losses(lab, [model.score(_text_of(batch)) for batch in lab.valid_sample])


def _documents(rows: Rows, eos_id: int) -> Iterator[NDArray[Any]]:
    """Yield the texts of the targets, which end at each eos."""
    for row in rows.targets:
        parts = np.split(row, np.flatnonzero(row == eos_id) + 1)
        yield from (part[part != eos_id] for part in parts if len(part))


def _text_of(batch: Any) -> TextBatch:
    return TextBatch(batch.tgt_in, batch.tgt_out, batch.indices, batch.num_tgt_tokens)


def _total_losses(lab: Experiments, log_probs: Sequence[Tensor]) -> Losses:
    """Return the losses of the validation rows from the log-probabilities of the targets of each batch."""
    totals, counts = [-float(row.sum()) for row in log_probs], [float(b.num_targets) for b in lab.valid_sample]
    return Losses(np.array(totals), np.array(counts))


# Labels of words


def _position_models(lab: Experiments) -> Named:
    """Yield the frequencies of the labels, and of the labels of each word."""
    src, tgt = lab.bench.codecs
    for name, is_blind in (("frequencies of the labels", True), ("frequencies of the labels of each word", False)):
        model = FrequencyLabeller(FrequencyLabellerConfig(), src.vocab_size, tgt.num_labels)
        for batch in lab.bench.train_rows:
            words, labels, _ = _words(batch, is_blind)
            model.count(words[labels != IGNORE], labels[labels != IGNORE])
        yield name, _total_losses(lab, [_score(model, batch, is_blind) for batch in lab.valid_sample])


def _words(batch: DivisibleBatch, is_blind: bool) -> tuple[Tensor, Tensor, LabelledBatch]:
    """Return the words (W,) and labels (W,) of a batch, and the batch; with `is_blind`, all words are equal."""
    assert isinstance(batch, LabelledBatch)
    assert batch.tgt_out is not None
    blinded = replace(batch, src=torch.zeros_like(batch.src)) if is_blind else batch
    is_word = ~padding_mask(batch.src_lengths, batch.src.size(1))
    return blinded.src[is_word], batch.tgt_out[is_word], blinded


def _score(model: FrequencyLabeller, batch: DivisibleBatch, is_blind: bool) -> Tensor:
    """Return the log-probabilities (W,) of the labels of a batch, 0 without a label."""
    _, labels, blinded = _words(batch, is_blind)
    log_probs = model.label(blinded).gather(1, labels.clamp_min(0)[:, None])[:, 0]
    return log_probs.masked_fill(labels == IGNORE, 0.0)


QUESTIONS: Sequence[tuple[str, Any]] = (("what do simple models reach on the validation rows?", measure_baselines),)
"""Text of each question -> function that yields measurements."""
