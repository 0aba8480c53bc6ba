"""Grammar of number words, compared with num2words and with verified English and German forms."""

import pytest
from num2words import num2words

from seqlab.corpora.number_words import english, german
from seqlab.corpora.number_words.phrases import (
    Phrase,
    cardinal_phrase,
    clock_time,
    date,
    ordinal_phrase,
    spoken_time,
    year_phrase,
)

# all small numbers, and a sample of large ones; strides without common factors with 10 cover every final digit
SMALL = range(0, 10_001)
LARGE = [*range(10_001, 1_000_000, 997), *range(999_000, 1_000_000), *range(1_000_000, 100_000_000, 77_773)]
ROUND = [digit * 10**power for digit in range(1, 10) for power in range(8)] + [10**6 + 1, 2 * 10**6 + 10**3, 99 * 10**6]


def remove_commas(words: str) -> str:
    """Remove the commas of num2words after millions and thousands."""
    return words.replace(",", "")


def corrected_german(number: int) -> str:
    """Return num2words' German cardinal, corrected to `eintausend` after hundreds (einhunderteintausend, as in ICU)."""
    return num2words(number, lang="de").replace("einstausend", "eintausend")


@pytest.mark.parametrize("numbers", [SMALL, LARGE, ROUND], ids=["small", "large", "round"])
def test_cardinals_agree_with_num2words(numbers):
    for number in numbers:
        assert english.cardinal(number) == remove_commas(num2words(number, lang="en"))
        assert german.cardinal(number) == corrected_german(number)


def test_ordinals_agree_with_num2words():
    for number in [*range(1, 3_001), *(n for n in LARGE if n < 1_000_000)]:
        assert english.ordinal(number) == remove_commas(num2words(number, lang="en", to="ordinal"))
        # num2words drops the leading "ein" of exactly 100, 1,000 and the like: both forms are correct
        expected = num2words(number, lang="de", to="ordinal").replace("einstausend", "eintausend")
        assert german.ordinal(number) in (expected, f"ein{expected}")


def test_years_agree_with_num2words():
    for number in range(1100, 2100):
        assert english.year(number) == num2words(number, lang="en", to="year").replace("oh-", "oh ")
        assert german.year(number) == num2words(number, lang="de", to="year")


@pytest.mark.parametrize(
    ("number", "en", "de"),
    [
        (0, "zero", "null"),
        (1, "one", "eins"),
        (16, "sixteen", "sechzehn"),
        (17, "seventeen", "siebzehn"),
        (21, "twenty-one", "einundzwanzig"),
        (30, "thirty", "dreißig"),
        (66, "sixty-six", "sechsundsechzig"),
        (77, "seventy-seven", "siebenundsiebzig"),
        (100, "one hundred", "einhundert"),
        (321, "three hundred and twenty-one", "dreihunderteinundzwanzig"),
        (1_000, "one thousand", "eintausend"),
        (1_001, "one thousand and one", "eintausendeins"),
        (101_000, "one hundred and one thousand", "einhunderteintausend"),
        (1_000_001, "one million and one", "eine Million eins"),
        (21_000_000, "twenty-one million", "einundzwanzig Millionen"),
    ],
)
def test_cardinal_spot_checks(number, en, de):
    assert cardinal_phrase(number) == Phrase(en, de, (number,))


@pytest.mark.parametrize(
    ("phrase", "en", "de"),
    [
        (ordinal_phrase(1), "the first", "der erste"),
        (ordinal_phrase(3), "the third", "der dritte"),
        (ordinal_phrase(7), "the seventh", "der siebte"),
        (ordinal_phrase(8), "the eighth", "der achte"),
        (ordinal_phrase(12), "the twelfth", "der zwölfte"),
        (ordinal_phrase(19), "the nineteenth", "der neunzehnte"),
        (ordinal_phrase(20), "the twentieth", "der zwanzigste"),
        (ordinal_phrase(101), "the one hundred and first", "der einhunderterste"),
        (ordinal_phrase(1_000), "the one thousandth", "der eintausendste"),
        (year_phrase(1984, named=False), "nineteen eighty-four", "neunzehnhundertvierundachtzig"),
        (year_phrase(1900, named=False), "nineteen hundred", "neunzehnhundert"),
        (year_phrase(1905, named=True), "the year nineteen oh five", "das Jahr neunzehnhundertfünf"),
        (year_phrase(2000, named=False), "two thousand", "zweitausend"),
        (year_phrase(2024, named=False), "twenty twenty-four", "zweitausendvierundzwanzig"),
        (
            date(3, 5, year=1984),
            "the third of May, nineteen eighty-four",
            "der dritte Mai neunzehnhundertvierundachtzig",
        ),
        (date(1, 3, on=True), "on the first of March", "am ersten März"),
        (date(30, 6, weekday=0), "Monday, the thirtieth of June", "Montag, der dreißigste Juni"),
        (
            date(21, 1, weekday=5, on=True),
            "on Saturday, the twenty-first of January",
            "am Samstag, dem einundzwanzigsten Januar",
        ),
    ],
)
def test_ordinal_year_and_date_spot_checks(phrase, en, de):
    assert (phrase.en, phrase.de) == (en, de)


@pytest.mark.parametrize(
    ("hour", "minute", "en", "de"),
    [
        (7, 15, "a quarter past seven", "Viertel nach sieben"),
        (2, 30, "half past two", "halb drei"),
        (12, 30, "half past twelve", "halb eins"),
        (1, 0, "one o'clock", "ein Uhr"),
        (12, 0, "twelve o'clock", "zwölf Uhr"),
        (1, 10, "ten past one", "zehn nach eins"),
        (12, 45, "a quarter to one", "Viertel vor eins"),
        (4, 25, "twenty-five past four", "fünf vor halb fünf"),
        (4, 35, "twenty-five to five", "fünf nach halb fünf"),
        (4, 40, "twenty to five", "zwanzig vor fünf"),
        (3, 1, "one minute past three", "eine Minute nach drei"),
        (3, 21, "twenty-one minutes past three", "einundzwanzig Minuten nach drei"),
        (11, 57, "three minutes to twelve", "drei Minuten vor zwölf"),
    ],
)
def test_spoken_time_spot_checks(hour, minute, en, de):
    assert spoken_time(hour, minute) == Phrase(en, de, (hour, minute))
    assert spoken_time(hour, minute, part_of_day=("at night", "nachts"), at=True) == Phrase(
        f"at {en} at night", f"um {de} nachts", (hour, minute)
    )


@pytest.mark.parametrize(
    ("hour", "minute", "en", "de"),
    [
        (0, 0, "at twelve a.m.", "um null Uhr"),
        (0, 30, "at twelve thirty a.m.", "um null Uhr dreißig"),
        (1, 1, "at one oh one a.m.", "um ein Uhr eins"),
        (12, 5, "at twelve oh five p.m.", "um zwölf Uhr fünf"),
        (19, 45, "at seven forty-five p.m.", "um neunzehn Uhr fünfundvierzig"),
        (21, 0, "at nine p.m.", "um einundzwanzig Uhr"),
    ],
)
def test_clock_time_spot_checks(hour, minute, en, de):
    assert clock_time(hour, minute) == Phrase(en, de, (hour, minute))
