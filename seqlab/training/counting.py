"""Training of what is counted rather than optimised: one step over the whole corpus, one validation, one checkpoint."""

import logging
import time

import torch

from seqlab.data.config import TextConfig
from seqlab.data.labels import numbered
from seqlab.models import FrequencyLabeller, NgramModel
from seqlab.training.state import TrainingRun
from seqlab.training.validation import validate

logger = logging.getLogger(__name__)


def count(run: TrainingRun, model: NgramModel | FrequencyLabeller) -> None:
    """Fit a model to the training corpus, unless that is done.

    Every rank does, as counting takes seconds and all need the model to validate.
    """
    if run.progress.step:
        return
    started = time.monotonic()
    if isinstance(model, NgramModel):
        _count_ngrams(run, model)
    else:
        _count_labels(run, model)
    run.progress.step = 1
    found = validate(run, run.weights())
    run.progress.minutes = run.machine.world.highest((time.monotonic() - started) / 60)
    assert run.config.training.valid_metric is not None, "a config that is resolved names one"
    run.progress.add_validation(found.score(run.config.training.valid_metric), found.nll, keep=1)
    figures = found.figures()
    run.journal.write("valid", step=1, minutes=run.progress.minutes, is_best=True, **figures)
    shown = "  ".join(f"{name} {value:.3f}" for name, value in figures.items())
    logger.info("validation: %s after %.1f s", shown, 60 * run.progress.minutes)
    run.save()


def _count_ngrams(run: TrainingRun, model: NgramModel) -> None:
    assert isinstance(run.config.data, TextConfig), "the config has this family for text alone"
    documents = (row[:-1] for row in run.data.train.rows)  # their ends are the model's own business
    model.fit(documents, run.config.data.documents)
    for length, level in enumerate(model.trie, start=1):
        logger.info("%d-grams: %s", length, f"{len(level.keys):,}")


def _count_labels(run: TrainingRun, model: FrequencyLabeller) -> None:
    pairs = run.data.train
    words = torch.from_numpy(pairs.src.values.astype("int64"))
    model.count(words, torch.from_numpy(numbered(pairs.tgt.values, run.tgt_tokenizer)))
    logger.info("words: %s, in %s occurrences", f"{int((model.counts.sum(1) > 0).sum()):,}", f"{len(words):,}")
