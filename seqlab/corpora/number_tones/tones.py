"""Generate recordings in which each letter is a pair of tones, as on a telephone's keypad, and a space is a pause."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from seqlab.corpora.number_tones.phrases import LETTERS, phrases
from seqlab.corpora.recordings import GeneratedRecording, Waveform, add_background, scale_to_int16, write_recordings

VERSION = 2
"""Raised with each change of what a seed generates."""
SAMPLE_RATE = 8_000
NUM_PHRASES = {"train": 1_500, "valid": 100, "test": 200}
"""split -> phrases"""
NUM_VOICES = {"train": 40, "valid": 5, "test": 10}
"""split -> voices, none of which is in another split"""

LOW = 350.0 * 1.21 ** np.arange(5)
HIGH = 1150.0 * 1.2 ** np.arange(6)
"""Hz: a letter is one of the low tones together with one of the high ones, 30 pairs of which 26 are used. Neighbours
differ by three semitones and more, voices by up to one in each direction."""
LETTER_SECONDS = (0.05, 0.065)
"""the mean of a recording; a letter deviates by up to `DEVIATION`, so that letters last 40 to 78 ms"""
DEVIATION = 0.2
GAP_SECONDS = (0.006, 0.02)
"""after each letter"""
PAUSE_SECONDS = (0.05, 0.1)
"""for a space, in addition to the gap"""
EDGE_SECONDS = (0.03, 0.15)
LETTER_DB, LEVEL_DB = 4.0, 8.0
"""the levels of letters, and of whole recordings, deviate by up to this"""
SNR_DB = (5.0, 25.0)


@dataclass(frozen=True)
class Voice:
    """How a voice differs from others."""

    transposition: float
    """the factor of all frequencies"""
    balance: float
    """the amplitude of the high tone, where that of the low one is 1"""
    overtone: float
    """the amplitude of the low tone's second harmonic"""
    attack: float
    """seconds until a letter has its level, and from there to its end"""


def write(folder: str | Path, seed: int = 5, num_phrases: Mapping[str, int] = NUM_PHRASES) -> dict[str, Path]:
    """Write `train.jsonl`, `valid.jsonl`, `test.jsonl` and their recordings below `recordings/`; return the manifests.

    The columns are `audio`, `text`, `speaker` (the voice), `snr_db` and `duration` in seconds. No text and no voice is
    in two splits. The same seed writes the same bytes on one machine.

    Args:
        folder: where to write.
        seed: of all random choices.
        num_phrases: how many phrases each split gets.

    Raises:
        ValueError: a split is unknown, or there are not as many phrases.
    """
    if unknown := set(num_phrases) - set(NUM_VOICES):
        raise ValueError(
            f"`num_phrases` must name splits of {', '.join(NUM_VOICES)}, but names {min(unknown)!r} instead."
        )
    divided = phrases(seed, num_phrases)
    splits = {split: _recordings(split, texts, seed) for split, texts in divided.items()}
    return write_recordings(folder, splits, SAMPLE_RATE)


def _recordings(split: str, texts: list[str], seed: int) -> Iterator[GeneratedRecording]:
    position = list(NUM_VOICES).index(split)
    first_voice = sum(list(NUM_VOICES.values())[:position])
    for number, text in enumerate(texts):
        generator = np.random.default_rng((seed, position, number))
        voice_number = first_voice + int(generator.integers(NUM_VOICES[split]))
        snr_db = round(generator.uniform(*SNR_DB), 1)
        waveform = speak(text, _voice(seed, voice_number), generator)
        row = {"text": text, "speaker": f"voice_{voice_number:02d}", "snr_db": snr_db}
        yield GeneratedRecording(scale_to_int16(add_background(waveform, snr_db, generator)), row)


def _voice(seed: int, number: int) -> Voice:
    generator = np.random.default_rng((seed, len(NUM_VOICES), number))
    return Voice(
        transposition=2 ** (generator.uniform(-1, 1) / 12),
        balance=10 ** (generator.uniform(-5, 5) / 20),
        overtone=generator.uniform(0, 0.35),
        attack=generator.uniform(0.003, 0.012),
    )


def speak(text: str, voice: Voice, generator: np.random.Generator) -> Waveform:
    """Return the tones of a text in lower-case letters and spaces, without noise, at `SAMPLE_RATE`."""
    letters = np.array([LETTERS.index(letter) for letter in text if letter != " "])
    count = len(letters)
    seconds = generator.uniform(*LETTER_SECONDS) * generator.uniform(1 - DEVIATION, 1 + DEVIATION, count)
    is_after_space = np.array([text[i - 1] == " " for i in range(1, len(text)) if text[i] != " "])
    pauses = generator.uniform(*GAP_SECONDS, count)
    pauses[0] = generator.uniform(*EDGE_SECONDS)
    pauses[1:] += is_after_space * generator.uniform(*PAUSE_SECONDS, count - 1)
    lengths = np.round(seconds * SAMPLE_RATE).astype(int)  # (letters,) samples
    ends = np.cumsum(np.round(pauses * SAMPLE_RATE).astype(int) + lengths)
    levels = 10 ** (generator.uniform(-LETTER_DB, LETTER_DB, count) / 20)
    phases = generator.uniform(0, 2 * np.pi, (3, count))
    of_letter = np.repeat(np.arange(count), lengths)  # (samples with a tone,)
    since_start = np.arange(len(of_letter)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    until_end = lengths[of_letter] - since_start
    angle = 2 * np.pi * voice.transposition / SAMPLE_RATE * since_start
    low, high = LOW[letters % len(LOW)][of_letter], HIGH[letters // len(LOW)][of_letter]
    tones = (
        np.sin(angle * low + phases[0, of_letter])
        + voice.balance * np.sin(angle * high + phases[1, of_letter])
        + voice.overtone * np.sin(2 * angle * low + phases[2, of_letter])
    )
    envelope = np.minimum(1, np.minimum(since_start, until_end) / (voice.attack * SAMPLE_RATE))
    waveform = np.zeros(ends[-1] + round(generator.uniform(*EDGE_SECONDS) * SAMPLE_RATE))
    waveform[(ends - lengths)[of_letter] + since_start] = tones * envelope * levels[of_letter]
    level = 0.1 * 10 ** (generator.uniform(-LEVEL_DB, LEVEL_DB) / 20)
    return level * waveform
