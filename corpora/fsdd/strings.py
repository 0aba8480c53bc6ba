"""Digit strings that are concatenated from recordings of single digits, with the times of the digits."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from seqlab.corpora.fsdd.digits import CORPUS, DIGITS, SAMPLE_RATE, SPEAKERS, SPLITS, file_name
from seqlab.corpora.recordings import (
    FloatWaveform,
    GeneratedRecording,
    add_background,
    locate_recordings,
    read_wav,
    scale_to_int16,
    write_recordings,
)

NUM_STRINGS = {"train": 3_000, "valid": 200, "test": 300}
"""Split -> number of strings."""
DIGITS_PER_STRING = (3, 9)
"""Minimum and maximum number of digits of a string."""
GAP_SECONDS = (0.05, 0.6)
"""Range of a normal pause between two digits."""
SHORT_GAP_SECONDS = (0.0, 0.02)
"""Range of a short pause between two digits."""
SHORT_GAP_SHARE = 0.15
"""Share of short pauses."""
EDGE_SECONDS = (0.05, 0.8)
"""Range of the silence before the first digit and after the last one."""
LEVEL_DB = 6.0
"""Maximum change of the level of each digit, up or down."""
SNR_DB = (10.0, 40.0)
"""Range of the signal-to-noise ratio."""

RecordingKey = tuple[int, str, int]
"""Digit, speaker, index."""


def write_strings(
    folder: str | Path,
    seed: int = 5,
    source: str | Path | None = None,
    num_strings: Mapping[str, int] = NUM_STRINGS,
) -> dict[str, Path]:
    """Write strings of 3 to 9 digits below `recordings/`, listed in `train.jsonl`, `valid.jsonl` and `test.jsonl`.

    A string has one speaker; pauses, levels and background noise vary. No recording of a digit and no string of digits
    is in two splits. The columns are `audio`, `text` (the words of the digits), `speaker`, `times` (start and end of
    each digit in seconds), `snr_db` and `duration` in seconds. On one machine, the same seed writes the same bytes.

    Args:
        folder: folder to write the manifests and recordings to.
        seed: random seed.
        source: folder of the recordings of single digits; by default `$SEQLAB_DATA/fsdd`.
        num_strings: split -> number of strings.

    Raises:
        FileNotFoundError: a recording is missing; the message has the source of the corpus.
        ValueError: a recording is damaged or not 8 kHz, 16 bits, mono; a split is unknown.
    """
    if unknown := set(num_strings) - set(SPLITS):
        raise ValueError(
            f"`num_strings` must contain only the splits {', '.join(SPLITS)}, but contains {min(unknown)!r}."
        )
    recordings = _read_all(locate_recordings(CORPUS, source))
    digits = _draw_digits(seed, num_strings)
    splits = {split: _generate_strings(recordings, split, strings, seed) for split, strings in digits.items()}
    return write_recordings(folder, splits, SAMPLE_RATE)


def _read_all(folder: Path) -> dict[RecordingKey, FloatWaveform]:
    """Read the recordings of all splits."""
    return {
        (digit, speaker, index): read_wav(folder / file_name(digit, speaker, index), SAMPLE_RATE) / 32768
        for digit in range(10)
        for speaker in SPEAKERS
        for indices in SPLITS.values()
        for index in indices
    }


def _draw_digits(seed: int, num_strings: Mapping[str, int]) -> dict[str, list[tuple[int, ...]]]:
    """Draw the digits of all strings; `train` is drawn last, without the strings of the other splits."""
    drawn: dict[str, list[tuple[int, ...]]] = {}
    taken: set[tuple[int, ...]] = set()
    for split in reversed(SPLITS):
        generator = np.random.default_rng((seed, list(SPLITS).index(split)))
        drawn[split] = []
        while len(drawn[split]) < num_strings.get(split, 0):
            length = generator.integers(DIGITS_PER_STRING[0], DIGITS_PER_STRING[1] + 1)
            digits = tuple(generator.integers(0, 10, length).tolist())
            if digits not in taken:
                drawn[split].append(digits)
        taken.update(drawn[split])
    return {split: drawn[split] for split in SPLITS if split in num_strings}


def _generate_strings(
    recordings: Mapping[RecordingKey, FloatWaveform], split: str, strings: list[tuple[int, ...]], seed: int
) -> Iterator[GeneratedRecording]:
    """Generate the recordings of the strings of a split."""
    for number, digits in enumerate(strings):
        generator = np.random.default_rng((seed, list(SPLITS).index(split), number))
        yield _generate_string(recordings, SPLITS[split], digits, generator)


def _generate_string(
    recordings: Mapping[RecordingKey, FloatWaveform],
    indices: range,
    digits: tuple[int, ...],
    generator: np.random.Generator,
) -> GeneratedRecording:
    """Generate the recording of a string: a pause and a digit in turn, with background noise."""
    speaker = SPEAKERS[generator.integers(len(SPEAKERS))]
    digit_recordings = [recordings[digit, speaker, int(generator.choice(indices))] for digit in digits]
    has_short_gap = generator.random(len(digits)) < SHORT_GAP_SHARE
    silences = np.where(
        has_short_gap, generator.uniform(*SHORT_GAP_SECONDS, len(digits)), generator.uniform(*GAP_SECONDS, len(digits))
    )
    silences[0] = generator.uniform(*EDGE_SECONDS)
    levels = 10 ** (generator.uniform(-LEVEL_DB, LEVEL_DB, len(digits)) / 20)
    lengths = np.array([len(waveform) for waveform in digit_recordings])
    ends = np.cumsum(np.round(silences * SAMPLE_RATE).astype(int) + lengths)
    starts = ends - lengths
    waveform = np.zeros(ends[-1] + round(generator.uniform(*EDGE_SECONDS) * SAMPLE_RATE))
    for start, end, level, samples in zip(starts, ends, levels, digit_recordings, strict=True):
        waveform[start:end] = level * samples
    snr_db = round(generator.uniform(*SNR_DB), 1)
    row = {
        "text": " ".join(DIGITS[digit] for digit in digits),
        "speaker": speaker,
        "times": np.round(np.stack([starts, ends], axis=1) / SAMPLE_RATE, 4).tolist(),
        "snr_db": snr_db,
    }
    return GeneratedRecording(scale_to_int16(add_background(waveform, snr_db, generator)), row)
