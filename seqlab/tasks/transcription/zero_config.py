"""Every field that is left open, chosen by the recordings."""

from collections.abc import Sequence

from seqlab.runs.config import Config
from seqlab.runs.overrides import Override
from seqlab.training.recording_choices import choose_by_recordings

BASE = {"data.kind": "transcription", "model.family": "lstm_recogniser", "objective.family": "ctc"}


def from_recordings(overrides: Sequence[Override]) -> Config:
    """Choose every field that `overrides` leaves open; see `choose_by_recordings`."""
    return choose_by_recordings(overrides, BASE, {"nonspeech": 0.03})
