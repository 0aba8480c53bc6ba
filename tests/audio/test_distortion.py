"""Distortions of waveforms: the defining property of each."""

import io

import numpy as np
import pytest
import soundfile

from seqlab.audio.distortion import (
    NOISE_KINDS,
    TELEPHONE_CODECS,
    NoiseKind,
    TelephoneCodec,
    add_noise,
    change_speed,
    change_volume,
    make_noise,
    reverberate,
    room_response,
    simulate_telephone,
)
from seqlab.audio.waveform import to_int16

RATE = 16000


def generator(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


def tone(hz: float, rate: int = RATE, seconds: float = 1.0) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * hz * np.arange(round(rate * seconds)) / rate)).astype(np.float32)


def speech_like(rate: int = RATE, seconds: float = 2.0) -> np.ndarray:
    """Return a buzz of 120 Hz with a formant at 500 Hz and with pauses."""
    time = np.arange(round(rate * seconds)) / rate
    pulses = (np.diff(np.floor(time * 120), prepend=0) > 0).astype(float)
    ring = np.exp(-400 * time[: rate // 20]) * (np.sin(2 * np.pi * 500 * time[: rate // 20]) + 0.3)
    voiced = np.convolve(pulses, ring)[: len(time)] * (np.sin(2 * np.pi * 3 * time) > -0.5)
    return (0.3 * voiced / np.abs(voiced).max()).astype(np.float32)


def power(samples: np.ndarray) -> float:
    return float(np.mean(samples.astype(np.float64) ** 2))


def band_power(samples: np.ndarray, low: float, high: float, rate: int = RATE) -> float:
    """Return the power of the frequencies from `low` to `high` Hz, away from both ends."""
    spectrum = np.abs(np.fft.rfft(samples.astype(np.float64) * np.hanning(len(samples)))) ** 2
    frequencies = np.fft.rfftfreq(len(samples), 1 / rate)
    return float(spectrum[(frequencies >= low) & (frequencies < high)].sum())


def main_frequency(samples: np.ndarray, rate: int = RATE) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples)), 16 * len(samples)))
    return float(spectrum.argmax() * rate / (16 * len(samples)))


@pytest.mark.parametrize("factor", [0.5, 0.9, 0.95, 1.1, 1.5])
def test_speed_changes_tempo_and_pitch_alike(factor: float) -> None:
    samples = tone(1000)
    changed = change_speed(samples, factor)
    assert changed.dtype == np.float32
    assert len(changed) == round(len(samples) / factor)
    assert main_frequency(changed) == pytest.approx(1000 * factor, rel=1e-3)
    assert power(changed) == pytest.approx(power(samples), rel=0.01)
    np.testing.assert_array_equal(change_speed(samples, 1.0), samples)


@pytest.mark.parametrize("gain_db", [-12.0, -3.0, 0.0, 6.0])
def test_volume_changes_the_level_by_the_gain(gain_db: float) -> None:
    samples = speech_like()
    assert 10 * np.log10(power(change_volume(samples, gain_db)) / power(samples)) == pytest.approx(gain_db, abs=1e-4)


@pytest.mark.parametrize("kind", NOISE_KINDS)
@pytest.mark.parametrize("snr_db", [-5.0, 0.0, 10.0, 40.0])
def test_noise_has_the_requested_snr(kind: NoiseKind, snr_db: float) -> None:
    samples = speech_like()
    noisy = add_noise(samples, make_noise(kind, samples, RATE, generator()), snr_db)
    assert noisy.dtype == np.float32
    added = noisy.astype(np.float64) - samples
    assert 10 * np.log10(power(samples) / power(added)) == pytest.approx(snr_db, abs=0.01)


@pytest.mark.parametrize("kind", NOISE_KINDS)
@pytest.mark.parametrize("length", [1, 2, 3, 1000, 16001])
def test_noise_has_the_length_of_the_waveform(kind: NoiseKind, length: int) -> None:
    noise = make_noise(kind, speech_like(seconds=2)[8000 : 8000 + length], RATE, generator())
    assert noise.shape == (length,)
    assert noise.dtype == np.float32
    assert np.isfinite(noise).all()


def test_noises_have_their_characteristic_spectra() -> None:
    # hiss instead of a buzz: the harmonics of a buzz would add up or cancel in a babble of few voices
    hiss = generator(2).normal(0, 0.1, 8 * RATE)
    samples = np.convolve(hiss, 0.9 ** np.arange(100))[: len(hiss)].astype(np.float32)
    white, pink, babble = (make_noise(kind, samples, RATE, generator()) for kind in NOISE_KINDS)
    octaves = [(125, 250), (250, 500), (500, 1000), (1000, 2000), (2000, 4000), (4000, 8000)]
    # the power of white noise doubles from octave to octave, that of pink noise is constant
    for noise, power_ratio in ((white, 2.0), (pink, 1.0)):
        powers = np.array([band_power(noise, low, high) for low, high in octaves])
        assert powers[1:] / powers[:-1] == pytest.approx(power_ratio, rel=0.15)
    for low, high in octaves:  # babble has the spectrum of its speech
        share = band_power(babble, low, high) / band_power(babble, 0, 8000)
        assert share == pytest.approx(band_power(samples, low, high) / band_power(samples, 0, 8000), rel=0.15)
    assert abs(np.corrcoef(babble, samples)[0, 1]) < 0.3


