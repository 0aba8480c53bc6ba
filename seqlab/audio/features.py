"""Log-mel features, and detection of the frames with sound."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seqlab.audio.waveform import FULL_SCALE

LOG_FLOOR = 1e-10
"""Lower limit of the energies, at about the level of 16-bit rounding."""

RELATIVE_FLOOR = 1e-8
"""Lower limit of the energies as a share of the level of the recording (-80 dB), with `equal_level`."""
LOUD_SECONDS = 0.05
"""The level of a recording is the one that its frames exceed for this duration, so that clicks do not change it."""
CLICK_SHARE = 1e-3
"""Minimum level as a share of the energy of the loudest frame (-30 dB), for a click in a silent recording."""

FEATURE_BLOCK_FRAMES = 512
"""Number of frames computed at a time: their spectra fit into the CPU cache, and memory does not grow with the
recording."""


@dataclass(frozen=True)
class LogMel:
    """Log-mel transform of a waveform: Hann window, power spectrum, mel filters, natural logarithm.

    There is no padding: samples after the last complete window are not used, and a waveform shorter than a window has
    no frames. The filters are triangles on the mel scale of Slaney's Auditory Toolbox (1998; linear below 1 kHz,
    logarithmic above), divided by half their width in Hz, as in librosa's default and Whisper's features. There is no
    dither: the features are a function of the waveform.

    Attributes:
        rate: sampling rate in Hz.
        num_mels: number of mel bands, M.
        window_ms: window length in milliseconds; the FFT length is the next power of two in samples.
        hop_ms: milliseconds between the starts of successive windows.
        low_hz: lower edge of the first band.
        high_hz: upper edge of the last band; None for half the sampling rate.
        equal_level: whether the features do not depend on the level of the recording or on a constant offset: the mean
            of each window is subtracted, and energies are divided by the level of the recording.

    Raises:
        ValueError: a value is out of range, or a band is so narrow that it contains no frequency of the spectrum.
    """

    rate: int
    num_mels: int = 80
    window_ms: float = 25.0
    hop_ms: float = 10.0
    low_hz: float = 20.0
    high_hz: float | None = None
    equal_level: bool = False

    def __post_init__(self) -> None:
        """Check the values."""
        for name in ("rate", "num_mels", "window_ms", "hop_ms"):
            if not getattr(self, name) > 0:
                raise ValueError(f"`{name}` must be above 0, but is {getattr(self, name)} instead.")
        if self.min_samples < 2 or self.hop < 1:
            raise ValueError(
                f"`window_ms` and `hop_ms` must be at least 2 samples and 1 sample, but at {self.rate} Hz, "
                f"{self.window_ms} ms are {self.min_samples} and {self.hop_ms} ms are {self.hop}."
            )
        if not 0 <= self.low_hz < self.highest <= self.rate / 2:
            raise ValueError(
                f"Bands must have 0 <= `low_hz` < `high_hz` <= {self.rate / 2:g} (half the sampling rate), but "
                f"`low_hz` is {self.low_hz:g} and `high_hz` is {self.highest:g}."
            )
        if not (_mel_filters(self) > 0).any(dim=0).all():
            raise ValueError(
                f"`num_mels` is {self.num_mels}, but then a band contains no frequency of the spectrum (frequencies "
                f"are {self.rate / self.num_fft:g} Hz apart): decrease `num_mels`, or increase `window_ms` or `low_hz`."
            )

    @property
    def min_samples(self) -> int:
        """Window length in samples; shorter waveforms have no frames."""
        return round(self.rate * self.window_ms / 1000)

    @property
    def hop(self) -> int:
        """Number of samples between the starts of successive windows."""
        return round(self.rate * self.hop_ms / 1000)

    @property
    def num_fft(self) -> int:
        """FFT length in samples; windows are padded with zeros."""
        return 1 << (self.min_samples - 1).bit_length()

    @property
    def highest(self) -> float:
        """Upper edge of the last band in Hz."""
        return self.rate / 2 if self.high_hz is None else self.high_hz

    def num_frames(self, num_samples: int) -> int:
        """Count the frames of a waveform: 1 + (num_samples - window) // hop, or 0 below one window."""
        return max(0, 1 + (num_samples - self.min_samples) // self.hop)

    def frame_time(self, frame: float) -> float:
        """Return the time in seconds at the center of a frame's window; `frame` can be fractional."""
        return (frame * self.hop + self.min_samples / 2) / self.rate

    @torch.no_grad()
    def __call__(self, samples: NDArray[Any] | Tensor) -> Tensor:
        """Compute the log-mel frames of a waveform (n,), int16 or floats in [-1, 1], as float32 (F, M) in nats.

        Raises:
            ValueError: the waveform has a wrong shape or type.
        """
        waveform = _float_waveform(samples)
        num_frames = self.num_frames(len(waveform))
        features = torch.empty(num_frames, self.num_mels)
        if not num_frames:
            return features
        windows = waveform.unfold(0, self.min_samples, self.hop)  # (F, window), a view
        hann, filters = _hann_window(self.min_samples), _mel_filters(self)
        for first in range(0, num_frames, FEATURE_BLOCK_FRAMES):
            part = slice(first, first + FEATURE_BLOCK_FRAMES)
            block = windows[part]
            block = block - block.mean(1, keepdim=True) if self.equal_level else block
            spectrum = torch.view_as_real(torch.fft.rfft(block * hann, n=self.num_fft))
            power = spectrum.square_().sum(-1)  # (F, 1 + num_fft / 2)
            torch.mm(power, filters, out=features[part])
        if not self.equal_level:
            return features.clamp_min_(LOG_FLOOR).log_()
        rank = min(num_frames, max(1, round(LOUD_SECONDS * self.rate / self.hop)))
        loudest = features.sum(1).topk(rank).values  # descending
        level = torch.maximum(loudest[-1], loudest[0] * CLICK_SHARE).clamp_min(torch.finfo().tiny)
        return features.div_(level).clamp_min_(RELATIVE_FLOOR).log_()


def _float_waveform(samples: NDArray[Any] | Tensor) -> Tensor:
    """Convert samples (n,) to float32 in [-1, 1]."""
    kind = str(samples.dtype).removeprefix("torch.")
    if samples.ndim != 1 or kind not in ("int16", "float32", "float64"):
        raise ValueError(
            "A waveform must have one dimension and type int16, float32 or float64, but has shape "
            f"{tuple(samples.shape)} and type {kind}."
        )
    # Copy arrays that torch cannot share, such as read-only memory maps.
    numbers = samples if isinstance(samples, Tensor) else torch.from_numpy(np.require(samples, requirements=["C", "W"]))
    return numbers.float() * (1 / FULL_SCALE) if kind == "int16" else numbers.float()


@lru_cache(maxsize=16)
def _hann_window(num_samples: int) -> Tensor:
    """Return the periodic Hann window."""
    with torch.inference_mode(False):
        return torch.hann_window(num_samples, dtype=torch.float64).float()


@lru_cache(maxsize=16)
def _mel_filters(settings: LogMel) -> Tensor:
    """Compute the weight of each frequency of the spectrum in each band, (1 + num_fft / 2, M)."""
    frequencies = np.arange(settings.num_fft // 2 + 1) * (settings.rate / settings.num_fft)
    low, high = _hz_to_mel(settings.low_hz), _hz_to_mel(settings.highest)
    edges = _mel_to_hz(np.linspace(low, high, settings.num_mels + 2))
    left, center, right = edges[:-2], edges[1:-1], edges[2:]
    rising = (frequencies[:, None] - left) / (center - left)
    falling = (right - frequencies[:, None]) / (right - center)
    triangles = np.maximum(0, np.minimum(rising, falling)) * (2 / (right - left))
    with torch.inference_mode(False):
        return torch.from_numpy(triangles.astype(np.float32))


LINEAR_HZ, LINEAR_MEL = 1000.0, 15.0
"""Point at which Slaney's mel scale changes from linear to logarithmic."""
LOG_STEP = math.log(6.4) / 27
"""Natural logarithm of the frequency ratio of one mel in the logarithmic part."""


def _hz_to_mel(hz: float) -> float:
    """Convert a frequency to Slaney's mel scale."""
    return hz * LINEAR_MEL / LINEAR_HZ if hz < LINEAR_HZ else LINEAR_MEL + math.log(hz / LINEAR_HZ) / LOG_STEP


def _mel_to_hz(mels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Convert values of Slaney's mel scale to frequencies."""
    logarithmic = LINEAR_HZ * np.exp(LOG_STEP * (mels - LINEAR_MEL))
    return np.where(mels < LINEAR_MEL, mels * LINEAR_HZ / LINEAR_MEL, logarithmic)


NOISE_PERCENTILE, SOUND_PERCENTILE = 10, 95
"""Percentiles of the frame levels that estimate the level of the background and that of loud sounds."""
MIN_RANGE_DB = 12.0
"""Minimum difference between loud sounds and the background; below it, all frames count as sound."""
THRESHOLD_SHARE, MAX_DB_ABOVE_NOISE = 0.4, 10.0
"""Threshold above the background: this share of the range, but at most this many decibels."""
MAX_BRIDGED_FRAMES = 5
"""Maximum length of a silence between two sounds that counts as sound, such as the closure of a stop (`t`, `k`)."""


def active_frames(log_mel: Tensor) -> NDArray[np.bool_]:
    """Detect the frames with sound by their energy: log_mel (F, M) in nats, not normalized -> mask (F,).

    The threshold adapts to the levels of the recording.
    """
    levels = (torch.logsumexp(log_mel, dim=1) * (10 / np.log(10))).numpy()
    if not len(levels):
        return np.zeros(0, bool)
    noise, loud = np.percentile(levels, [NOISE_PERCENTILE, SOUND_PERCENTILE])
    if loud - noise < MIN_RANGE_DB:
        return np.ones(len(levels), bool)
    active = levels > noise + min(THRESHOLD_SHARE * (loud - noise), MAX_DB_ABOVE_NOISE)
    for before, after in pairwise(np.flatnonzero(active).tolist()):
        if 1 < after - before <= 1 + MAX_BRIDGED_FRAMES:
            active[before:after] = True
    return np.asarray(active)
