"""German number words: `dreihunderteinundzwanzig`, `eintausendeins`, `zwei Millionen`, `der dritte`.

The forms follow Duden's grammar, always in the long variant (`einhundert`, not `hundert`), so that each number has one
form.
"""

_UP_TO_TWELVE = (
    "null", "eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun", "zehn", "elf", "zwölf",
)  # fmt: skip
_TENS = ("zwanzig", "dreißig", "vierzig", "fünfzig", "sechzig", "siebzig", "achtzig", "neunzig")
_SHORT_STEMS = {1: "ein", 6: "sech", 7: "sieb"}
"""Stems before -zehn: sechzehn, siebzehn."""
_IRREGULAR_ORDINALS = {1: "erst", 3: "dritt", 7: "siebt", 8: "acht"}

MONTHS = (
    "Januar", "Februar", "März", "April", "Mai", "Juni",
    "Juli", "August", "September", "Oktober", "November", "Dezember",
)  # fmt: skip
WEEKDAYS = ("Montag", "Dienstag", "Mittwoch", "Donnerstag", "Freitag", "Samstag", "Sonntag")


def _before_noun_or_suffix(digit: int) -> str:
    """Write 1 to 9 as the first part of a compound: `ein` instead of `eins`."""
    return "ein" if digit == 1 else _UP_TO_TWELVE[digit]


def below_hundred(number: int) -> str:
    """Write 0 to 99 at the end of a number: `eins`, `siebzehn`, `dreißig`, `einundzwanzig`."""
    if number <= 12:
        return _UP_TO_TWELVE[number]
    tens, units = divmod(number, 10)
    if tens == 1:
        return _SHORT_STEMS.get(units, _UP_TO_TWELVE[units]) + "zehn"
    return (f"{_before_noun_or_suffix(units)}und" if units else "") + _TENS[tens - 2]


def below_thousand(number: int) -> str:
    """Write 1 to 999 at the end of a number: `einhundert`, `einhunderteins`, `dreihunderteinundzwanzig`."""
    hundreds, remainder = divmod(number, 100)
    return (f"{_before_noun_or_suffix(hundreds)}hundert" if hundreds else "") + (
        below_hundred(remainder) if remainder else ""
    )


def cardinal(number: int) -> str:
    """Write 0 to 99,999,999: numbers below a million as one word, millions as a noun with its plural.

    Larger numbers are left out because usage varies (`hunderteine Millionen`, `hunderteins Millionen`).
    """
    if number == 0:
        return _UP_TO_TWELVE[0]
    millions, below_million = divmod(number, 1_000_000)
    thousands, remainder = divmod(below_million, 1_000)
    words = []
    if millions:
        words.append("eine Million" if millions == 1 else f"{below_thousand(millions)} Millionen")
    if below_million:
        # the suffix -tausend takes "ein" too: eintausend, einhunderteintausend
        before = below_thousand(thousands).removesuffix("s") if thousands % 100 == 1 else below_thousand(thousands)
        words.append((f"{before}tausend" if thousands else "") + (below_thousand(remainder) if remainder else ""))
    return " ".join(words)


def ordinal(number: int, ending: str = "e") -> str:
    """Write the ordinal of 1 to 999,999 with an adjective ending: `(der) dritte`, `(am) dritten`."""
    last = number % 100
    if not 1 <= last <= 19:
        return f"{cardinal(number)}st{ending}"
    before = cardinal(number - last) if number > last else ""
    return f"{before}{_IRREGULAR_ORDINALS.get(last, below_hundred(last) + 't')}{ending}"


def year(number: int) -> str:
    """Write 1100 to 2099 as a year: `neunzehnhundertvierundachtzig`, but `zweitausendfünf`."""
    if number >= 2000:
        return cardinal(number)
    century, remainder = divmod(number, 100)
    return f"{below_hundred(century)}hundert{below_hundred(remainder) if remainder else ''}"


def hour(number: int) -> str:
    """Write 0 to 24 before `Uhr`: `ein Uhr`, `einundzwanzig Uhr`."""
    return "ein" if number == 1 else below_hundred(number)
