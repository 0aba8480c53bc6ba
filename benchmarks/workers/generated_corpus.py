"""Generated parallel corpus of artificial words in 8,000 subwords, for machines without a corpus.

The translation of a word is another word. Sentence lengths are those of news, word frequencies follow Zipf's law.
"""

from itertools import product
from pathlib import Path

import numpy as np

PAIRS = {"train": 40_000, "valid": 200, "test": 1000}
WORDS = 12_000
MEAN_LENGTH, MAX_LENGTH = 22, 80
"""Words of a sentence."""
SYLLABLES = {
    "en": ["".join(letters) for letters in product("bdfgklmnprstvw", "aeiou", ("", "n", "s"))],
    "de": [
        "".join(letters) for letters in product(("br", "d", "f", "gr", "kl", "m", "sch", "st", "z"), "aeiou", "lrt")
    ],
}


def write_corpus(folder: Path) -> None:
    """Write SPLIT.en and SPLIT.de of each split, the same on every machine, unless the folder is complete."""
    if (folder / f"{[*PAIRS][-1]}.de").exists():  # the last file that is written
        return
    rng = np.random.default_rng(1)
    words = {language: _generate_words(syllables, rng) for language, syllables in SYLLABLES.items()}
    frequencies = 1 / np.arange(1, WORDS + 1)
    frequencies /= frequencies.sum()
    folder.mkdir(parents=True, exist_ok=True)
    for split, pairs in PAIRS.items():
        lengths = np.clip(rng.poisson(rng.gamma(2.0, MEAN_LENGTH / 2, pairs)), 1, MAX_LENGTH)
        sentences = np.split(rng.choice(WORDS, size=lengths.sum(), p=frequencies), np.cumsum(lengths)[:-1])
        for language, vocabulary in words.items():
            with (folder / f"{split}.{language}").open("w", encoding="utf-8", newline="\n") as file:
                file.writelines(" ".join(vocabulary[index] for index in sentence) + "\n" for sentence in sentences)


def _generate_words(syllables: list[str], rng: np.random.Generator) -> list[str]:
    """Generate distinct words of two to four syllables."""
    found: dict[str, None] = {}
    while len(found) < WORDS:
        found["".join(rng.choice(syllables, size=rng.integers(2, 5)))] = None
    return list(found)
