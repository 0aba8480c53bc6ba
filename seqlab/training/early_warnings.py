"""Warnings about faults that show early in a training, each given at most once.

Each condition was chosen so that no recipe meets it (`tests/recipes/test_early_warnings.py`). All values are already
on the host, except the sizes of gradients and updates: these are read at the steps 1, 2, 4, 8, ..., until they are
judged. `python -m benchmarks.early_warnings RECIPE --steps N` measures their share of the processor time of the first N
steps: 0.68% of 1,000 steps of `digits_linear` (1.6 ms each), 0.26% of 100 of `number_words` (106 ms), 0.57% of 16 of
`multi30k_en_de` (352 ms).
"""

import logging
import math
from collections.abc import Iterator

from torch import nn

from seqlab.base.number_text import short_text
from seqlab.data.batch import Batch
from seqlab.data.step import TrainingStep
from seqlab.runs.config import Config
from seqlab.training.intervals import is_pace_known
from seqlab.training.running_statistics import has_batch_norm
from seqlab.training.state import Progress, TrainingRun
from seqlab.training.stopping import warn_of_few_steps
from seqlab.training.update_sizes import UpdateSizes, ratio_to_initial, ratio_to_weights
from seqlab.training.validation import EMPTY_SHARE, Validation

logger = logging.getLogger(__name__)
BATCH_NORM_WARNING = (
    "Batch norm computes its statistics separately over each of the %d micro-steps of a step: the result depends on "
    "their size."
)
GRADIENT_STEPS = 64
"""Step after which each parameter should have had a gradient: a power of 2."""
MAX_RATIO = 0.5
"""Maximum ratio of an update to the initial weights, as the median over matrices."""
MIN_RATIO = 1e-6
"""Minimum ratio of an update to the weights after the warmup, as the maximum over matrices."""
PEAK_SHARE = 0.5
"""Share of the configured learning rate from which updates are large enough to judge whether they are too small."""
MAX_MEASURED_STEP = 2**13
"""Last step at which updates are measured, if the learning rate never reaches `PEAK_SHARE`."""
MAX_ZERO_SHARE = 0.1
"""Maximum share of the training, at its end, with a learning rate of 0."""
CHECKED_RATES = 200
"""Number of steps at which the schedule is evaluated."""
LATE_SHARE = 0.5
"""Share of the training after which a model should be better than a constant prediction."""
MAX_NAMED = 3
"""Maximum number of parameters in a warning."""


class EarlyWarnings:
    """Early warnings of one training; all ranks call its methods, and only the main rank logs warnings."""

    def __init__(self, run: TrainingRun) -> None:
        """Warn of the schedule, and start to measure updates unless the run is resumed after they were judged."""
        training, progress = run.config.training, run.progress
        self._run = run
        self._checks_batch_norm = has_batch_norm(run.model) and progress.step == 0
        self._checks_pace = training.max_minutes is not None and not is_pace_known(progress, training)
        self._checks_validation = not _is_late(progress.step - progress.step % training.valid_every, run)
        self._sizes: UpdateSizes | None = None
        self._are_updates_judged = False
        if progress.step == 0:  # a resumed run lacks its initial weights, and its first gradients
            self._sizes = UpdateSizes(_trained_parameters(run), run.optimizer)
        _warn_of_schedule(run)

    def before_step(self) -> None:
        """Measure the next step if it is due."""
        if self._sizes is not None and _is_power_of_2(self._run.progress.step + 1):
            self._sizes.start()

    def after_step(self, data: TrainingStep[Batch]) -> None:
        """Warn of the step that is finished: its loss, gradients and updates, micro-steps and pace."""
        run, progress, training = self._run, self._run.progress, self._run.config.training
        if self._sizes is not None and progress.step == 1:
            _warn_of_first_loss(run)
        if self._sizes is not None and _is_power_of_2(progress.step):
            self._judge(self._sizes)
        if self._checks_batch_norm and len(data.micro_steps) > 1:
            logger.warning("%s", BATCH_NORM_WARNING % len(data.micro_steps))
            self._checks_batch_norm = False
        if self._checks_pace and is_pace_known(progress, training):
            warn_of_few_steps(progress, training, is_fine_tuned=run.config.init_from is not None)
            self._checks_pace = False

    def after_validation(self, validation: Validation) -> None:
        """Warn, at the first validation after half of the training, of a model that has learned nothing."""
        if self._checks_validation and _is_late(self._run.progress.step, self._run):
            self._checks_validation = False
            _warn_of_empty_outputs(validation, self._run.progress)
            _warn_of_constant_predictions(validation, self._run)

    def _judge(self, sizes: UpdateSizes) -> None:
        """Warn of the gradients and updates measured so far; stop measuring when both were judged."""
        step = self._run.progress.step
        if step == GRADIENT_STEPS and (names := sizes.without_gradient()):
            _warn_of_missing_gradients(names)
        if not self._are_updates_judged:
            self._are_updates_judged = _judge_updates(sizes, self._run)
        if step >= GRADIENT_STEPS and (self._are_updates_judged or step >= MAX_MEASURED_STEP):
            sizes.close()
            self._sizes = None


