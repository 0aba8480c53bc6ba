"""Training of what is counted rather than optimised: one step over the whole corpus, one validation, one checkpoint."""

import logging
import time

from seqlab.training.state import TrainingRun

logger = logging.getLogger(__name__)


def count(run: TrainingRun) -> None:
    """Fit the model to the training corpus, unless that is done.

    Every rank does, as counting takes seconds and all need the model to validate.
    """
    if run.progress.step:
        return
    started = time.monotonic()
    for line in run.task.count(run):
        logger.info("%s", line)
    run.progress.step = 1
    found = run.task.validate(run, run.weights())
    run.progress.minutes = run.machine.world.max((time.monotonic() - started) / 60)
    assert run.config.training.valid_metric is not None, "a config that is resolved names one"
    run.progress.add_validation(found.score(run.config.training.valid_metric), found.nll, keep=1)
    figures = found.figures()
    run.journal.write("valid", step=1, minutes=run.progress.minutes, is_best=True, **figures)
    shown = "  ".join(f"{name} {value:.3f}" for name, value in figures.items())
    logger.info("validation: %s after %.1f s", shown, 60 * run.progress.minutes)
    run.save()
