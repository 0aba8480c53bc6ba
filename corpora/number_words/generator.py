"""Generator of the number words corpus: a function of the seed, with disjoint splits."""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from seqlab.corpora.number_words.phrases import (
    Phrase,
    StableRandom,
    cardinal_phrase,
    draw_phrase,
    ordinal_phrase,
    short_phrases,
)

GENERATOR_VERSION = 2
"""Incremented with each change of the output for a seed. Version 1 had no short phrases except single words."""
NUM_LINES = {"train": 22_000, "valid": 500, "test": 1_000, "test_combinations": 1_000, "test_short": 300}
"""Split -> number of lines."""

HELD_OUT_HUNDREDS = range(4, 7)
HELD_OUT_UNITS = range(7, 10)

NUM_VALID_SHORT = 50
"""Number of short phrases in `valid`."""
BASIC_REPEATS, SHORT_REPEATS = 10, 5
"""Repetitions in `train` of each basic phrase, and of each other short phrase."""
ZERO_REPEATS = 30
"""Additional repetitions of `zero` in `train`, as no other phrase contains this word."""


def is_held_out(number: int) -> bool:
    """Return whether a number contains a combination of hundreds and units that is only in `test_combinations`.

    The digits are grouped by three from the right, as in number words. A number is held out if any group has a hundreds
    digit from 4 to 6 and a units digit from 7 to 9: 428, 517 and 609, and also 428,000, 3,517 and the year 1609.
    """
    while number:
        number, group = divmod(number, 1_000)
        if group // 100 in HELD_OUT_HUNDREDS and group % 10 in HELD_OUT_UNITS:
            return True
    return False


def generate(seed: int = 5) -> dict[str, list[Phrase]]:
    """Return the phrases of each split.

    No English line and no German line is in two splits. Only `train` repeats lines. Every line of `test_combinations`
    has a held-out combination (`is_held_out`); the lines of other splits have none. The short phrases (`short_phrases`)
    are divided among `train`, which repeats them, `test_short` and `valid`. The numbers below 100 and the ordinals up
    to the 20th, from which larger ones are composed, are always in `train`.
    """
    rng = StableRandom(seed)
    basic = _basic_phrases()
    short = [phrase for phrase in short_phrases() if phrase not in basic and not _has_held_out_number(phrase)]
    german_counts = Counter(phrase.de for phrase in short)
    divided = [phrase for phrase in short if german_counts[phrase.de] == 1]
    rng.shuffle(divided)
    test_short, valid_short, train_short = _cut_in_three(divided, NUM_LINES["test_short"], NUM_VALID_SHORT)
    train_short += [phrase for phrase in short if german_counts[phrase.de] > 1]  # `at two o'clock` and `at two a.m.`
    repeated = [cardinal_phrase(0)] * ZERO_REPEATS + basic * BASIC_REPEATS + train_short * SHORT_REPEATS
    num_long = NUM_LINES["train"] - len(repeated) + NUM_LINES["valid"] - NUM_VALID_SHORT + NUM_LINES["test"]
    long, combinations = _draw_long(rng, num_long, NUM_LINES["test_combinations"], basic + short)
    # The proportions of the forms change as those with few phrases are exhausted: shuffle before splitting.
    rng.shuffle(long)
    test, valid_long, train_long = _cut_in_three(long, NUM_LINES["test"], NUM_LINES["valid"] - NUM_VALID_SHORT)
    return {
        "train": repeated + train_long,
        "valid": valid_short + valid_long,
        "test": test,
        "test_combinations": combinations,
        "test_short": test_short,
    }


def _basic_phrases() -> list[Phrase]:
    """Return the numbers below 100 and the ordinals up to the 20th."""
    return [cardinal_phrase(number) for number in range(100)] + [ordinal_phrase(number) for number in range(1, 21)]


def _draw_long(
    rng: StableRandom, num_common: int, num_combinations: int, other_phrases: Sequence[Phrase]
) -> tuple[list[Phrase], list[Phrase]]:
    """Draw distinct phrases without and with held-out combinations; none is in `others`."""
    seen_en, seen_de = {phrase.en for phrase in other_phrases}, {phrase.de for phrase in other_phrases}
    common: list[Phrase] = []
    combinations: list[Phrase] = []
    while len(common) < num_common or len(combinations) < num_combinations:
        phrase = draw_phrase(rng)
        target, limit = (combinations, num_combinations) if _has_held_out_number(phrase) else (common, num_common)
        if phrase.en in seen_en or phrase.de in seen_de or len(target) == limit:
            continue
        seen_en.add(phrase.en)
        seen_de.add(phrase.de)
        target.append(phrase)
    return common, combinations


def _has_held_out_number(phrase: Phrase) -> bool:
    """Return whether a phrase contains a held-out number."""
    return any(is_held_out(number) for number in phrase.numbers)


def _cut_in_three(phrases: list[Phrase], first: int, second: int) -> tuple[list[Phrase], list[Phrase], list[Phrase]]:
    """Split a list after `first` items, and after `second` more."""
    return phrases[:first], phrases[first : first + second], phrases[first + second :]


def write(folder: str | Path, seed: int = 5) -> dict[str, dict[str, Path]]:
    """Write the corpus as `SPLIT.en` and `SPLIT.de` into a folder and return the paths by split and column.

    The same seed writes the same bytes on every machine. Existing files are replaced atomically.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    return {
        split: {
            "en": _write_lines(folder / f"{split}.en", [phrase.en for phrase in phrases]),
            "de": _write_lines(folder / f"{split}.de", [phrase.de for phrase in phrases]),
        }
        for split, phrases in generate(seed).items()
    }


def _write_lines(path: Path, lines: Sequence[str]) -> Path:
    """Write lines atomically."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes("".join(f"{line}\n" for line in lines).encode())
    return temporary.replace(path)