def _judge_updates(sizes: UpdateSizes, run: TrainingRun) -> bool:
    """Warn of updates that are far too large or small; return whether they were judged, so that measuring can end."""
    updates, step, peak = sizes.updates(), run.progress.step, run.config.optim.optimizer.lr
    to_initial, to_weights = ratio_to_initial(updates), ratio_to_weights(updates)
    if to_initial is not None and to_initial > MAX_RATIO:
        logger.warning(
            "the update of step %d is %s times as large as the initial weights (median of %d matrices), but about "
            "0.001 to 0.03 times is usual: training may diverge. Try a tenth of `optim.optimizer.lr` (%s), or find a "
            "value with `seqlab lr-find`",
            *(step, short_text(to_initial), len(updates), short_text(peak)),
        )
        return True
    if step < GRADIENT_STEPS or run.optimizer.param_groups[0]["lr"] < PEAK_SHARE * peak:
        return False
    if to_weights is not None and to_weights < MIN_RATIO:
        logger.warning(
            "the update of step %d is at most %.1e times as large as the weights, but about 0.001 times is usual: the "
            "weights hardly change. Try a larger `optim.optimizer.lr` (%s), or find a value with `seqlab lr-find`",
            *(step, to_weights, short_text(peak)),
        )
    return True


def _is_power_of_2(step: int) -> bool:
    return step & (step - 1) == 0


def _is_late(step: int, run: TrainingRun) -> bool:
    """Return whether a step is after half of the expected training."""
    return step >= LATE_SHARE * run.progress.expected_steps(run.config.training)


def _trained_parameters(run: TrainingRun) -> dict[str, nn.Parameter]:
    """Return the trained parameters of the model and of the objective by name; not those with frozen rows."""
    partly_frozen = {id(p) for p in run.accumulator.partly_frozen}
    modules = {"": run.model, "objective.": run.objective}
    return {
        f"{prefix}{name}": parameter
        for prefix, module in modules.items()
        if isinstance(module, nn.Module)
        for name, parameter in module.named_parameters()
        if parameter.requires_grad and id(parameter) not in partly_frozen
    }


def first_loss_range(config: Config, tgt: object) -> tuple[float, float] | None:
    """Return the range of the first loss that the objective implies; None if it is unknown, or weights are not random.

    `tgt` is the codec of the target.
    """
    if config.init_from is not None or config.data.vector_files() or "copying" in config.model.abilities:
        return None
    return config.objective.first_loss_range(config.model.num_choices(tgt))


def _warn_of_first_loss(run: TrainingRun) -> None:
    bounds, metrics = first_loss_range(run.config, run.codecs[1]), run.metrics
    if bounds is None or not metrics.count:
        return
    loss = metrics.total / metrics.count
    if not bounds[0] <= loss <= bounds[1]:
        logger.warning(
            "the loss of the first step is %s, but random weights should give %s to %s: %s, or `count` of the "
            "objective's loss is not the number of summed units",
            *(short_text(loss), *map(short_text, bounds)),
            "the inputs may contain the target"
            if loss < bounds[0]
            else "inputs or targets may not be scaled, or the weights of the output layer are too large",
        )


def _warn_of_missing_gradients(names: list[str]) -> None:
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    logger.warning(
        "no gradient has reached the parameters %s%s in the first %d steps, so they are not trained: use them in the "
        "forward pass, without `detach()` or `no_grad()`, or freeze them by `requires_grad_(False)`",
        *(", ".join(names[:MAX_NAMED]), more, GRADIENT_STEPS),
    )


def _warn_of_schedule(run: TrainingRun) -> None:
    """Warn if the learning rate is 0 long before the end of training."""
    last, start = run.config.training.num_steps, run.progress.step
    zero_from = last
    for step, rate in reversed(list(_planned_rates(run.config, start))):
        if rate != 0:
            break
        zero_from = step
    if last - zero_from > max(1, MAX_ZERO_SHARE * last):  # some schedules end at 0
        logger.warning(
            "the learning rate is 0 from about step %s of %s on, so the steps after it change nothing: set a longer "
            "schedule, another `optim.schedule.family`, or a smaller `training.max_steps`",
            *(f"{zero_from:,}", f"{last:,}"),
        )


def _planned_rates(config: Config, start: int) -> Iterator[tuple[int, float]]:
    """Yield steps at equal distances and their learning rates, without the effect of validations."""
    last, optim = config.training.num_steps, config.optim
    for step in range(start, last, max(1, (last - start) // CHECKED_RATES)):
        yield step, optim.schedule.lr_at(optim.optimizer.lr, step, last)


def _warn_of_empty_outputs(validation: Validation, progress: Progress) -> None:
    share = validation.more.get(EMPTY_SHARE, 0.0)
    if share == 1:
        logger.warning(
            "after %s steps all outputs of the validation set are empty: the model predicts only blanks. Train longer "
            "with a higher `optim.optimizer.lr`, and compare the recordings with their transcripts",
            f"{progress.step:,}",
        )


def _warn_of_constant_predictions(validation: Validation, run: TrainingRun) -> None:
    """Warn if the validation is no better than a prediction that ignores the inputs."""
    for metric, value in (run.task.constant_scores(run) or {}).items():
        score = validation.scores.get(metric)
        if score is None or not math.isfinite(score.value):
            continue
        gain = score.value - value if score.higher_is_better else value - score.value
        if gain < 1e-9:  # a rounding error
            logger.warning(
                "after %s of %s steps the validation (%s %s) is no better than a constant prediction (%s): the model "
                "has learned nothing from the inputs. Check that inputs and targets belong together, and try "
                "`seqlab lr-find`",
                f"{run.progress.step:,}",
                f"{run.config.training.num_steps:,}",
                metric,
                short_text(score.value),
                short_text(value),
            )
