"""Generate the corpus: lines by split, deterministic by seed, with nothing of a test split in another split."""

import os
from collections.abc import Sequence
from pathlib import Path

from .phrases import Draw, Phrase, cardinal, draw_phrase, ordinal

NUM_LINES = {"train": 14_000, "valid": 500, "test": 1_000, "test_combinations": 1_000}
"""split -> lines"""

HELD_OUT_HUNDREDS = range(4, 7)
HELD_OUT_UNITS = range(7, 10)


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


def generate(seed: int = 2) -> dict[str, list[Phrase]]:
    """Return the phrases of each split.

    No English line and no German line occurs twice, in one split or in two. `test_combinations` has at least one
    held-out combination (`is_held_out`) in every line, the other splits have none in any. What is not composed of
    anything smaller, the names of 0 to 20 and of the ranks to the 20th, is always in `train`.
    """
    draw = Draw(seed)
    basic = [cardinal(number) for number in range(21)] + [ordinal(number) for number in range(1, 21)]
    seen_en, seen_de = {phrase.en for phrase in basic}, {phrase.de for phrase in basic}
    common: list[Phrase] = []
    combinations: list[Phrase] = []
    num_common = NUM_LINES["train"] + NUM_LINES["valid"] + NUM_LINES["test"] - len(basic)
    while len(common) < num_common or len(combinations) < NUM_LINES["test_combinations"]:
        phrase = draw_phrase(draw)
        held_out = any(is_held_out(number) for number in phrase.numbers)
        wanted, most = (combinations, NUM_LINES["test_combinations"]) if held_out else (common, num_common)
        if phrase.en in seen_en or phrase.de in seen_de or len(wanted) == most:
            continue
        seen_en.add(phrase.en)
        seen_de.add(phrase.de)
        wanted.append(phrase)
    # rare phrases are drawn late: shuffled, every split has its share of them
    draw.shuffle(common)
    test, valid, train = _cut(common, NUM_LINES["test"], NUM_LINES["valid"])
    return {"train": basic + train, "valid": valid, "test": test, "test_combinations": combinations}


def _cut(phrases: list[Phrase], first: int, second: int) -> tuple[list[Phrase], list[Phrase], list[Phrase]]:
    return phrases[:first], phrases[first : first + second], phrases[first + second :]


def write(folder: str | Path, seed: int = 2) -> dict[str, dict[str, Path]]:
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
