"""Stopping criteria of training (steps, minutes, patience), and stop requests by SIGTERM or Ctrl-C."""

import logging
import signal
import threading
from types import FrameType, TracebackType
from typing import Literal

from seqlab.base.world import World
from seqlab.runs.config import TrainingConfig
from seqlab.training.state import Progress

logger = logging.getLogger(__name__)

StopReason = Literal["steps", "minutes", "patience"]
MIN_STEP_SHARE = 0.1
"""Warn if training ends after less than this share of the planned steps."""


def find_stop_reason(progress: Progress, training: TrainingConfig) -> StopReason | None:
    """Return the limit that ends training after the current step; None if training continues."""
    if progress.step >= training.num_steps:
        return "steps"
    if training.max_minutes is not None and progress.minutes >= training.max_minutes:
        return "minutes"
    if training.patience is not None and progress.validations_since_best >= training.patience:
        return "patience"
    return None


def log_early_stop(progress: Progress, training: TrainingConfig, *, is_fine_tuned: bool = False) -> None:
    """Log the limit that ended training before `max_steps`; warn if few steps were done.

    After few steps a model is poor, unless it started from the weights of another run (`is_fine_tuned`).
    """
    reason = find_stop_reason(progress, training)
    steps = f"{progress.step:,} of {training.num_steps:,} steps"
    if reason == "patience":
        logger.info(
            "`training.patience` (%d) was reached after %s: validation results no longer improved",
            training.patience,
            steps,
        )
    elif reason == "minutes":
        logger.info("`training.max_minutes` (%g) was reached after %s", training.max_minutes, steps)
        share = progress.step / training.num_steps
        if share < MIN_STEP_SHARE:
            logger.warning(
                "only %.2g%% of the planned steps were done, so %s: increase "
                "`training.max_minutes`, or choose a smaller model or smaller batches",
                100 * share,
                "the fine-tuning may have changed little" if is_fine_tuned else "this model is probably poor",
            )


def warn_of_few_steps(progress: Progress, training: TrainingConfig, *, is_fine_tuned: bool = False) -> None:
    """Warn, early in training, if `max_minutes` leaves time for few of the planned steps at the pace so far."""
    expected = progress.expected_steps(training)
    if expected < MIN_STEP_SHARE * training.num_steps:
        logger.warning(
            "at this pace about %s of %s steps fit into `training.max_minutes` (%g), and %s: "
            "allow more minutes, or choose a smaller model or smaller batches",
            f"{expected:,}",
            f"{training.num_steps:,}",
            training.max_minutes,
            "the fine-tuning may change little" if is_fine_tuned else "the model will be poor",
        )


def log_already_finished(progress: Progress, training: TrainingConfig) -> None:
    """Log that a run is already finished, and which limit to increase for further training."""
    steps = f"{progress.step:,} of {training.num_steps:,} steps"
    reason = find_stop_reason(progress, training)
    limit = "patience" if reason == "patience" else f"max_{reason}"
    value = getattr(training, limit)
    logger.info(
        "nothing to train: `training.%s` (%g) was reached after %s; increase it to continue", limit, value, steps
    )


class Interrupted(Exception):
    """A signal stopped training; a checkpoint was written first."""

    def __init__(self, signal_number: int, step: int) -> None:
        super().__init__(
            f"{signal.Signals(signal_number).name}: stopped after step {step} with a checkpoint; "
            "the same command continues."
        )
        self.signal_number = signal_number


class StopRequest:
    """Context manager that records the first SIGTERM or SIGINT; a second SIGINT raises KeyboardInterrupt.

    With several ranks a second SIGINT is ignored: a rank may receive one Ctrl-C from both the terminal and torchrun.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self._received: int | None = None
        self._previous: dict[int, signal.Handlers | int | None] = {}

    def __enter__(self) -> "StopRequest":
        if threading.current_thread() is threading.main_thread():  # Python allows handlers only there
            for number in (signal.SIGTERM, signal.SIGINT):
                self._previous[number] = signal.getsignal(number)  # type: ignore[assignment]
                signal.signal(number, self._record)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def signal_number(self) -> int | None:
        """Return the signal that any rank received, None without one. All ranks must call this together."""
        return int(self.world.max(self._received or 0)) or None

    def _record(self, number: int, _: FrameType | None) -> None:
        if self._received is not None and number == signal.SIGINT and self.world.is_single_process:
            raise KeyboardInterrupt
        self._received = number
