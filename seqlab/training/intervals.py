"""Intervals of logging, checkpoints and validation: in steps, or in time if `max_minutes` limits training.

The intervals of a config are numbers of steps. If `max_minutes` ends training after a fraction of `max_steps`, events
are also triggered by time: an interval of a tenth of `max_steps` becomes a tenth of `max_minutes`. So a run that stops
early is still logged and validated.
"""

from seqlab.runs.config import TrainingConfig
from seqlab.training.state import Progress

MIN_TIME_SHARE = 0.05
"""Share of `max_minutes` after which the number of steps is estimated from the pace of training."""
MAX_TIMED_EVENTS = {"log": 50, "save": 20, "valid": 10}
"""Event -> maximum number of times that it is triggered by time, since it takes time from training."""
FIRST_VALIDATION = (0.5, 1.0)
"""Share of `max_minutes`, and minutes: the earlier one is the earliest time of a first validation triggered by time.
Its duration is not yet known, and may be longer than the remaining time of a short training."""
VALIDATION_SPACING = 9
"""Minimum time between two validations triggered by time, in multiples of the duration of the last validation."""


def due_events(progress: Progress, training: TrainingConfig) -> set[str]:
    """Return which of `log`, `save` and `valid` are due after the current step, and record their time in `progress`."""
    intervals = {"log": training.log_every, "save": training.save_every, "valid": training.valid_every}
    due = {event for event, interval in intervals.items() if progress.step % interval == 0}
    timed = {event for event, interval in intervals.items() if _is_due_by_time(progress, training, event, interval)}
    if "save" in timed - due:
        progress.timed_saves.append(progress.step)
    if training.max_minutes is not None:
        progress.minutes_of_last |= dict.fromkeys(due | timed, progress.minutes)
    return due | timed


def note_validation_time(progress: Progress, training: TrainingConfig, started: float) -> None:
    """Record in `progress` the minutes that a validation took, which `due_events` uses if there is a time limit."""
    if training.max_minutes is not None:
        progress.validation_minutes = progress.minutes - started


def is_pace_known(progress: Progress, training: TrainingConfig) -> bool:
    """Return whether enough of `max_minutes` has passed to estimate the number of steps; False without a limit."""
    return training.max_minutes is not None and progress.minutes >= MIN_TIME_SHARE * training.max_minutes


def _is_due_by_time(progress: Progress, training: TrainingConfig, event: str, interval: int) -> bool:
    if training.max_minutes is None or not is_pace_known(progress, training):
        return False
    if progress.expected_steps(training) >= training.num_steps:
        return False
    share = max(interval / training.num_steps, 1 / MAX_TIMED_EVENTS[event])
    gap = share * training.max_minutes
    if event == "valid":
        share_of_first, minutes_of_first = FIRST_VALIDATION
        is_first = not progress.validation_minutes
        earliest = min(share_of_first * training.max_minutes, minutes_of_first)
        gap = max(gap, earliest if is_first else VALIDATION_SPACING * progress.validation_minutes)
    return progress.minutes - progress.minutes_of_last.get(event, 0.0) >= gap
