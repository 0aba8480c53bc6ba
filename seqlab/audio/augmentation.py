"""Data augmentation of recordings: random changes of the waveform, and SpecAugment masks on its features.

A result depends only on the recording and the state of the generator. With a generator from (seed, epoch, index), it is
the same in any thread and order of preparation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from seqlab.audio.distortion import (
    NOISE_KINDS,
    TELEPHONE_CODECS,
    TELEPHONE_RATE,
    Waveform,
    add_noise,
    change_speed,
    change_volume,
    make_noise,
    reverberate,
    room_response,
    simulate_telephone,
)

__all__ = ["Augmentation"]

RT60_SECONDS = (0.1, 0.5)
"""Range of the reverberation time, in which sound decays by 60 dB, in seconds."""
DIRECT_DB = (0.0, 10.0)
"""Range of the direct-to-reverberant energy ratio in dB: 0 is a speaker across a room, 10 one at arm's length."""


@dataclass(frozen=True)
class Augmentation:
    """Random augmentation of a recording; each kind is off by default.

    Attributes:
        speed: relative change of the speed; the factor is 1 - speed, 1 or 1 + speed (Ko et al. 2015).
        volume_db: largest gain or attenuation in dB, uniformly distributed.
        noise_snr_db: lowest and highest signal-to-noise ratio in dB, uniformly distributed.
        noise_probability: probability of added white, pink or babble noise.
        room_probability: probability of a simulated room, with a reverberation time of 0.1 to 0.5 seconds.
        narrowband_probability: probability of removing frequencies above 4 kHz, at sampling rates above 8 kHz.
        codec_probability: probability of a telephone codec, mu-law or GSM 06.10.
        time_masks: number of masks over frames (SpecAugment, Park et al. 2019).
        time_mask_frames: maximum width of a time mask in frames.
        time_mask_share: maximum width of a time mask as a share of the recording's frames.
        frequency_masks: number of masks over mel bands.
        frequency_mask_bins: maximum width of a frequency mask in bands.

    Raises:
        ValueError: a value is out of range.
    """

    speed: float = 0.0
    volume_db: float = 0.0
    noise_snr_db: tuple[float, float] | None = None
    noise_probability: float = 0.0
    room_probability: float = 0.0
    narrowband_probability: float = 0.0
    codec_probability: float = 0.0
    time_masks: int = 0
    time_mask_frames: int = 40
    time_mask_share: float = 0.2
    frequency_masks: int = 0
    frequency_mask_bins: int = 15

    def __post_init__(self) -> None:
        """Check the values."""
        if not 0 <= self.speed <= 0.5:
            raise ValueError(f"`speed` must be from 0 to 0.5, but is {self.speed} instead.")
        if not 0 <= self.volume_db < math.inf:
            raise ValueError(f"`volume_db` must be at least 0, but is {self.volume_db} instead.")
        for name in ("noise_probability", "room_probability", "narrowband_probability", "codec_probability"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"`{name}` must be from 0 to 1, but is {getattr(self, name)} instead.")
        low, high = self.noise_snr_db or (0.0, 0.0)
        if not -math.inf < low <= high < math.inf:
            raise ValueError(f"`noise_snr_db` must be (lowest, highest) in dB, but is {self.noise_snr_db} instead.")
        if self.noise_probability and self.noise_snr_db is None:
            raise ValueError("`noise_probability` is above 0, so `noise_snr_db` must be (lowest, highest) in dB.")
        for name, minimum in (("time_masks", 0), ("frequency_masks", 0), ("time_mask_frames", 1)):
            if getattr(self, name) < minimum:
                raise ValueError(f"`{name}` must be at least {minimum}, but is {getattr(self, name)} instead.")
        if self.frequency_mask_bins < 1:
            raise ValueError(f"`frequency_mask_bins` must be at least 1, but is {self.frequency_mask_bins} instead.")
        if not 0 < self.time_mask_share <= 1:
            raise ValueError(f"`time_mask_share` must be above 0 and at most 1, but is {self.time_mask_share} instead.")

    @property
    def is_off(self) -> bool:
        """Whether all kinds of augmentation are off, so that no recording is changed."""
        return not (
            self.speed
            or self.volume_db
            or self.noise_probability
            or self.room_probability
            or self.narrowband_probability
            or self.codec_probability
            or self.time_masks
            or self.frequency_masks
        )

    def speed_factor(self, rng: np.random.Generator) -> float:
        """Draw the speed factor; `change_waveform` draws it before all other random numbers."""
        if not self.speed:
            return 1.0
        return round(1 + self.speed * int(rng.integers(-1, 2)), 3)

    def change_waveform(self, samples: Waveform, rate: int, rng: np.random.Generator) -> Waveform:
        """Augment a waveform, float32 (n,) -> (m,); returns the same array if no change is drawn.

        The order follows the signal path: speed, room, noise, gain, telephone. Values can exceed full scale; `to_int16`
        and the codecs clip them.

        Raises:
            ValueError: soxr or soundfile is needed, but not installed.
        """
        samples = change_speed(samples, self.speed_factor(rng))
        if not len(samples):
            return samples
        if rng.random() < self.room_probability:
            response = room_response(rng.uniform(*RT60_SECONDS), rng.uniform(*DIRECT_DB), rate, rng)
            samples = reverberate(samples, response)
        if self.noise_snr_db is not None and rng.random() < self.noise_probability:
            kind = NOISE_KINDS[int(rng.integers(len(NOISE_KINDS)))]
            snr_db = rng.uniform(*self.noise_snr_db)
            samples = add_noise(samples, make_noise(kind, samples, rate, rng), snr_db)
        if self.volume_db:
            samples = change_volume(samples, rng.uniform(-self.volume_db, self.volume_db))
        is_narrowband = rng.random() < self.narrowband_probability
        if rng.random() < self.codec_probability:
            return simulate_telephone(samples, rate, TELEPHONE_CODECS[int(rng.integers(len(TELEPHONE_CODECS)))])
        return simulate_telephone(samples, rate) if is_narrowband and rate > TELEPHONE_RATE else samples

    def mask_features(self, features: Tensor, rng: np.random.Generator, fill: float = 0.0) -> Tensor:
        """Apply SpecAugment masks over frames and bands to features (F, M); returns a new tensor.

        Widths are uniform from 0 to the maximum, positions are uniform, and masks can overlap. `fill` should be the
        mean of the features, which is 0 for normalized ones.
        """
        num_frames, num_bands = features.shape
        masked = features.clone()
        longest = min(self.time_mask_frames, int(self.time_mask_share * num_frames))
        for _ in range(self.time_masks):
            masked[_draw_span(longest, num_frames, rng)] = fill
        for _ in range(self.frequency_masks):
            masked[:, _draw_span(min(self.frequency_mask_bins, num_bands), num_bands, rng)] = fill
        return masked


def _draw_span(longest: int, size: int, rng: np.random.Generator) -> slice:
    """Draw a random span of at most `longest` positions from `size` positions."""
    length = int(rng.integers(longest + 1))
    first = int(rng.integers(size - length + 1))
    return slice(first, first + length)
