"""Training of what is counted rather than optimised: one step over the whole text, one validation, one checkpoint."""

import logging
import time

from seqlab.data.config import TextConfig
from seqlab.models import NgramModel
from seqlab.training.state import TrainingRun
from seqlab.training.validation import validate

logger = logging.getLogger(__name__)


def count(run: TrainingRun, model: NgramModel) -> None:
    """Fit an n-gram model to the training text, unless that is done.

    Every rank does, as counting takes seconds and all need the model to validate.
    """
    if run.progress.step:
        return
    started = time.monotonic()
    assert isinstance(run.config.data, TextConfig)
    documents = (row[:-1] for row in run.data.train.rows)  # their ends are the model's own business
    model.fit(documents, run.config.data.documents)
    for length, level in enumerate(model.trie, start=1):
        logger.info("%d-grams: %s", length, f"{len(level.keys):,}")
    run.progress.step = 1
    found = validate(run, run.weights())
    run.progress.minutes = run.machine.world.highest((time.monotonic() - started) / 60)
    run.progress.add_validation(-found.nll, found.nll, keep=1)
    figures = {"nll_per_tgt_token": found.nll}
    run.journal.write("valid", step=1, minutes=run.progress.minutes, is_best=True, **figures)
    logger.info("validation: nll_per_tgt_token %.3f after %.1f s", found.nll, 60 * run.progress.minutes)
    run.save()
