"""Every field that is left open, chosen by the recordings."""

import logging
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from seqlab.data.recordings import Recordings, read_recordings
from seqlab.data.survey import no_progress
from seqlab.runs.config import Config
from seqlab.runs.overrides import Override, override
from seqlab.tasks.transcription.config import TranscriptionConfig
from seqlab.training.choices import Choices, choose_intervals, rounded, within

logger = logging.getLogger(__name__)
RATES = (8000, 16000)
"""Samples per second that are chosen: that of telephones, and what speech needs at most."""
HOURS_HEARD = 25
"""Hours of training for an hour of recordings; fewer times through them, the more there are."""
REAL_TIME = 20
"""Seconds of speech that a CPU trains on in a second, of a model of two million parameters."""


def from_recordings(overrides: Sequence[Override]) -> Config:
    """Choose every field that `overrides` leaves open by the recordings that they name; log what and why.

    Raises:
        ConfigError: an unknown key or an impossible value.
        FileNotFoundError, ValueError: a list cannot be read.
    """
    given = {key for key, _ in overrides}
    base = {"data.kind": "transcription", "model.family": "lstm_recogniser", "objective.family": "ctc"}
    chosen = [(key, value) for key, value in base.items() if key not in given]
    choices = Choices(override(None, [*chosen, *overrides]), sorted(given))
    data = choices.config().data
    assert isinstance(data, TranscriptionConfig)
    with tempfile.TemporaryDirectory() as folder:
        _choose(choices, read_recordings(data, Path(folder), no_progress)[0])
    return choices.config()


def _choose(choices: Choices, recordings: Recordings) -> None:
    seconds = np.array([recordings.seconds(i) for i in range(len(recordings))])
    hours = float(seconds.sum()) / 3600
    rates = Counter(each.source_rate for each in recordings.examples if not each.fault)
    if not rates:
        raise ValueError(f"None of the {len(recordings)} recordings can be read: {recordings.examples[0].fault}.")
    logger.info("%s recordings, %.2f hours; chosen by these:", f"{len(recordings):,}", hours)
    usual = rates.most_common(1)[0][0]
    rate = choices.set("data.sample_rate", RATES[usual >= RATES[1]], f"most recordings have {usual:,} samples a second")
    choices.set("data.num_bands", 80 if rate >= RATES[1] else 64, f"{rate:,} samples a second")
    size = within(64 * round(4 * hours**0.25 + 1), 128, 512)
    choices.set("model.hidden_size", size, f"{hours:.2f} hours")
    choices.set("model.num_layers", 2 if hours < 0.5 else 3, f"{hours:.2f} hours")
    changes = {"speed": 0.1, "volume": 6.0, "noise": 0.2, "time_masks": 2, "frequency_masks": 2, "nonspeech": 0.03}
    for name, value in changes.items():
        choices.set(f"data.augment_{name}", value, "few recordings are changed at random")
    batch = choices.set("data.batch_seconds", float(within(round(40 * hours**0.5), 20, 240)), f"{hours:.2f} hours")
    heard = hours * HOURS_HEARD * max(hours, 0.05) ** -0.3
    steps = choices.set(
        "training.max_steps",
        max(200, rounded(3600 * heard / batch)),
        f"{heard / hours:.0f} times through, by {batch:g} seconds in a step; on two cores of a CPU about "
        f"{60 * heard / REAL_TIME:.0f} minutes",
    )
    choices.set("optim.optimizer.lr", 1e-3, f"of {choices.get('optim.optimizer.family')}")
    choices.set_kind("optim.schedule.family", "cosine", "towards 0 at the end")
    choices.set("optim.schedule.warmup_steps", min(500, rounded(0.1 * steps) or 1), f"{steps:,} steps in all")
    choose_intervals(choices, steps)
