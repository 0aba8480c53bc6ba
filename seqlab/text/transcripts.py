"""Normalization of speech transcripts for training recognizers and for error rates.

1. `none`: Unicode normalization form C (Standard Annex 15), and single spaces between words.
2. `lower`: also lower case, by Unicode's language-independent rules (Turkish `I` becomes `i`), and `i` for `İ`.
3. `plain`: also keeps only letters with their combining marks, numbers, apostrophes within words and spaces, in any
   script. Other punctuation and symbols become spaces, so that no words or numbers are merged: `3.14` becomes `3 14`.
   Within a word they are deleted in three cases: the points of an abbreviation (`a.m.`), the commas of an English
   number (`1,000`), and marks that are part of a word or between characters of a script without spaces (`col·legi`).
   Zero-width spaces between words, as in Khmer, become spaces. Every typographic apostrophe becomes `'`. Numbers and
   abbreviations are not spelled out.

Runs up to version 1 of the reading deleted punctuation and symbols, except for hyphens, dashes and slashes: `3.14`
became `314`; and `İ` became `i` with a combining dot.
"""

import re
import unicodedata
from functools import lru_cache
from typing import Literal, get_args

from seqlab.base.reading_notes import FIRST_READING_VERSION, READING_VERSION
from seqlab.text.normalization import divide_words, normalize
from seqlab.text.scripts import is_unspaced

TranscriptForm = Literal["none", "lower", "plain"]

APOSTROPHES = "'\u2018\u2019\u201b\u02bc\uff07`\u00b4"
"""Characters used as apostrophes: straight, quotation marks, modifier letter, full width, grave and acute accent."""
WORD_SEPARATORS = "/\\\u2044\u2215\u2212\uff0f\uff3c"
"""Slashes and the minus sign, which separate words like the dashes of Unicode's category Pd."""
_WORD_JOINERS = re.compile("(?<=\\w)[\u00b7\u2027\u05f3\u05f4]+(?=\\w)")
"""Marks within a word: the Catalan middle dot, the hyphenation point, geresh and gershayim."""
_ABBREVIATION_POINTS = re.compile(r"(?<![^\W\d_])([^\W\d_])\.(?=[^\W\d_](?![^\W\d_]))")
"""Points between single letters."""
_THOUSANDS = re.compile(r"(?<![\w.,])[1-9]\d{0,2}(?:,\d{3})+(?![\w,])")
_NO_WORD = re.compile(rf"[^\w\s{re.escape(WORD_SEPARATORS)}\u2010-\u2015\u0f0b\u0f0c-]+")
"""Punctuation, symbols and combining marks, except for separators of words or, in Tibetan, of syllables."""
_NOT_WITHIN_WORD = re.compile("(?<![^ '])'|'(?![^ '])")


def normalize_transcript(text: str, form: TranscriptForm, reading: int = READING_VERSION) -> str:
    """Normalize a transcript; the function is idempotent.

    Args:
        text: one or several lines, which are joined into one.
        form: `none`, `lower` or `plain`, as described at the top of this module.
        reading: version of the reading of a run (`seqlab.base.reading_notes`).

    Raises:
        ValueError: `form` is unknown.
    """
    if form not in get_args(TranscriptForm):
        raise ValueError(f"`form` must be one of {', '.join(get_args(TranscriptForm))}, but is {form!r} instead.")
    text = normalize(text, "nfc")
    if form != "none":
        lower = text.lower() if reading == FIRST_READING_VERSION else text.replace("\u0130", "i").lower()
        text = normalize(lower, "nfc")
    if form == "plain":
        symbol = "" if reading == FIRST_READING_VERSION else " "
        text = _without_symbols(text if reading == FIRST_READING_VERSION else _without_marks_in_words(text), symbol)
        # Deleting characters can make marks follow a letter directly: normalize again.
        text = normalize(_NOT_WITHIN_WORD.sub("", text), "nfc")
    return " ".join(text.split())


def _without_marks_in_words(text: str) -> str:
    """Delete punctuation that does not separate words or numbers: see the top of this module."""
    text = _WORD_JOINERS.sub("", divide_words(text))
    text = _THOUSANDS.sub(lambda match: match[0].replace(",", ""), text)
    return _NO_WORD.sub(_between_unspaced, _ABBREVIATION_POINTS.sub(_abbreviation, text))


def _abbreviation(match: re.Match[str]) -> str:
    """Delete the point after a single letter, unless marks show that its word, or the next one, is longer."""
    text, start, end = match.string, match.start(), match.end()
    beside = text[start - 1 : start] + text[end + 1 : end + 2]
    return match[0] if any(unicodedata.category(character)[0] == "M" for character in beside) else match[1]


def _between_unspaced(match: re.Match[str]) -> str:
    """Delete punctuation and symbols between characters of a script without spaces."""
    text, start, end = match.string, match.start(), match.end()
    beside = text[start - 1 : start] + text[end : end + 1]
    if len(beside) < 2 or not all(map(is_unspaced, beside)):
        return match[0]
    return "".join(character for character in match[0] if unicodedata.category(character)[0] not in "PS")


def _without_symbols(text: str, symbol: str) -> str:
    """Keep letters, their marks, numbers and apostrophes, and replace punctuation and symbols by `symbol`.

    Word separators become spaces; marks without a letter and invisible characters are deleted.
    """
    kept: list[str] = []
    is_after_letter = False
    for character in text:
        replacement, category = _plain_character(character)
        if category[0] != "M" or is_after_letter:
            kept.append(symbol if replacement == "" and category[0] in "PS" else replacement)
        if category[0] != "M" and category != "Cf":  # invisible characters join parts of words, as in Bengali
            is_after_letter = category[0] == "L"
    return "".join(kept)


@lru_cache(maxsize=1 << 14)
def _plain_character(character: str) -> tuple[str, str]:
    """Return the replacement of a character in `plain`, and its Unicode category ("Po" for apostrophes)."""
    if character in APOSTROPHES:
        return "'", "Po"
    category = unicodedata.category(character)
    if character in WORD_SEPARATORS or category == "Pd" or character.isspace():
        return " ", category
    return (character if category[0] in "LMN" else ""), category


__all__ = ["TranscriptForm", "normalize_transcript"]
