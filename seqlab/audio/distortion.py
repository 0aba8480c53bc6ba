"""Distortions of waveforms with given parameters: speed, noise, reverberation, narrowband and telephone codecs.

Waveforms are float32 (n,) with full scale 1. All random numbers come from the given generator.
"""

from __future__ import annotations

import io
import math
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from seqlab.audio.waveform import audio_package, resample, to_int16

Waveform = NDArray[np.float32]
NoiseKind = Literal["white", "pink", "babble"]
TelephoneCodec = Literal["ULAW", "GSM610"]

NOISE_KINDS: Final[tuple[NoiseKind, ...]] = ("white", "pink", "babble")
TELEPHONE_CODECS: Final[tuple[TelephoneCodec, ...]] = ("ULAW", "GSM610")
"""Telephone codecs by their names in libsndfile: ITU-T G.711 mu-law (64 kbit/s) and GSM 06.10 full rate (13 kbit/s)."""

TELEPHONE_RATE = 8000
SPEED_STEPS = 1000
"""Speed factors are rounded to this denominator, so that the resampling ratio has small integers."""
BABBLE_VOICES = 6
"""Number of voices in babble noise."""
PINK_FLAT_HZ = 50.0
"""The power density of pink noise is constant below this frequency."""
REFLECTION_SECONDS = 0.002
"""Delay of the first reflection after the direct sound (0.7 m)."""


def change_speed(samples: Waveform, factor: float) -> Waveform:
    """Change the speed of a waveform, both tempo and pitch, by a factor (Ko et al. 2015)."""
    return resample(samples, round(factor * SPEED_STEPS), SPEED_STEPS)


def change_volume(samples: Waveform, gain_db: float) -> Waveform:
    """Amplify a waveform by `gain_db`; the result can exceed full scale."""
    return samples * np.float32(10 ** (gain_db / 20))


def make_noise(kind: NoiseKind, samples: Waveform, rate: int, rng: np.random.Generator) -> Waveform:
    """Generate noise with the length of a waveform: white, pink (power ~ 1/frequency), or babble.

    Babble has the long-term spectrum and the syllable rhythm of speech without its words. It is the sum of
    `BABBLE_VOICES` copies of the recording, reversed in time and shifted by random offsets.
    """
    num_samples = len(samples)
    if kind == "white":
        return rng.standard_normal(num_samples, dtype=np.float32)
    if kind == "pink":
        num_fft = 1 << max(1, (num_samples - 1).bit_length())  # much faster than a length with large prime factors
        spectrum = rng.standard_normal((num_fft // 2 + 1, 2), dtype=np.float32).view(np.complex64)[:, 0]
        frequencies = np.fft.rfftfreq(num_fft, 1 / rate).astype(np.float32)
        spectrum /= np.sqrt(np.maximum(frequencies, np.float32(PINK_FLAT_HZ)))
        return np.fft.irfft(spectrum, num_fft)[:num_samples].astype(np.float32)
    shifts = rng.integers(0, num_samples, BABBLE_VOICES)
    gains = rng.uniform(0.3, 1.0, BABBLE_VOICES).astype(np.float32)
    voices = [np.roll(samples[::-1], shift) * gain for shift, gain in zip(shifts.tolist(), gains, strict=True)]
    return np.sum(voices, axis=0, dtype=np.float32)


def add_noise(samples: Waveform, noise: Waveform, snr_db: float) -> Waveform:
    """Add noise at a signal-to-noise ratio in dB (of the mean powers); silence is returned unchanged."""
    signal_power, noise_power = _mean_square(samples), _mean_square(noise)
    if signal_power == 0 or noise_power == 0:
        return samples
    return samples + noise * np.float32(math.sqrt(signal_power / noise_power) * 10 ** (-snr_db / 20))


def room_response(rt60: float, direct_db: float, rate: int, rng: np.random.Generator) -> Waveform:
    """Generate the impulse response of a room: direct sound, then exponentially decaying noise (Polack 1988).

    The direct sound is 1 at sample 0, so that the timing of a recording does not change.

    Args:
        rt60: time in which the reverberation decays by 60 dB, in seconds.
        direct_db: ratio of direct to reverberant energy in dB.
        rate: sampling rate in Hz.
        rng: generator of the noise.
    """
    first = max(1, round(REFLECTION_SECONDS * rate))
    seconds = np.arange(max(first + 1, round(rt60 * rate))) / rate
    response = rng.standard_normal(len(seconds)) * np.exp(-math.log(1000) * seconds / rt60)
    response[:first] = 0
    response *= math.sqrt(10 ** (-direct_db / 10) / np.square(response).sum())
    response[0] = 1
    return response.astype(np.float32)


def reverberate(samples: Waveform, response: Waveform) -> Waveform:
    """Convolve a waveform with an impulse response, keeping its length and level."""
    num_fft = 1 << (len(samples) + len(response) - 2).bit_length()
    spectrum = np.fft.rfft(samples, num_fft) * np.fft.rfft(response, num_fft)
    wet = np.fft.irfft(spectrum, num_fft)[: len(samples)].astype(np.float32)
    power = _mean_square(wet)
    return wet * np.float32(math.sqrt(_mean_square(samples) / power)) if power else wet


def simulate_telephone(samples: Waveform, rate: int, codec: TelephoneCodec | None = None) -> Waveform:
    """Resample a waveform to 8 kHz and back, which removes frequencies above 4 kHz, optionally through a codec.

    With a codec, values beyond full scale are clipped. The length does not change.
    """
    narrow = resample(samples, rate, TELEPHONE_RATE)
    if codec is not None and len(narrow):
        narrow = _encode_and_decode(narrow, codec)
    wide = resample(narrow, TELEPHONE_RATE, rate)[: len(samples)]
    return np.pad(wide, (0, len(samples) - len(wide)))  # rounding the length twice can lose samples


def _encode_and_decode(samples: Waveform, codec: TelephoneCodec) -> Waveform:
    """Encode and decode a waveform at 8 kHz, without the padding that completes GSM's last block of 320 samples."""
    soundfile = audio_package("soundfile")
    content = io.BytesIO()
    soundfile.write(content, to_int16(samples), TELEPHONE_RATE, format="WAV", subtype=codec)
    content.seek(0)
    with soundfile.SoundFile(content) as sound:
        return sound.read(sound.frames, dtype="float32")[: len(samples)]


def _mean_square(samples: Waveform) -> float:
    """Compute the mean power of a waveform."""
    return float(np.mean(np.square(samples, dtype=np.float64))) if len(samples) else 0.0
