"""Transcripts of speech: the spelling that a recogniser is trained on and error rates compare.

1. `none`: Unicode normal form C (Standard Annex 15), and words with single spaces between them.
2. `lower`: also lower case, by Unicode's rules for all languages (Turkish `I` becomes `i`).
3. `plain`: also letters with their combining marks, numbers, apostrophes within words and spaces alone, of any script.
   Hyphens, dashes and slashes become spaces. Other punctuation and symbols go and leave no space: `3.5` becomes `35`.
   Every typographic apostrophe becomes `'`. Nothing is spelt out: numbers and abbreviations stay as they are written.
"""

import re
import unicodedata
from functools import lru_cache
from typing import Literal, get_args

from seqlab.text.normalization import normalize

TranscriptForm = Literal["none", "lower", "plain"]

APOSTROPHES = "'\u2018\u2019\u201b\u02bc\uff07`\u00b4"
"""Typed or printed as an apostrophe: straight, quotation marks, modifier letter, full width, grave and acute accent."""
DIVIDERS = "/\\\u2044\u2215\u2212\uff0f\uff3c"
"""Slashes and the minus sign, which divide words as the dashes of Unicode's category Pd do."""
_NOT_WITHIN_WORD = re.compile("(?<![^ '])'|'(?![^ '])")


def normalize_transcript(text: str, form: TranscriptForm) -> str:
    """Normalise a transcript; once normalised it stays as it is.

    Args:
        text: one line or several, which become one.
        form: `none`, `lower` or `plain`, as described at the top of this module.

    Raises:
        ValueError: there is no such form.
    """
    if form not in get_args(TranscriptForm):
        raise ValueError(f"`form` must be one of {', '.join(get_args(TranscriptForm))}, but is {form!r} instead.")
    text = normalize(text, "nfc")
    if form != "none":
        text = normalize(text.lower(), "nfc")
    if form == "plain":
        # Marks that an invisible character divided from their letter meet it again: normal form C once more.
        text = normalize(_NOT_WITHIN_WORD.sub("", _without_symbols(text)), "nfc")
    return " ".join(text.split())


def _without_symbols(text: str) -> str:
    """Keep letters, their marks, numbers and apostrophes, turn what divides words into a space, and drop the rest."""
    kept: list[str] = []
    after_letter = False
    for character in text:
        written, category = _written(character)
        if category[0] != "M" or after_letter:
            kept.append(written)
        if category[0] != "M" and category != "Cf":  # invisible characters join parts of a word, as in Bengali
            after_letter = category[0] == "L"
    return "".join(kept)


@lru_cache(maxsize=1 << 14)
def _written(character: str) -> tuple[str, str]:
    """Return what `plain` writes for a character, and its category in Unicode: "Po" for all apostrophes."""
    if character in APOSTROPHES:
        return "'", "Po"
    category = unicodedata.category(character)
    if character in DIVIDERS or category == "Pd" or character.isspace():
        return " ", category
    return (character if category[0] in "LMN" else ""), category


__all__ = ["TranscriptForm", "normalize_transcript"]
