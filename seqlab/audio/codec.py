"""Codec of recordings: waveforms to normalized log-mel frames."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from seqlab.audio.features import LogMel
from seqlab.audio.quality import MAX_BACKGROUND_DB, MAX_DEVIATION_DB, MIN_BACKGROUND_SECONDS, usual_background_db
from seqlab.base.atomic_io import write_json
from seqlab.base.parsing import read_json, validate_type

RECORDING_CODEC_FILE = "codec.recording.json"
FrameNormalization = Literal["corpus", "recording", "none"]
Level = Literal["equal", "kept"]
MAX_MEASURED_RECORDINGS = 2000
"""Maximum number of recordings used to estimate the mean and standard deviation of each band."""
MIN_STANDARD_DEVIATION = 1e-3
"""Lower limit of the standard deviation of a band."""
SOUND_LEVEL = -3.5 * math.log(10)
"""Level of a frame that counts as sound, relative to that of the recording, in nats of energy (-35 dB)."""
KEPT_SILENCE_SECONDS = 0.05
"""Silence that is kept at both ends where it is trimmed."""
KEPT_BACKGROUND_SECONDS = 0.02
"""Steady background that is kept at both ends where it is trimmed."""
CHANGE_DB, CHANGED_FRAMES = 4.0, 2
"""End of a steady background: the first of successive frames whose levels differ by `CHANGE_DB` from its median."""


@dataclass(frozen=True)
class RecordingCodec:
    """Codec from waveforms (n,) to frames (F, M)."""

    codec: ClassVar[str] = "recording"
    sample_rate: int
    num_bands: int
    window_ms: float
    hop_ms: float
    normalise: FrameNormalization
    means: tuple[float, ...] = ()
    """Mean of each band over the training recordings, with `normalise: corpus`."""
    deviations: tuple[float, ...] = ()
    """Standard deviation of each band over the training recordings, with `normalise: corpus`."""
    level: Level = "kept"
    """Whether the frames depend on the level of the recording; codecs of older runs lack this field."""
    trims_silence: bool = False
    """Whether frames of silence or of a steady background at both ends are left out, for tasks without times."""
    background_db: float | None = None
    """Level of a steady background that is usual in training (`usual_background_db`)."""

    @property
    def log_mel(self) -> LogMel:
        """The log-mel transform with these settings."""
        equal = self.level == "equal"
        return LogMel(self.sample_rate, self.num_bands, self.window_ms, self.hop_ms, equal_level=equal)

    def fit(self, waveforms: Iterable[Any]) -> RecordingCodec:
        """Return this codec with the mean and standard deviation of each band over `waveforms`.

        Returns the codec unchanged unless `normalise` is `corpus`.
        """
        if self.normalise != "corpus":
            return self
        count, total, squares = 0, torch.zeros(self.num_bands).double(), torch.zeros(self.num_bands).double()
        for samples in waveforms:
            frames = self._unnormalized_frames(samples).double()
            count, total, squares = count + len(frames), total + frames.sum(0), squares + frames.square().sum(0)
        means = total / max(count, 1)
        deviations = (squares / max(count, 1) - means.square()).clamp_min(MIN_STANDARD_DEVIATION**2).sqrt()
        return replace(self, means=tuple(means.tolist()), deviations=tuple(deviations.tolist()))

    def max_background_db(self, limit: float) -> float:
        """Return the level of a steady background above which a warning is due: a limit, or a higher usual level."""
        return limit if self.background_db is None else max(limit, self.background_db)

    def frames(self, samples: Any) -> Tensor:
        """Compute the normalized frames of a waveform, int16 or floats in [-1, 1]: (n,) -> (F, M)."""
        frames = self._unnormalized_frames(samples)
        if self.normalise == "corpus":
            return (frames - torch.tensor(self.means)) / torch.tensor(self.deviations)
        if self.normalise == "recording":
            deviations = frames.std(0, correction=0).clamp_min(MIN_STANDARD_DEVIATION)
            return (frames - frames.mean(0)) / deviations
        return frames

    def _unnormalized_frames(self, samples: Any) -> Tensor:
        """Compute the log-mel frames of a waveform, (n,) -> (F, M), without silent ends if they are trimmed."""
        frames = self.log_mel(samples)
        if not self.trims_silence or not len(frames):
            return frames
        levels = frames.logsumexp(1)
        loud = torch.nonzero(levels > SOUND_LEVEL)[:, 0]
        if not len(loud):
            return frames
        levels = levels[loud[0] : loud[-1] + 1]
        first = int(loud[0]) + self._frames_before_sound(levels)
        last = int(loud[-1]) - self._frames_before_sound(levels.flip(0))
        return frames[max(0, first) : last + 1]

    def _frames_before_sound(self, levels: Tensor) -> int:
        """Return how many frames to leave out at the start of levels (F,) in nats; a negative number keeps silence."""
        background = self._background_frames(levels)
        return background - self.frames_in(KEPT_BACKGROUND_SECONDS if background else KEPT_SILENCE_SECONDS)

    def _background_frames(self, levels: Tensor) -> int:
        """Count the frames of a steady background at the start of levels (F,) in nats; 0 unless a louder sound follows.

        It is found only if it is longer than the consonants at the start of a word.
        """
        decibels, shortest = levels * (10 / math.log(10)), self.frames_in(MIN_BACKGROUND_SECONDS)
        background = decibels[:shortest].median()
        if len(levels) <= shortest or background > MAX_BACKGROUND_DB:
            return 0
        ends = ((decibels - background).abs() > CHANGE_DB).unfold(0, CHANGED_FRAMES, 1).all(1).nonzero()[:, 0]
        count = int(ends[0]) if len(ends) else 0
        return count if count >= shortest and decibels[:count].std() <= MAX_DEVIATION_DB else 0

    def num_frames(self, num_samples: int) -> int:
        """Return the number of frames F of a waveform with `num_samples` samples, before silence is trimmed."""
        return self.log_mel.num_frames(num_samples)

    def frames_in(self, seconds: float) -> int:
        """Return the number of frames in a duration, at least 1."""
        return max(1, round(seconds * 1000 / self.hop_ms))

    def save(self, folder: Path) -> None:
        """Write the codec into a folder, from which `load_recording_codec` loads it."""
        write_json(folder / RECORDING_CODEC_FILE, asdict(self))


def fit_recording_codec(config: Any, waveforms: Sequence[Any], *, has_times: bool = True) -> RecordingCodec:
    """Build the codec of a data config; statistics are over at most `MAX_MEASURED_RECORDINGS` training waveforms.

    Without `has_times`, and unless levels are kept, silence and steady background at both ends are trimmed.
    """
    sizes = config.sample_rate, config.num_bands, config.window_ms, config.hop_ms
    trims_silence = config.level == "equal" and not has_times
    measured = waveforms[:: -(-len(waveforms) // MAX_MEASURED_RECORDINGS)]
    usual = usual_background_db(measured, config.sample_rate)
    return RecordingCodec(*sizes, config.normalise, (), (), config.level, trims_silence, usual).fit(measured)


def load_recording_codec(folder: Path) -> RecordingCodec:
    """Load the codec that `save` wrote into a folder; raise ValueError if it is missing or damaged."""
    try:
        return validate_type(read_json(folder / RECORDING_CODEC_FILE), RecordingCodec)
    except (OSError, ValueError) as error:
        raise ValueError(f"{folder / RECORDING_CODEC_FILE} is missing or damaged: {error}.") from None
