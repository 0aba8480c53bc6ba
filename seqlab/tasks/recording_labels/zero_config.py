"""Every field that is left open, chosen by the recordings."""

from collections.abc import Sequence

from seqlab.runs.config import Config
from seqlab.runs.overrides import Override
from seqlab.training.recording_choices import choose_by_recordings

BASE = {"data.kind": "recording_labels", "model.family": "gru_recording_labeller", "objective.family": "softmax"}


def from_labels(overrides: Sequence[Override]) -> Config:
    """Choose every field that `overrides` leaves open; see `choose_by_recordings`."""
    return choose_by_recordings(overrides, BASE, {})
