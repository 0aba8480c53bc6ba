"""Houses: a small invented table of sizes, ages, cities and prices, to try commands for tables."""

from pathlib import Path

from seqlab.corpora.card import read_card
from seqlab.corpora.number_words.phrases import StableRandom

CORPUS = read_card("houses")
GENERATOR_VERSION = 1
"""Incremented with each change of the output."""
PRICES = {"Berlin": 4.1, "Köln": 3.4, "Leipzig": 2.3}
"""City -> price of a square meter of a new house, in thousands of euros."""
NUM_HOUSES, NUM_NEW_HOUSES = 240, 24


def write(folder: str | Path, seed: int = 5) -> None:
    """Write `houses.csv` with the columns size, age, city and price, and `new_houses.csv` without prices.

    A house loses half a percent of its price with each year; a deviation of up to a tenth cannot be predicted.
    """
    random = StableRandom(seed)
    rows = []
    for _ in range(NUM_HOUSES + NUM_NEW_HOUSES):
        size, age = 40 + random.below(240) / 2, random.below(60)
        city = random.one_of(list(PRICES))
        deviation = 0.9 + random.below(201) / 1000
        rows.append((size, age, city, round(size * PRICES[city] * (1 - age / 200) * deviation, 1)))
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name, part, num_columns in (
        ("houses.csv", rows[:NUM_HOUSES], 4),
        ("new_houses.csv", rows[NUM_HOUSES:], 3),
    ):
        lines = [("size", "age", "city", "price"), *part]
        text = "".join(",".join(map(str, line[:num_columns])) + "\n" for line in lines)
        (folder / name).write_text(text, encoding="utf-8", newline="\n")


__all__ = ["CORPUS", "write"]
