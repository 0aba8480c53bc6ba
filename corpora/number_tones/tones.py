"""Recordings in which each letter is a pair of tones, as on a telephone keypad, and each space is a pause."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from seqlab.corpora.number_words import generate
from seqlab.corpora.number_words.phrases import StableRandom
from seqlab.corpora.recordings import (
    FloatWaveform,
    GeneratedRecording,
    add_background,
    scale_to_int16,
    write_recordings,
)

GENERATOR_VERSION = 2
"""Incremented with each change of the output for a seed."""
SAMPLE_RATE = 8_000
NUM_PHRASES = {"train": 1_500, "valid": 100, "test": 200}
"""Split -> number of phrases."""
SAMPLE_NUM_PHRASES = {"train": 60, "valid": 10, "test": 20}
"""Split -> number of phrases of the sample, which is generated within a second."""
NUM_VOICES = {"train": 40, "valid": 5, "test": 10}
"""Split -> number of voices; no voice is in two splits."""

MAX_CHARACTERS = 24
"""Maximum length of a phrase."""
MIN_PHRASES_PER_WORD = 10
"""Phrases with rarer words are left out, so that training contains each word of the test."""
LETTERS = "abcdefghijklmnopqrstuvwxyz"

LOW_TONES_HZ = 350.0 * 1.21 ** np.arange(5)
HIGH_TONES_HZ = 1150.0 * 1.2 ** np.arange(6)
"""A letter is one low tone together with one high tone; 26 of the 30 pairs are used. Adjacent tones differ by at least
three semitones; a voice shifts all tones by at most one semitone up or down."""
LETTER_SECONDS = (0.05, 0.065)
"""Range of the mean letter duration of a recording, in seconds; with `LETTER_DEVIATION` letters take 40 to 78 ms."""
LETTER_DEVIATION = 0.2
"""Maximum relative deviation of a letter's duration from the mean of the recording."""
GAP_SECONDS = (0.006, 0.02)
"""Range of the pause after each letter."""
PAUSE_SECONDS = (0.05, 0.1)
"""Range of the additional pause of a space."""
EDGE_SECONDS = (0.03, 0.15)
"""Range of the silence at the start and the end."""
LETTER_DB, LEVEL_DB = 4.0, 8.0
"""Maximum change of the level of a letter, and of a recording."""
SNR_DB = (5.0, 25.0)
"""Range of the signal-to-noise ratio."""


@dataclass(frozen=True)
class ToneVoice:
    """Properties of a voice."""

    transposition: float
    """Factor by which all frequencies are multiplied."""
    balance: float
    """Amplitude of the high tone relative to the low tone."""
    overtone: float
    """Amplitude of the second harmonic of the low tone, relative to the low tone."""
    attack: float
    """Attack and decay time of a letter in seconds."""


def draw_phrases(
    seed: int, num_phrases: Mapping[str, int], max_characters: int = MAX_CHARACTERS
) -> dict[str, list[str]]:
    """Return distinct phrases of lower-case letters and spaces by split.

    They are the English phrases of `number_words`, except those with commas, full stops or apostrophes. Hyphens become
    spaces. Examples: `three hundred and two`, `a quarter past two`, `the sixth of february`.

    Raises:
        ValueError: there are fewer phrases of at most `max_characters` characters than `num_phrases` requires.
    """
    lines = (phrase.en for split in generate(seed).values() for phrase in split)
    texts = dict.fromkeys(line.lower().replace("-", " ") for line in lines)
    short = [text for text in texts if len(text) <= max_characters and set(text) <= set(LETTERS + " ")]
    counts = Counter(word for text in short for word in set(text.split()))
    known = [text for text in short if min(counts[word] for word in text.split()) >= MIN_PHRASES_PER_WORD]
    if sum(num_phrases.values()) > len(known):
        raise ValueError(
            f"`num_phrases` must sum up to at most {len(known)}, the phrases of at most {max_characters} characters, "
            f"but sums up to {sum(num_phrases.values())} instead."
        )
    StableRandom(seed).shuffle(known)
    texts_by_split: dict[str, list[str]] = {}
    # The largest split, train, comes last, so that its size does not change the other splits.
    for split, number in sorted(num_phrases.items(), key=lambda item: item[1]):
        texts_by_split[split], known = known[:number], known[number:]
    return {split: texts_by_split[split] for split in num_phrases}


