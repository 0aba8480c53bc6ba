"""Every field that is left open, chosen by the recordings."""

from collections.abc import Sequence

from seqlab.runs.config import Config
from seqlab.runs.overrides import Override, override
from seqlab.tasks.recording_labels.config import RecordingLabelsConfig
from seqlab.training.choices import Choices
from seqlab.training.recording_choices import choose_by_recordings

BASE = {"data.kind": "recording_labels", "model.family": "gru_recording_labeller", "objective.family": "softmax"}


def from_labels(overrides: Sequence[Override]) -> Config:
    """Choose every field that `overrides` leaves open by the recordings that they name; log what and why.

    Raises:
        ConfigError: an unknown key or an impossible value.
        FileNotFoundError, ValueError: a list cannot be read, or none of its recordings.
    """
    given = {key for key, _ in overrides}
    chosen = [(key, value) for key, value in BASE.items() if key not in given]
    choices = Choices(override(None, [*chosen, *overrides]), sorted(given))
    data = choices.config().data
    assert isinstance(data, RecordingLabelsConfig)
    choose_by_recordings(choices, data, {})
    return choices.config()
