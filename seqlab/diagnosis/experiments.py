"""Short trainings of a diagnosis, each with one change, and the losses that they reach.

All of them are measured on the same samples of training and validation rows, and kept, so that several questions can
use them.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch

from seqlab.data.batch import DivisibleBatch
from seqlab.diagnosis.changes import Change, unchanged
from seqlab.diagnosis.finding import LeftOut
from seqlab.diagnosis.rows import Rows, rows_of_batches
from seqlab.diagnosis.workbench import Learner, Losses, Workbench, sample_rows, select_rows
from seqlab.evaluation.metrics import line_statistics
from seqlab.objectives import Loss
from seqlab.training.update import NonFiniteUpdate

SAMPLE_ROWS = 320
NUM_TRAININGS = 14
"""Number of short trainings for which the time is divided."""
TRAINING_SHARE = 0.75
"""Share of the time for short trainings."""
MIN_UPDATES, MAX_UPDATES = 12, 400
"""Number of updates of a short training: with fewer, nothing can be seen."""
WANTED_UPDATES, MIN_SHARE_OF_STEP = 60, 1 / 16
"""If there is no time for as many updates, their steps are smaller than those of the run."""
TIMED_UPDATES = 2
MIN_ERRORS, MIN_SHARE_OF_UNIFORM = 3.0, 0.02
"""A loss has changed if the change exceeds so many standard errors, and this share of the loss of uniform outputs."""

Start = Literal["trained", "fresh"]


@dataclass(frozen=True)
class Outcome:
    """Losses after a short training."""

    train: Losses
    valid: Losses
    other: Losses
    """Losses of training rows that were left out of the short training; those of `train` if none were."""
    num_updates: int

    @property
    def has_diverged(self) -> bool:
        """Whether the training ended with a loss that is not finite."""
        return not np.isfinite(self.train.mean)


@dataclass(frozen=True)
class Difference:
    """Mean loss per unit of one measurement minus that of another one for the same rows."""

    value: float
    standard_error: float
    before: float
    after: float
    uniform: float
    """Loss of uniform outputs."""

    def is_below(self, share: float) -> bool:
        """Return whether the loss fell by more than a share of itself, and clearly more than by chance."""
        if np.isnan(self.standard_error):
            return False
        least = max(share * abs(self.before), MIN_SHARE_OF_UNIFORM * self.uniform, MIN_ERRORS * self.standard_error)
        return self.value < -least

    def __str__(self) -> str:
        return f"from {self.before:.3g} to {self.after:.3g} ({self.value:+.2g} ± {self.standard_error:.1g})"


@dataclass
class Experiments:
    """A workbench with a limited time, and the results of its short trainings so far."""

    bench: Workbench
    minutes: float
    shortened: Sequence[str] | None = None
    """Arguments of `seqlab train` of which the run is a shortened training; None for a run of full length."""
    started: float = field(default_factory=time.monotonic)
    share_of_step: float = 1.0
    """Size of a step of the short trainings, relative to that of the run; set by `num_updates`."""
    _outcomes: dict[Any, Outcome] = field(default_factory=dict)

    @property
    def seconds_left(self) -> float:
        """Seconds until the time is up."""
        return self.started + 60 * self.minutes - time.monotonic()

    def check_time(self) -> None:
        """Raise LeftOut if the time is up."""
        if self.seconds_left < 0:
            raise LeftOut("the time is up")

    @cached_property
    def trained(self) -> Learner:
        """A learner with the weights of the run, for measurements only; LeftOut for a model without gradients."""
        self.bench.refuse_count_based()
        return self.bench.learner(weights=self.bench.weights)

    def fresh(self, change: Change = unchanged) -> Learner:
        """Return a learner with the weights at the start of a training; raise LeftOut for a model without gradients."""
        self.bench.refuse_count_based()
        return self.bench.learner(change(self.bench.config))

    @cached_property
    def train_sample(self) -> list[DivisibleBatch]:
        """Random training rows in groups."""
        return sample_rows(self.bench.train_rows, SAMPLE_ROWS, seed=2)

    @cached_property
    def valid_sample(self) -> list[DivisibleBatch]:
        """Random validation rows in groups; raises LeftOut if the task does not list them."""
        if not self.bench.valid_rows:
            raise LeftOut("the task does not list the validation rows")
        return sample_rows(self.bench.valid_rows, SAMPLE_ROWS, seed=2)

    @cached_property
    def half(self) -> tuple[list[DivisibleBatch], list[DivisibleBatch]]:
        """Two random halves of the training rows; the second one in groups, as a sample."""
        count = sum(len(batch.indices) for batch in self.bench.train_rows)
        is_first = np.random.default_rng(3).random(count) < 0.5
        other_rows = select_rows(self.bench.train_rows, ~is_first)
        sample = sample_rows(other_rows, SAMPLE_ROWS, seed=2)
        return select_rows(self.bench.train_rows, is_first), sample

    @cached_property
    def rows(self) -> Rows:
        """Training rows as arrays."""
        return rows_of_batches(self.bench.train_rows)

    @cached_property
    def valid_array_rows(self) -> Rows:
        """Validation rows as arrays."""
        return rows_of_batches(self.bench.valid_rows)

    @cached_property
    def final(self) -> Outcome:
        """Losses of the run itself."""
        train, valid = self.trained.losses(self.train_sample), self.trained.losses(self.valid_sample)
        return Outcome(train, valid, train, self.bench.step)

    @cached_property
    def uniform_loss(self) -> float:
        """Loss per unit of uniform outputs, in nats; for numbers and probabilities, the loss of outputs of 0."""
        rows = self.rows
        if rows.target_kind == "numbers":
            losses = [self._loss_of_zeros(batch) for batch in self.train_sample]
            return sum(float(loss.total) for loss in losses) / max(1.0, sum(float(loss.count) for loss in losses))
        if rows.target_kind == "tokens":
            return float(np.log(self.bench.codecs[1].vocab_size))
        return float(np.log(max(2, len(np.unique(np.concatenate(rows.targets))))))

    def _loss_of_zeros(self, batch: Any) -> Loss:
        """Compute the loss of outputs of 0 for rows with numbers."""
        return self.trained.measured(lambda _: torch.zeros(batch.targets.shape), batch, self.bench.context)

    def compare(self, before: Losses, after: Losses) -> Difference:
        """Compare two measurements of the same groups of rows; the standard error is that of paired groups."""
        value = after.mean - before.mean
        is_finite = np.isfinite(value)
        paired = Losses(after.totals - before.totals, before.counts) if is_finite else None
        error = 0.0 if paired is None else paired.standard_error
        return Difference(value, error, before.mean, after.mean, self.uniform_loss)

    @cached_property
    def scores_fell(self) -> bool:
        """Whether the last validation of the run is no better than the first one."""
        name = str(self.bench.config.training.valid_metric)
        values = [line[name] for line in self.bench.metrics if line["kind"] == "valid" and name in line]
        if len(values) < 2:
            return False
        higher_is_better = line_statistics(name, ["1"], [["1"]]).score().higher_is_better
        return bool(values[-1] <= values[0] if higher_is_better else values[-1] >= values[0])

    @cached_property
    def num_updates(self) -> int:
        """Number of updates of a short training, from the time of an update.

        Raises:
            LeftOut: the time is too short, or the model is not trained by gradients.
        """
        learner = self.fresh()
        learner.train(self.bench.train_rows, 1)
        started = time.monotonic()
        learner.train(self.bench.train_rows, TIMED_UPDATES)
        seconds = (time.monotonic() - started) / TIMED_UPDATES
        count = TRAINING_SHARE * 60 * self.minutes / NUM_TRAININGS / seconds
        self.share_of_step = min(1.0, max(MIN_SHARE_OF_STEP, count / WANTED_UPDATES))
        count /= self.share_of_step
        if count < MIN_UPDATES:
            raise LeftOut(f"an update takes {seconds:.1f} s: `--minutes` is too short for {MIN_UPDATES} updates")
        return min(int(count), MAX_UPDATES)

    def run(
        self,
        start: Start,
        key: str = "",
        change: Change = unchanged,
        *,
        lr_factor: float = 1.0,
        rows: Sequence[DivisibleBatch] | None = None,
        share_of_step: float = 1.0,
    ) -> Outcome:
        """Train from the weights of the run or from new ones, and measure; equal trainings run once.

        Args:
            start: the weights to begin with.
            key: name of `change` and `rows`.
            change: function that returns a changed config.
            lr_factor: factor of the peak learning rate.
            rows: training rows; by default all.
            share_of_step: size of a step relative to that of other short trainings; there are as many more updates.

        Raises:
            LeftOut: there is no time left.
        """
        identity = (start, key, lr_factor, share_of_step)
        if identity not in self._outcomes:
            self._outcomes[identity] = self._run(start, change, lr_factor, rows, share_of_step)
        return self._outcomes[identity]

    def train(
        self,
        learner: Learner,
        rows: Sequence[DivisibleBatch],
        num_updates: int,
        lr_factor: float = 1.0,
        share: float = 1.0,
    ) -> None:
        """Train a learner as `Learner.train` does; raise LeftOut when the time is up."""
        learner.train(rows, num_updates, lr_factor, share_of_step=share, before_update=self.check_time)

    def _run(
        self,
        start: Start,
        change: Change,
        lr_factor: float,
        rows: Sequence[DivisibleBatch] | None,
        share_of_step: float,
    ) -> Outcome:
        count = round(self.num_updates / share_of_step)
        weights = self.bench.weights if start == "trained" else None
        learner = self.bench.learner(change(self.bench.config), weights)
        try:
            self.train(learner, rows or self.bench.train_rows, count, lr_factor, share_of_step * self.share_of_step)
        except NonFiniteUpdate:
            nan = Losses(np.array([np.nan]), np.array([1.0]))
            return Outcome(nan, nan, nan, count)
        train = learner.losses(self.train_sample)
        other = train if rows is None else learner.losses(self.half[1])
        return Outcome(train, learner.losses(self.valid_sample), other, count)