def test_silence_stays_silent() -> None:
    silence, samples = np.zeros(1000, np.float32), speech_like()[:1000]
    np.testing.assert_array_equal(add_noise(silence, samples, 10), silence)
    np.testing.assert_array_equal(add_noise(samples, silence, 10), samples)
    np.testing.assert_array_equal(reverberate(silence, room_response(0.3, 5, RATE, generator())), silence)
    for kind in NOISE_KINDS:
        np.testing.assert_array_equal(add_noise(silence, make_noise(kind, silence, RATE, generator()), 10), silence)


@pytest.mark.parametrize("rt60", [0.1, 0.3, 0.5])
@pytest.mark.parametrize("direct_db", [0.0, 10.0])
@pytest.mark.parametrize("rate", [8000, 16000])
def test_room_responses_start_with_the_direct_sound_and_decay_by_60_db(
    rt60: float, direct_db: float, rate: int
) -> None:
    response = room_response(rt60, direct_db, rate, generator())
    assert response.argmax() == 0
    assert response[0] == 1
    first = round(0.002 * rate)
    assert not response[1:first].any()
    energy = response[1:].astype(np.float64) ** 2
    assert -10 * np.log10(energy.sum()) == pytest.approx(direct_db, abs=1e-3)
    # Schroeder's backward integration: the line through -5 and -25 dB reaches -60 dB after the reverberation time
    decay = 10 * np.log10(np.cumsum(energy[::-1])[::-1] / energy.sum())[first:]
    part = np.flatnonzero((decay <= -5) & (decay >= -25))
    slope = np.polyfit(part / rate, decay[part], 1)[0]
    assert -60 / slope == pytest.approx(rt60, rel=0.2)


def test_reverberation_is_convolution_at_the_same_level() -> None:
    samples, response = speech_like(seconds=0.3), room_response(0.1, 3, RATE, generator())
    wet = reverberate(samples, response)
    expected = np.convolve(samples.astype(np.float64), response)[: len(samples)]
    np.testing.assert_allclose(wet, expected * np.sqrt(power(samples) / power(expected)), atol=1e-5)
    assert power(wet) == pytest.approx(power(samples), rel=1e-4)
    assert wet.dtype == np.float32


def test_reverberation_does_not_shift_times() -> None:
    samples = np.zeros(8000, np.float32)
    samples[3000] = 1
    wet = reverberate(samples, room_response(0.5, 0, RATE, generator()))
    assert np.abs(wet).argmax() == 3000
    assert np.abs(wet[:3000]).max() < 1e-6


@pytest.mark.parametrize("rate", [16000, 22050, 44100])
def test_telephone_simulation_cuts_above_4_khz(rate: int) -> None:
    samples = generator().normal(0, 0.1, 2 * rate).astype(np.float32)
    narrow = simulate_telephone(samples, rate)
    assert narrow.shape == samples.shape
    assert narrow.dtype == np.float32
    assert band_power(narrow, 4100, rate / 2, rate) < 1e-6 * band_power(samples, 4100, rate / 2, rate)
    assert band_power(narrow, 200, 3500, rate) == pytest.approx(band_power(samples, 200, 3500, rate), rel=0.01)
    low = tone(500, rate)
    assert np.abs(simulate_telephone(low, rate) - low)[rate // 10 : -rate // 10].max() < 1e-3  # no delay


@pytest.mark.parametrize("codec", TELEPHONE_CODECS)
@pytest.mark.parametrize("rate", [8000, 16000, 22050])
def test_codecs_change_a_recording_but_keep_it_similar(codec: TelephoneCodec, rate: int) -> None:
    samples = speech_like(rate)
    coded, narrow = simulate_telephone(samples, rate, codec), simulate_telephone(samples, rate)
    assert coded.shape == samples.shape
    assert coded.dtype == np.float32
    assert not np.array_equal(coded, narrow)
    # lower bounds of the signal-to-noise ratio, for GSM at 13 kbit/s and for mu-law
    snr_db = 10 * np.log10(power(narrow) / power(coded - narrow))
    assert snr_db > {"GSM610": 5, "ULAW": 30}[codec]
    lags = np.correlate(coded[:4000].astype(np.float64), narrow[200:3800])
    assert abs(int(lags.argmax()) - 200) <= 1  # no delay


def test_mu_law_has_256_values_with_the_steps_of_g711() -> None:
    samples = speech_like(8000)
    coded = simulate_telephone(samples, 8000, "ULAW")
    assert len(np.unique(coded)) <= 256
    # G.711: quantization steps grow with the amplitude, from 8 to 1,024 of 32,768
    steps = np.abs(coded - to_int16(samples) / np.float32(32768)) * 32768
    assert steps.max() <= 512
    assert steps[np.abs(samples) < 0.0005].max() <= 4
    content = io.BytesIO()
    soundfile.write(content, to_int16(samples), 8000, format="RAW", subtype="ULAW")
    assert len(content.getvalue()) == len(samples)


@pytest.mark.parametrize("codec", [None, *TELEPHONE_CODECS])
@pytest.mark.parametrize("length", [0, 1, 2, 3, 319, 321])
def test_telephone_simulation_keeps_the_length_of_short_waveforms(codec: TelephoneCodec | None, length: int) -> None:
    for rate in (8000, 11025, 16000, 44100):
        assert simulate_telephone(np.full(length, 0.1, np.float32), rate, codec).shape == (length,)
