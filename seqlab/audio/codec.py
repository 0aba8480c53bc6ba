"""The codec of recordings: waveforms to normalised log-mel frames."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from seqlab.audio.features import LogMel
from seqlab.base.atomic_io import write_json
from seqlab.base.parsing import read_json, validate_type

FILE = "codec.recording.json"
Normalisation = Literal["corpus", "recording", "none"]
MEASURED = 2000
"""Recordings that mean and deviation of each band are measured over."""
LEAST_DEVIATION = 1e-3
"""Of a band; smaller ones are taken as this."""


@dataclass(frozen=True)
class RecordingCodec:
    """Waveforms (n,) to frames (F, M)."""

    codec: ClassVar[str] = "recording"
    sample_rate: int
    num_bands: int
    window_ms: float
    hop_ms: float
    normalise: Normalisation
    means: tuple[float, ...] = ()
    """Of each band over the training recordings, with `normalise: corpus`."""
    deviations: tuple[float, ...] = ()
    """Standard deviations, the same way."""

    @property
    def log_mel(self) -> LogMel:
        """What computes the bands."""
        return LogMel(self.sample_rate, self.num_bands, self.window_ms, self.hop_ms)

    def fit(self, waveforms: Iterable[Any]) -> RecordingCodec:
        """Measure mean and standard deviation of each band over some waveforms, where they are needed."""
        if self.normalise != "corpus":
            return self
        count, total, squares = 0, torch.zeros(self.num_bands).double(), torch.zeros(self.num_bands).double()
        for samples in waveforms:
            frames = self.log_mel(samples).double()
            count, total, squares = count + len(frames), total + frames.sum(0), squares + frames.square().sum(0)
        means = total / max(count, 1)
        deviations = (squares / max(count, 1) - means.square()).clamp_min(LEAST_DEVIATION**2).sqrt()
        return replace(self, means=tuple(means.tolist()), deviations=tuple(deviations.tolist()))

    def frames(self, samples: Any) -> Tensor:
        """Compute the normalised frames of one waveform, int16 or floats in [-1, 1]: (n,) -> (F, M)."""
        frames = self.log_mel(samples)
        if self.normalise == "corpus":
            return (frames - torch.tensor(self.means)) / torch.tensor(self.deviations)
        if self.normalise == "recording":
            deviations = frames.std(0, correction=0).clamp_min(LEAST_DEVIATION)
            return (frames - frames.mean(0)) / deviations
        return frames

    def num_frames(self, num_samples: int) -> int:
        """Return F for a waveform of so many samples."""
        return self.log_mel.num_frames(num_samples)

    def frames_in(self, seconds: float) -> int:
        """Return the frames of so many seconds, at least 1."""
        return max(1, round(seconds * 1000 / self.hop_ms))

    def save(self, folder: Path) -> None:
        """Write what reading it back needs."""
        write_json(folder / FILE, asdict(self))


def fit_recording_codec(config: Any, waveforms: Sequence[Any]) -> RecordingCodec:
    """Make the codec that a data section describes, measured over `MEASURED` of the training waveforms at most."""
    codec = RecordingCodec(config.sample_rate, config.num_bands, config.window_ms, config.hop_ms, config.normalise)
    return codec.fit(waveforms[:: -(-len(waveforms) // MEASURED)])


def load_recording_codec(folder: Path) -> RecordingCodec:
    """Read the codec that `save` has written; raises ValueError where it is missing or damaged."""
    try:
        return validate_type(read_json(folder / FILE), RecordingCodec)
    except (OSError, ValueError) as error:
        raise ValueError(f"{folder / FILE} is missing or damaged: {error}.") from None
