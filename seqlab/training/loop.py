"""Training loop: updates, validation, logging and checkpoints."""

import logging
import math
import time
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from seqlab.base.malloc import release_heap
from seqlab.base.number_text import short_text
from seqlab.data.batch import Batch, pin_batch
from seqlab.data.prefetch import Prefetch
from seqlab.data.step import TrainingStep
from seqlab.training.early_warnings import EarlyWarnings
from seqlab.training.failure import StartedStep, dump_if_non_finite
from seqlab.training.intervals import due_events, note_validation_time
from seqlab.training.progress_bar import ProgressBar
from seqlab.training.state import TrainingRun
from seqlab.training.stopping import (
    Interrupted,
    StopRequest,
    find_stop_reason,
    log_already_finished,
    log_early_stop,
)
from seqlab.training.training_metrics import TrainingMetrics
from seqlab.training.update import Update, can_skip_updates, start_update
from seqlab.training.validation import Validation

logger = logging.getLogger(__name__)


def fit(run: TrainingRun) -> None:
    """Train from `run.progress` until a limit of the config is reached.

    Raises:
        Interrupted: SIGTERM or Ctrl-C; a checkpoint of the last step was written.
        FailedStep: a loss or gradient was not finite; a dump of the step was written.
        LostRank: another rank has ended.
    """
    if run.config.model.is_count_based:
        fit_count_based(run)
        return
    if _is_finished(run):
        if run.metrics.epoch:  # restoring the checkpoint removed this line; older versions wrote none
            _log(run)
        log_already_finished(run.progress, run.config.training)
        return
    config, progress, world = run.config, run.progress, run.device_context.world
    run.model.train()
    minutes_before, started = progress.minutes, time.monotonic()

    def read_clock() -> None:
        """Set the training time to the maximum over the ranks, which must all stop at the same step."""
        progress.minutes = world.max(minutes_before + (time.monotonic() - started) / 60)

    with (
        StopRequest(world) as request,
        Prefetch(training_steps(run), config.data.prefetch_steps) as prefetched,
        ProgressBar(config.training, progress, world.is_main, config.objective.shown_logs) as bar,
    ):
        step_started, started_steps = time.monotonic(), StartedSteps(run)
        warnings = EarlyWarnings(run)
        for data in prefetched:
            warnings.before_step()
            started_steps.start(data)
            progress.step, progress.position = progress.step + 1, data.position
            read_clock()
            due = due_events(progress, config.training)
            validated = "valid" in due or _is_finished(run)
            stop = request.signal_number()  # read once: a later signal takes effect after the next step
            is_first = progress.step == 1
            started_steps.finish(keep=0 if due or validated or is_first or stop is not None else 1)
            run.metrics.seconds += time.monotonic() - step_started
            warnings.after_step(data)  # before the metrics are reset
            if is_first:
                bar.show_first_step(run.metrics)
            if "log" in due:
                _log(run, bar)
            bar.advance(progress)
            if validated:
                validation_started = progress.minutes
                progress.counted_before_end = None if "valid" in due else progress.validations_since_best
                averaged = _validate(run, bar, warnings)
                read_clock()
                note_validation_time(progress, config.training, validation_started)
                stop = stop or request.signal_number()
                run.save(averaged)
                if _is_finished(run):
                    # After the checkpoint: if training goes on, the next line covers these steps, too.
                    if run.metrics.steps:
                        _log(run, bar)
                    log_early_stop(progress, config.training, is_fine_tuned=config.init_from is not None)
                    return
            elif stop is not None:
                run.save(run.inference_weights())
            elif "save" in due:
                run.save()
            if stop is not None:
                raise Interrupted(stop, progress.step)
            step_started = time.monotonic()


def fit_count_based(run: TrainingRun) -> None:
    """Fit a count-based model to the training corpus in one step; then validate it and save a checkpoint.

    Every rank fits it: counting takes seconds, and all ranks need the model for validation. A finished run stays
    unchanged.
    """
    if run.progress.step:
        return
    started = time.monotonic()
    for line in run.task.count(run):
        logger.info("%s", line)
    run.progress.step = 1
    validation = run.task.validate(run, run.weights())
    run.progress.minutes = run.device_context.world.max((time.monotonic() - started) / 60)
    is_best = _record_validation(run, validation, keep=1)
    metrics = validation.metrics()
    run.metrics_logger.write("valid", step=1, minutes=run.progress.minutes, is_best=is_best, **metrics)
    shown = "  ".join(f"{name} {short_text(value)}" for name, value in metrics.items())
    logger.info("validation: %s after %.1f s", shown, 60 * run.progress.minutes)
    run.save()


def training_steps(run: TrainingRun) -> Iterator[TrainingStep[Batch]]:
    """Yield the steps after `run.progress.position`; on a GPU their batches are in page-locked memory."""
    steps = run.task.steps(run.data, run.config, run.codecs, run.device_context.world, run.progress.position)
    return map(_pin, steps) if run.device_context.device.type == "cuda" else steps


