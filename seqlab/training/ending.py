"""Why training ended, and what that means for the model."""

import logging
from typing import Literal

from seqlab.runs.config import TrainingConfig
from seqlab.training.state import Progress

logger = logging.getLogger(__name__)

Ending = Literal["steps", "minutes", "patience"]
SMALL_SHARE = 0.1
"""Share of the planned steps below which a model is expected to be poor."""


def find_ending(progress: Progress, training: TrainingConfig) -> Ending | None:
    """Return which limit ends training at this point, or None if none does."""
    if progress.step >= training.num_steps:
        return "steps"
    if training.max_minutes is not None and progress.minutes >= training.max_minutes:
        return "minutes"
    if training.patience is not None and progress.validations_since_best >= training.patience:
        return "patience"
    return None


def log_ending(progress: Progress, training: TrainingConfig) -> None:
    """Log which limit ended training before `max_steps`, and warn where that was after few steps."""
    ending = find_ending(progress, training)
    steps = f"{progress.step:,} of {training.num_steps:,} steps"
    if ending == "patience":
        logger.info("stopped after %s: no better validation in the last %d", steps, progress.validations_since_best)
    elif ending == "minutes":
        logger.info("`training.max_minutes` (%g) was reached after %s", training.max_minutes, steps)
        share = progress.step / training.num_steps
        if share < SMALL_SHARE:
            logger.warning(
                "only %.2g%% of the planned steps were done, so expect little of this model: raise "
                "`training.max_minutes`, or choose a smaller model or fewer steps",
                100 * share,
            )


def log_nothing_left(progress: Progress, training: TrainingConfig) -> None:
    """Log that a run is finished, and which limit to raise for more training."""
    steps = f"{progress.step:,} of {training.num_steps:,} steps"
    ending = find_ending(progress, training)
    limit = "patience" if ending == "patience" else f"max_{ending}"
    value = getattr(training, limit)
    logger.info("nothing to train: `training.%s` (%g) was reached after %s; raise it to train on", limit, value, steps)
