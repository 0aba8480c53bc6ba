"""Normalization of speech transcripts for training recognizers and for error rates.

1. `none`: Unicode normalization form C (Standard Annex 15), and single spaces between words.
2. `lower`: also lower case, by Unicode's language-independent rules (Turkish `I` becomes `i`).
3. `plain`: also keeps only letters with their combining marks, numbers, apostrophes within words and spaces, in any
   script. Hyphens, dashes and slashes become spaces. Other punctuation and symbols are deleted: `3.5` becomes `35`.
   Every typographic apostrophe becomes `'`. Numbers and abbreviations are not spelled out.
"""

import re
import unicodedata
from functools import lru_cache
from typing import Literal, get_args

from seqlab.text.normalization import normalize

TranscriptForm = Literal["none", "lower", "plain"]

APOSTROPHES = "'\u2018\u2019\u201b\u02bc\uff07`\u00b4"
"""Characters used as apostrophes: straight, quotation marks, modifier letter, full width, grave and acute accent."""
WORD_SEPARATORS = "/\\\u2044\u2215\u2212\uff0f\uff3c"
"""Slashes and the minus sign, which separate words like the dashes of Unicode's category Pd."""
_NOT_WITHIN_WORD = re.compile("(?<![^ '])'|'(?![^ '])")


def normalize_transcript(text: str, form: TranscriptForm) -> str:
    """Normalize a transcript; the function is idempotent.

    Args:
        text: one or several lines, which are joined into one.
        form: `none`, `lower` or `plain`, as described at the top of this module.

    Raises:
        ValueError: `form` is unknown.
    """
    if form not in get_args(TranscriptForm):
        raise ValueError(f"`form` must be one of {', '.join(get_args(TranscriptForm))}, but is {form!r} instead.")
    text = normalize(text, "nfc")
    if form != "none":
        text = normalize(text.lower(), "nfc")
    if form == "plain":
        # Deleting characters can make marks follow a letter directly: normalize again.
        text = normalize(_NOT_WITHIN_WORD.sub("", _without_symbols(text)), "nfc")
    return " ".join(text.split())


def _without_symbols(text: str) -> str:
    """Keep letters, their marks, numbers and apostrophes, replace word separators by spaces, delete the rest."""
    kept: list[str] = []
    is_after_letter = False
    for character in text:
        replacement, category = _plain_character(character)
        if category[0] != "M" or is_after_letter:
            kept.append(replacement)
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
