"""Number speech: number words synthesized by espeak-ng, with disjoint voices in training and test.

No text and no voice is in two splits. Variants that differ only in a number (`klatt2`, `klatt3`) form a family. All
voices of a family, in all accents, are in the same split.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from seqlab.corpora.card import read_card
from seqlab.corpora.number_tones.tones import draw_phrases
from seqlab.corpora.number_words.phrases import StableRandom
from seqlab.corpora.recordings import write_recordings
from seqlab.corpora.synthetic_speech import accents, generate_recordings, variants

GENERATOR_VERSION = 2
"""Incremented with each change of the output for a seed."""
MAX_SPOKEN_CHARACTERS = 40
"""Maximum length of a phrase."""
NUM_PHRASES = {"train": 2000, "valid": 80, "test": 150}
"""Split -> number of phrases of the full corpus, with about an hour of training data."""
SMALL_NUM_PHRASES = {"train": 120, "valid": 20, "test": 30}
"""Split -> number of phrases of a small corpus, with about 4 minutes of training data."""
NUM_HELD_OUT_FAMILIES = {"valid": 8, "test": 12}
"""Split -> number of families in this split; all other families are in train."""
ROBOT_FAMILIES = {"RicishayMax", "anikaRobot", "robosoft"}
"""Families that imitate machines; they are only in the training data."""

CORPUS = read_card("number_speech")


def write(
    folder: str | Path, seed: int = 5, num_phrases: Mapping[str, int] = NUM_PHRASES, sample_rate: int = 8_000
) -> dict[str, Path]:
    """Write `train.jsonl`, `valid.jsonl`, `test.jsonl` and their recordings below `recordings/`; return the manifests.

    The columns are `audio`, `text`, `speaker` (the voice), `rate_wpm`, `pitch`, `snr_db` and `duration` in seconds. The
    same arguments write the same bytes on one machine.

    Args:
        folder: folder to write the manifests and recordings to.
        seed: random seed.
        num_phrases: split -> number of phrases; use `SMALL_NUM_PHRASES` for quick experiments.
        sample_rate: sampling rate of the recordings in Hz.

    Raises:
        FileNotFoundError: espeak-ng is not installed.
        ModuleNotFoundError: soxr is not installed.
        ValueError: a split is unknown, or fewer phrases exist than `num_phrases` requires.
    """
    voices = split_voices(seed)
    if unknown := set(num_phrases) - set(voices):
        raise ValueError(
            f"`num_phrases` must contain only the splits {', '.join(voices)}, but contains {min(unknown)!r}."
        )
    texts_by_split = draw_phrases(seed, num_phrases, MAX_SPOKEN_CHARACTERS)
    splits = {
        split: generate_recordings(texts, voices[split], (seed, list(voices).index(split)), sample_rate)
        for split, texts in texts_by_split.items()
    }
    return write_recordings(folder, splits, sample_rate)


def split_voices(seed: int) -> dict[str, list[str]]:
    """Return the voices of each split; raise FileNotFoundError if espeak-ng is not installed."""
    variants_by_family: dict[str, list[str]] = {}
    for variant in variants():
        variants_by_family.setdefault(_family(variant), []).append(variant)
    families = sorted(set(variants_by_family) - ROBOT_FAMILIES)
    StableRandom(seed).shuffle(families)
    families_by_split: dict[str, list[str]] = {}
    for split in ("valid", "test"):
        count = NUM_HELD_OUT_FAMILIES[split]
        families_by_split[split], families = families[:count], families[count:]
    train_families = families + sorted(ROBOT_FAMILIES & set(variants_by_family))
    return {
        split: [
            f"{accent}+{variant}"
            for accent in accents("en")
            for family in split_families
            for variant in variants_by_family[family]
        ]
        for split, split_families in {"train": train_families, **families_by_split}.items()
    }


def _family(variant: str) -> str:
    """Return the family of a variant, its name without the number; `f1`, `m1` and so on are different speakers."""
    return re.sub(r"\d+$", "", variant) if len(variant) > 2 else variant


__all__ = ["CORPUS", "NUM_PHRASES", "SMALL_NUM_PHRASES", "split_voices", "write"]
