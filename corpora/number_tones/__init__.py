"""Number tones: number words in which each letter is a pair of tones, as a substitute for speech.

The corpus needs no download and no speech synthesizer. Voices, durations, levels and noise vary. Voices and texts are
disjoint between splits, so that a model must learn the tones of the letters to recognize the test recordings.
"""

from seqlab.corpora.card import read_card
from seqlab.corpora.number_tones.tones import (
    MAX_CHARACTERS,
    NUM_PHRASES,
    SAMPLE_RATE,
    draw_phrases,
    write,
    write_sample,
)

CORPUS = read_card("number_tones")

__all__ = ["CORPUS", "MAX_CHARACTERS", "NUM_PHRASES", "SAMPLE_RATE", "draw_phrases", "write", "write_sample"]
