"""English number words in British style: `three hundred and twenty-one`, without commas."""

_UP_TO_NINETEEN = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_IRREGULAR_ORDINALS = {
    "one": "first",
    "two": "second",
    "three": "third",
    "five": "fifth",
    "eight": "eighth",
    "nine": "ninth",
    "twelve": "twelfth",
}

MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def below_hundred(number: int) -> str:
    """Write 0 to 99: `seven`, `eighteen`, `forty`, `twenty-one`."""
    if number < 20:
        return _UP_TO_NINETEEN[number]
    tens, units = divmod(number, 10)
    return _TENS[tens - 2] + (f"-{_UP_TO_NINETEEN[units]}" if units else "")


def cardinal(number: int) -> str:
    """Write 0 to 999,999,999: `one million two hundred thousand and five`."""
    if number == 0:
        return "zero"
    millions, below_million = divmod(number, 1_000_000)
    thousands, below_thousand = divmod(below_million, 1_000)
    hundreds, remainder = divmod(below_thousand, 100)
    words = []
    if millions:
        words.append(f"{cardinal(millions)} million")
    if thousands:
        words.append(f"{cardinal(thousands)} thousand")
    if hundreds:
        words.append(f"{_UP_TO_NINETEEN[hundreds]} hundred")
    if remainder:
        words.append(f"and {below_hundred(remainder)}" if words else below_hundred(remainder))
    return " ".join(words)


def ordinal(number: int) -> str:
    """Write the ordinal of 1 to 999,999,999: only the last word changes, `one hundred and twenty-first`."""
    words = cardinal(number)
    start = max(words.rfind(" "), words.rfind("-")) + 1
    last = words[start:]
    if last in _IRREGULAR_ORDINALS:
        return words[:start] + _IRREGULAR_ORDINALS[last]
    return words[:-1] + "ieth" if last.endswith("y") else words + "th"


def year(number: int) -> str:
    """Write 1100 to 2099 as a year is read: `nineteen eighty-four`, `nineteen oh five`, `two thousand and five`."""
    century, remainder = divmod(number, 100)
    if century == 20 and remainder < 10:
        return cardinal(number)
    if remainder == 0:
        return f"{below_hundred(century)} hundred"
    return f"{below_hundred(century)} {minutes_or_year(remainder)}"


def minutes_or_year(number: int) -> str:
    """Write 1 to 99 as two digits are read after an hour or a century: `oh five`, `forty-five`."""
    return f"oh {below_hundred(number)}" if number < 10 else below_hundred(number)
