"""Generate the corpus: lines by split, deterministic by seed, with no line of one split in another."""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from seqlab.corpora.number_words.phrases import Draw, Phrase, cardinal, draw_phrase, ordinal, short_phrases

VERSION = 2
"""Raised with each change of what a seed generates. Version 1 had no short phrases apart from the single words."""
NUM_LINES = {"train": 22_000, "valid": 500, "test": 1_000, "test_combinations": 1_000, "test_short": 300}
"""split -> lines"""

HELD_OUT_HUNDREDS = range(4, 7)
HELD_OUT_UNITS = range(7, 10)

VALID_SHORT = 50
"""how many lines of `valid` are short"""
BASIC_REPEATS, SHORT_REPEATS = 10, 5
"""how often `train` repeats each basic phrase, and each other short phrase"""
ZERO_REPEATS = 30
"""how many more times `train` has `zero`: no other phrase contains this word"""


def is_held_out(number: int) -> bool:
    """Tell whether a number holds a combination of hundreds and units that only `test_combinations` may have.

    The digits are taken in groups of three from the right, as number words are formed. The combination is held out
    where in any group the hundreds digit is 4 to 6 and the units digit 7 to 9, whatever the tens digit between them:
    428, 517 and 609, and so also 428,000, 3,517 and the year 1609.
    """
    while number:
        number, group = divmod(number, 1_000)
        if group // 100 in HELD_OUT_HUNDREDS and group % 10 in HELD_OUT_UNITS:
            return True
    return False


def generate(seed: int = 5) -> dict[str, list[Phrase]]:
    """Return the phrases of each split.

    No English line and no German line is in two splits, and none occurs twice in a split other than `train`.
    `test_combinations` has at least one held-out combination (`is_held_out`) in every line, the other splits have none
    in any. The short phrases (`short_phrases`) are divided among `train`, which repeats them, `test_short` and `valid`;
    `test` has none. The numbers below 100 and the ranks to the 20th, of which larger ones are composed, are always in
    `train`.
    """
    draw = Draw(seed)
    basic = _basic_phrases()
    short = [phrase for phrase in short_phrases() if phrase not in basic and not _has_held_out(phrase)]
    german_counts = Counter(phrase.de for phrase in short)
    divided = [phrase for phrase in short if german_counts[phrase.de] == 1]
    draw.shuffle(divided)
    test_short, valid_short, train_short = _cut(divided, NUM_LINES["test_short"], VALID_SHORT)
    train_short += [phrase for phrase in short if german_counts[phrase.de] > 1]  # `at two o'clock` and `at two a.m.`
    repeated = [cardinal(0)] * ZERO_REPEATS + basic * BASIC_REPEATS + train_short * SHORT_REPEATS
    num_long = NUM_LINES["train"] - len(repeated) + NUM_LINES["valid"] - VALID_SHORT + NUM_LINES["test"]
    long, combinations = _draw_long(draw, num_long, NUM_LINES["test_combinations"], basic + short)
    # rare phrases are drawn late: shuffled, every split has its share of them
    draw.shuffle(long)
    test, valid_long, train_long = _cut(long, NUM_LINES["test"], NUM_LINES["valid"] - VALID_SHORT)
    return {
        "train": repeated + train_long,
        "valid": valid_short + valid_long,
        "test": test,
        "test_combinations": combinations,
        "test_short": test_short,
    }


def _basic_phrases() -> list[Phrase]:
    """List the numbers below 100 and the ranks to the 20th."""
    return [cardinal(number) for number in range(100)] + [ordinal(number) for number in range(1, 21)]


def _draw_long(
    draw: Draw, num_common: int, num_combinations: int, others: Sequence[Phrase]
) -> tuple[list[Phrase], list[Phrase]]:
    """Draw phrases without and with held-out combinations, each of them once and none that is among the others."""
    seen_en, seen_de = {phrase.en for phrase in others}, {phrase.de for phrase in others}
    common: list[Phrase] = []
    combinations: list[Phrase] = []
    while len(common) < num_common or len(combinations) < num_combinations:
        phrase = draw_phrase(draw)
        wanted, most = (combinations, num_combinations) if _has_held_out(phrase) else (common, num_common)
        if phrase.en in seen_en or phrase.de in seen_de or len(wanted) == most:
            continue
        seen_en.add(phrase.en)
        seen_de.add(phrase.de)
        wanted.append(phrase)
    return common, combinations


def _has_held_out(phrase: Phrase) -> bool:
    return any(is_held_out(number) for number in phrase.numbers)


def _cut(phrases: list[Phrase], first: int, second: int) -> tuple[list[Phrase], list[Phrase], list[Phrase]]:
    return phrases[:first], phrases[first : first + second], phrases[first + second :]


def write(folder: str | Path, seed: int = 5) -> dict[str, dict[str, Path]]:
    """Write the corpus as `SPLIT.en` and `SPLIT.de` into a folder and return the paths by split and column.

    The same seed writes the same bytes on every machine. A file that is there already is replaced as a whole.
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
    """Write under another name first: a reader of the folder never sees half a file."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes("".join(f"{line}\n" for line in lines).encode())
    return temporary.replace(path)
