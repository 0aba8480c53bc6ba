"""Random phrases: an English number, date or time, and its German translation."""

import random
from calendar import monthrange
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from seqlab.corpora.number_words import english, german

Item = TypeVar("Item")


@dataclass(frozen=True)
class Phrase:
    """A line of the corpus."""

    en: str
    de: str
    numbers: tuple[int, ...]
    """The numbers in the phrase."""


class StableRandom:
    """Random generator based on `random.Random.random()`, which gives the same numbers in all versions of Python."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed).random

    def below(self, end: int) -> int:
        """Draw an integer from 0 to end - 1."""
        return int(self._random() * end)

    def between(self, first: int, last: int) -> int:
        """Draw an integer from first to last, inclusive."""
        return first + self.below(last - first + 1)

    def one_of(self, items: Sequence[Item]) -> Item:
        """Draw an item."""
        return items[self.below(len(items))]

    def chance(self, probability: float) -> bool:
        """Return True with this probability."""
        return self._random() < probability

    def shuffle(self, items: list[Item]) -> None:
        """Shuffle in place (Fisher-Yates)."""
        for last in range(len(items) - 1, 0, -1):
            other = self.below(last + 1)
            items[last], items[other] = items[other], items[last]


def draw_phrase(rng: StableRandom) -> Phrase:
    """Draw a phrase of any kind."""
    return rng.one_of(_PHRASE_DRAWS)(rng)


def cardinal_phrase(number: int) -> Phrase:
    """Write a number: `three hundred and twenty-one`, `dreihunderteinundzwanzig`."""
    return Phrase(english.cardinal(number), german.cardinal(number), (number,))


def ordinal_phrase(number: int) -> Phrase:
    """Write an ordinal: `the three hundred and twenty-first`, `der dreihunderteinundzwanzigste`."""
    return Phrase(f"the {english.ordinal(number)}", f"der {german.ordinal(number)}", (number,))


def year_phrase(number: int, *, named: bool) -> Phrase:
    """Write a year: `nineteen eighty-four` or, named, `the year nineteen eighty-four`."""
    en, de = english.year(number), german.year(number)
    return Phrase(f"the year {en}", f"das Jahr {de}", (number,)) if named else Phrase(en, de, (number,))


def date(day: int, month: int, *, year: int | None = None, weekday: int | None = None, on: bool = False) -> Phrase:
    """Write a date: `the third of May, nineteen eighty-four`, `on Monday, the third of May`.

    The German ordinal is in the nominative (`der dritte Mai`) or, with `on`, in the dative (`am dritten Mai`, `am
    Montag, dem dritten Mai`). Months count from 1, weekdays from Monday = 0.
    """
    en = f"the {english.ordinal(day)} of {english.MONTHS[month - 1]}"
    de = f"{german.ordinal(day, 'en' if on else 'e')} {german.MONTHS[month - 1]}"
    if weekday is not None:
        en = f"{english.WEEKDAYS[weekday]}, {en}"
        de = f"{german.WEEKDAYS[weekday]}, {'dem' if on else 'der'} {de}"
    elif not on:
        de = f"der {de}"
    if on:
        en, de = f"on {en}", f"am {de}"
    if year is not None:
        en, de = f"{en}, {english.year(year)}", f"{de} {german.year(year)}"
    return Phrase(en, de, (day,) if year is None else (day, year))


def spoken_time(hour: int, minute: int, *, part_of_day: tuple[str, str] | None = None, at: bool = False) -> Phrase:
    """Write a time of the 12-hour clock: `half past two`, `halb drei`; `twenty-five to one`, `fünf nach halb eins`.

    Hours are 1 to 12. `part_of_day` is the English and the German phrase, one of `PARTS_OF_DAY`.
    """
    next_hour = hour % 12 + 1
    this, following = (english.below_hundred(hour), german.below_hundred(hour)), _hour_names(next_hour)
    if minute == 0:
        en, de = f"{this[0]} o'clock", f"{german.hour(hour)} Uhr"
    elif minute == 30:
        en, de = f"half past {this[0]}", f"halb {following[1]}"
    elif minute < 30:
        en = f"{_minutes_en(minute)} past {this[0]}"
        de = f"fünf vor halb {following[1]}" if minute == 25 else f"{_minutes_de(minute)} nach {this[1]}"
    else:
        remaining = 60 - minute
        en = f"{_minutes_en(remaining)} to {following[0]}"
        de = f"fünf nach halb {following[1]}" if remaining == 25 else f"{_minutes_de(remaining)} vor {following[1]}"
    if part_of_day:
        en, de = f"{en} {part_of_day[0]}", f"{de} {part_of_day[1]}"
    return Phrase(f"at {en}", f"um {de}", (hour, minute)) if at else Phrase(en, de, (hour, minute))


def clock_time(hour: int, minute: int) -> Phrase:
    """Write a time of the 24-hour clock: `at seven forty-five p.m.`, `um neunzehn Uhr fünfundvierzig`."""
    minutes = f" {english.minutes_or_year(minute)}" if minute else ""
    en = f"at {english.below_hundred((hour - 1) % 12 + 1)}{minutes} {'a.m.' if hour < 12 else 'p.m.'}"
    de = f"um {german.hour(hour)} Uhr" + (f" {german.below_hundred(minute)}" if minute else "")
    return Phrase(en, de, (hour, minute))


PARTS_OF_DAY: dict[tuple[str, str], tuple[int, ...]] = {
    ("in the morning", "morgens"): (5, 6, 7, 8, 9, 10),
    ("in the afternoon", "nachmittags"): (1, 2, 3, 4, 5),
    ("in the evening", "abends"): (6, 7, 8, 9, 10),
    ("at night", "nachts"): (11, 12, 1, 2, 3),
}
"""(English, German) -> hours with this part of the day."""


def short_phrases() -> list[Phrase]:
    """Return the short phrases: numbers to 1,000, full, half and quarter hours, and the days of the year."""
    numbers = [cardinal_phrase(number) for number in range(1001)]
    times = [
        phrase
        for minute in QUARTER_MINUTES
        for phrase in (
            *(spoken_time(hour, minute, at=at) for hour in range(1, 13) for at in (False, True)),
            *(
                spoken_time(hour, minute, part_of_day=part_of_day, at=at)
                for part_of_day, hours in PARTS_OF_DAY.items()
                for hour in hours
                for at in (False, True)
            ),
            *(clock_time(hour, minute) for hour in range(24)),
        )
    ]
    days = [
        date(day, month, on=on)
        for month in range(1, 13)
        for day in range(1, _days_in_month(month) + 1)
        for on in (False, True)
    ]
    return numbers + times + days


QUARTER_MINUTES = (0, 15, 30, 45)
"""Minutes of full, quarter and half hours."""


def _days_in_month(month: int, year: int = 2000) -> int:
    """Return the number of days of a month, by default in a leap year, for dates without a year."""
    return monthrange(year, month)[1]


def _hour_names(hour: int) -> tuple[str, str]:
    return english.below_hundred(hour), german.below_hundred(hour)


def _minutes_en(minute: int) -> str:
    """Write the minutes before `past` or `to`: `ten`, `a quarter`, but `seven minutes`."""
    if minute == 15:
        return "a quarter"
    if minute % 5 == 0:
        return english.below_hundred(minute)
    return f"{english.below_hundred(minute)} {'minute' if minute == 1 else 'minutes'}"


def _minutes_de(minute: int) -> str:
    """Write the minutes before `nach` or `vor`: `zehn`, `Viertel`, but `sieben Minuten`."""
    if minute == 15:
        return "Viertel"
    if minute % 5 == 0:
        return german.below_hundred(minute)
    return "eine Minute" if minute == 1 else f"{german.below_hundred(minute)} Minuten"


def _draw_group(rng: StableRandom) -> int:
    """Draw a group of three digits; zeros are frequent, so that all forms of numbers occur."""
    shape = rng.below(10)
    if shape == 0:
        return 0
    if shape == 1:
        return 100 * rng.between(1, 9)
    if shape == 2:
        return rng.between(1, 99)
    return rng.between(1, 999)


def _draw_number(rng: StableRandom) -> int:
    """Draw a number from 1 to 999,999; about half are below a thousand."""
    thousands = _draw_group(rng) if rng.chance(0.5) else 0
    return max(1, 1_000 * thousands + _draw_group(rng))


def _draw_cardinal(rng: StableRandom) -> Phrase:
    millions = rng.between(1, 99) if rng.chance(0.2) else 0
    return cardinal_phrase(1_000_000 * millions + _draw_number(rng))


def _draw_ordinal(rng: StableRandom) -> Phrase:
    return ordinal_phrase(_draw_number(rng))


def _draw_year(rng: StableRandom) -> Phrase:
    return year_phrase(rng.between(1100, 2099), named=rng.chance(0.5))


def _draw_date(rng: StableRandom) -> Phrase:
    month, on = rng.between(1, 12), rng.chance(0.5)
    if rng.chance(0.3):
        # without a year, any weekday is possible
        return date(rng.between(1, _days_in_month(month)), month, weekday=rng.below(7), on=on)
    number = rng.between(1100, 2099)
    return date(rng.between(1, _days_in_month(month, number)), month, year=number, on=on)


def _draw_time(rng: StableRandom) -> Phrase:
    minute = rng.below(60)
    if rng.chance(0.4):
        return clock_time(rng.below(24), minute)
    if rng.chance(0.5):
        part_of_day = rng.one_of(list(PARTS_OF_DAY))
        hour = rng.one_of(PARTS_OF_DAY[part_of_day])
        return spoken_time(hour, minute, part_of_day=part_of_day, at=rng.chance(0.5))
    return spoken_time(rng.between(1, 12), minute, at=rng.chance(0.5))


# The multipliers are the relative frequencies of the kinds of phrases.
_PHRASE_DRAWS: tuple[Callable[[StableRandom], Phrase], ...] = (
    *(_draw_cardinal,) * 6,
    *(_draw_ordinal,) * 3,
    *(_draw_year,) * 3,
    *(_draw_date,) * 5,
    *(_draw_time,) * 4,
)
