"""Sentence pairs in two artificial languages, and the zero config for them."""

import random
from pathlib import Path

from seqlab.runs.config import Config
from seqlab.runs.overrides import Override
from seqlab.tasks.translation.zero_config import from_corpus

SYLLABLES = [first + vowel for first in "bdfgklmnprstvz" for vowel in "aeiou"]
Pairs = list[tuple[str, str]]


def draw_sentence_pairs(count: int, seed: int = 0) -> Pairs:
    """Draw sentences of 6 to 14 words with skewed frequencies, in two languages with the same letters."""
    draw = random.Random(seed)

    def word(rank: int, language: int) -> str:
        letters = random.Random(2 * rank + language)
        return "".join(letters.choice(SYLLABLES) for _ in range(letters.randint(1, 4)))

    ranks = [[int(5000 ** draw.random()) for _ in range(draw.randint(6, 14))] for _ in range(count)]
    return [tuple(" ".join(word(rank, side) for rank in line) for side in (0, 1)) for line in ranks]  # type: ignore[misc]


def write_pairs(folder: Path, pairs: Pairs) -> list[Override]:
    """Write sentence pairs to two files, and return the overrides that select them."""
    folder.mkdir(parents=True, exist_ok=True)
    for side, name in ((0, "src"), (1, "tgt")):
        (folder / name).write_text("".join(pair[side] + "\n" for pair in pairs), encoding="utf-8")
    return [("data.train_src", str(folder / "src")), ("data.train_tgt", [str(folder / "tgt")])]


def zero_config(folder: Path, pairs: Pairs, **overrides: str) -> Config:
    """Return the zero config for sentence pairs. `model__d_model="64"` sets a field."""
    return from_corpus(
        [*write_pairs(folder, pairs), *((name.replace("__", "."), text) for name, text in overrides.items())]
    )