def _pin(step: TrainingStep[Batch]) -> TrainingStep[Batch]:
    return replace(step, micro_steps=[pin_batch(batch) for batch in step.micro_steps])


def train_step(run: TrainingRun, data: TrainingStep[Batch]) -> Update:
    """Run one update and wait for it."""
    started_steps = StartedSteps(run)
    started_steps.start(data)
    [done] = started_steps.finish()
    return done


def _defers_metrics(run: TrainingRun) -> bool:
    """Return whether the metrics of an update are read only after the next update was launched."""
    return run.device_context.device.type == "cuda" and can_skip_updates(run.optimizer)


class StartedSteps:
    """Queue of steps with started updates, before their metrics are read.

    On a GPU it contains one step, so that the host launches the next update while the device computes. On a CPU an
    update is finished when `start` returns.
    """

    def __init__(self, run: TrainingRun) -> None:
        self._run = run
        self._started: list[StartedStep] = []
        self._has_failed: Tensor | None = None
        if _defers_metrics(run):
            self._has_failed = torch.zeros((), device=run.device_context.device)

    def start(self, data: TrainingStep[Batch]) -> None:
        """Start the update that follows `run.progress.step`."""
        run, config = self._run, self._run.config
        lr = _learning_rate(run) * data.lr_factor
        step = StartedStep(run.progress.step, data, run.accumulator.carry, lr)
        with dump_if_non_finite(run, step):
            step.update = start_update(
                run.accumulator,
                run.optimizer,
                data.micro_steps,
                run.step_context(step.number),
                lr,
                config.optim.max_grad_norm,
                config.optim.max_grad_value,
                self._has_failed,
                config.optim.l1_penalty,
            )
        self._started.append(step)
        if run.moving_average is not None:
            run.moving_average.update(run.weights(), step.number)

    def finish(self, keep: int = 0) -> list[Update]:
        """Wait for all started updates except the last `keep`, and return them; on a CPU `keep` counts as 0."""
        done = []
        while len(self._started) > (keep if self._has_failed is not None else 0):
            step = self._started.pop(0)
            with dump_if_non_finite(self._run, step):
                assert step.update is not None, "`start` sets it"
                done.append(step.update.finish())
            self._run.metrics.add(step.data, done[-1], step.lr)
        return done


def _learning_rate(run: TrainingRun) -> float:
    """Return the learning rate of the next step; shorten the schedule if `max_minutes` ends the run early."""
    training, optim = run.config.training, run.config.optim
    schedule, last = optim.schedule, run.progress.expected_steps(training)
    if last < training.num_steps:
        schedule = schedule.shortened(last)
    lr = schedule.lr_at(optim.optimizer.lr, run.progress.step, last)
    lr *= schedule.validation_factor(run.progress.valid_nlls)
    if not (isinstance(lr, int | float) and 0 <= lr < math.inf):
        raise ValueError(
            f"`optim.schedule.family: {schedule.family}` must return a learning rate of at least 0, but returned "
            f"{lr!r} at step {run.progress.step}."
        )
    return lr


def _log(run: TrainingRun, bar: ProgressBar | None = None) -> None:
    """Write the metrics since the last log line, show them, and reset them."""
    progress, metrics = run.progress, run.metrics
    values = {
        "step": progress.step,
        "epoch": metrics.epoch,
        "minutes": progress.minutes,
        "lr": metrics.lr,
        **metrics.per_unit(),
    }
    run.metrics_logger.write("train", **values)
    if bar is not None:
        bar.show_training(progress, values)
    run.metrics = TrainingMetrics()


def _is_finished(run: TrainingRun) -> bool:
    return find_stop_reason(run.progress, run.config.training) is not None


def _validate(run: TrainingRun, bar: ProgressBar, warnings: EarlyWarnings) -> dict[str, Tensor]:
    """Validate with the weights for inference, and return these weights."""
    training, progress = run.config.training, run.progress
    release_heap()
    weights = run.inference_weights()
    validation = run.task.validate(run, weights)
    is_best = _record_validation(run, validation, training.keep_best)
    metrics = validation.metrics()
    run.start_average_if_stalled()
    run.metrics_logger.write("valid", step=progress.step, minutes=progress.minutes, is_best=is_best, **metrics)
    bar.show_validation(metrics, is_best)
    warnings.after_validation(validation)
    return weights


def _record_validation(run: TrainingRun, validation: Validation, keep: int) -> bool:
    """Record a validation in the progress; return whether it is the best one, and warn if it cannot be compared."""
    metric, progress = run.config.training.valid_metric, run.progress
    assert metric is not None, "a resolved config has one"
    score = validation.score(metric)
    if not math.isfinite(score):
        logger.warning(
            "the validation after step %d has no finite `training.valid_metric: %s` (%s): it is not compared with "
            "others, so it is never the best one and does not count for `training.patience`",
            progress.step,
            metric,
            score,
        )
    return progress.add_validation(score, validation.nll, keep)