def write(folder: str | Path, seed: int = 5, num_phrases: Mapping[str, int] = NUM_PHRASES) -> dict[str, Path]:
    """Write `train.jsonl`, `valid.jsonl`, `test.jsonl` and their recordings below `recordings/`; return the manifests.

    The columns are `audio`, `text`, `speaker` (the voice), `snr_db` and `duration` in seconds. No text and no voice is
    in two splits. The same seed writes the same bytes on one machine.

    Args:
        folder: folder to write the manifests and recordings to.
        seed: random seed.
        num_phrases: split -> number of phrases.

    Raises:
        ValueError: a split is unknown, or fewer phrases exist than `num_phrases` requires.
    """
    if unknown := set(num_phrases) - set(NUM_VOICES):
        raise ValueError(
            f"`num_phrases` must contain only the splits {', '.join(NUM_VOICES)}, but contains {min(unknown)!r}."
        )
    texts_by_split = draw_phrases(seed, num_phrases)
    splits = {split: _generate_recordings(split, texts, seed) for split, texts in texts_by_split.items()}
    return write_recordings(folder, splits, SAMPLE_RATE)


def write_sample(folder: str | Path) -> None:
    """Write a small corpus, to try commands: too little to learn from."""
    write(folder, num_phrases=SAMPLE_NUM_PHRASES)


def _generate_recordings(split: str, texts: list[str], seed: int) -> Iterator[GeneratedRecording]:
    """Generate the recordings of the texts of a split, each with a random voice of the split."""
    position = list(NUM_VOICES).index(split)
    first_voice = sum(list(NUM_VOICES.values())[:position])
    for number, text in enumerate(texts):
        generator = np.random.default_rng((seed, position, number))
        voice_number = first_voice + int(generator.integers(NUM_VOICES[split]))
        snr_db = round(generator.uniform(*SNR_DB), 1)
        waveform = generate_tones(text, draw_tone_voice(seed, voice_number), generator)
        row = {"text": text, "speaker": f"voice_{voice_number:02d}", "snr_db": snr_db}
        yield GeneratedRecording(scale_to_int16(add_background(waveform, snr_db, generator)), row)


def draw_tone_voice(seed: int, number: int) -> ToneVoice:
    """Draw the properties of a voice."""
    generator = np.random.default_rng((seed, len(NUM_VOICES), number))
    return ToneVoice(
        transposition=2 ** (generator.uniform(-1, 1) / 12),
        balance=10 ** (generator.uniform(-5, 5) / 20),
        overtone=generator.uniform(0, 0.35),
        attack=generator.uniform(0.003, 0.012),
    )


def generate_tones(text: str, voice: ToneVoice, generator: np.random.Generator) -> FloatWaveform:
    """Generate the waveform of a text of lower-case letters and spaces, without noise, at `SAMPLE_RATE`."""
    letters = np.array([LETTERS.index(letter) for letter in text if letter != " "])
    count = len(letters)
    seconds = generator.uniform(*LETTER_SECONDS) * generator.uniform(1 - LETTER_DEVIATION, 1 + LETTER_DEVIATION, count)
    is_after_space = np.array([text[i - 1] == " " for i in range(1, len(text)) if text[i] != " "])
    pauses = generator.uniform(*GAP_SECONDS, count)
    pauses[0] = generator.uniform(*EDGE_SECONDS)
    pauses[1:] += is_after_space * generator.uniform(*PAUSE_SECONDS, count - 1)
    lengths = np.round(seconds * SAMPLE_RATE).astype(int)  # (letters,) samples
    ends = np.cumsum(np.round(pauses * SAMPLE_RATE).astype(int) + lengths)
    levels = 10 ** (generator.uniform(-LETTER_DB, LETTER_DB, count) / 20)
    phases = generator.uniform(0, 2 * np.pi, (3, count))
    letter_index = np.repeat(np.arange(count), lengths)  # (samples with a tone,)
    since_start = np.arange(len(letter_index)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    until_end = lengths[letter_index] - since_start
    angle = 2 * np.pi * voice.transposition / SAMPLE_RATE * since_start
    low, high = (
        LOW_TONES_HZ[letters % len(LOW_TONES_HZ)][letter_index],
        HIGH_TONES_HZ[letters // len(LOW_TONES_HZ)][letter_index],
    )
    tones = (
        np.sin(angle * low + phases[0, letter_index])
        + voice.balance * np.sin(angle * high + phases[1, letter_index])
        + voice.overtone * np.sin(2 * angle * low + phases[2, letter_index])
    )
    envelope = np.minimum(1, np.minimum(since_start, until_end) / (voice.attack * SAMPLE_RATE))
    waveform = np.zeros(ends[-1] + round(generator.uniform(*EDGE_SECONDS) * SAMPLE_RATE))
    waveform[(ends - lengths)[letter_index] + since_start] = tones * envelope * levels[letter_index]
    level = 0.1 * 10 ** (generator.uniform(-LEVEL_DB, LEVEL_DB) / 20)
    return level * waveform
