"""A sample of tones instead of speech, with the file names of the dataset, to try commands without a download."""

from itertools import product
from pathlib import Path

import numpy as np

from seqlab.corpora.fsdd.digits import DIGITS, SAMPLE_RATE, SPEAKERS, file_name
from seqlab.corpora.number_tones.tones import draw_tone_voice, generate_tones
from seqlab.corpora.recordings import scale_to_int16, write_wav

INDICES = (5, 6, 7, 10, 11, *range(15, 23))
"""Indices of the recordings of each digit and speaker: three for test, two for validation, eight for training."""


def write_sample(folder: str | Path, seed: int = 5) -> None:
    """Write recordings in which each letter of a digit's word is a pair of tones (see number_tones), in six voices."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for digit, (number, speaker), index in product(range(10), enumerate(SPEAKERS), INDICES):
        generator = np.random.default_rng((seed, digit, number, index))
        waveform = generate_tones(DIGITS[digit], draw_tone_voice(seed, number), generator)
        write_wav(folder / file_name(digit, speaker, index), scale_to_int16(waveform), SAMPLE_RATE)
