"""Properties of scripts: spaces between words, sentence ends, and characters that must not be separated."""

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from itertools import pairwise

IDEOGRAPHIC_SCRIPTS = ("CJK", "IDEOGRAPHIC", "HIRAGANA", "KATAKANA", "HALFWIDTH KATAKANA", "BOPOMOFO", "YI ")
"""Scripts without any spaces, even between sentences, as prefixes of the Unicode names of their characters."""
PHRASE_SPACED_SCRIPTS = (
    *("THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN", "JAVANESE", "BALINESE"),
    *("TAI LE", "NEW TAI LUE", "TAI THAM", "TAI VIET"),
)
"""Scripts with spaces between phrases or sentences, but not between words."""
SPACED_SENTENCE_ENDS = ".!?…‽"
"""Marks that end a sentence if a space follows: a full stop is also part of numbers and abbreviations."""
SENTENCE_ENDS = (
    "。！？｡﹒﹖﹗‼⁇⁈⁉"  # Chinese and Japanese
    "؟۔؝؞"  # Arabic and Urdu
    "।॥"  # Devanagari and other scripts of South Asia
    "။"  # Burmese
    "។៕"  # Khmer
    "།༎"  # Tibetan
    "።፧፨"  # Ethiopic
    "։׃"  # Armenian, Hebrew
    "᙮"  # Canadian syllabics
    "᠃᠉"  # Mongolian
    "෴"  # Sinhala
    "܀܁܂"  # Syriac
    "߹"  # N'Ko
    "꧈꧉"  # Javanese
    "᭞᭟"  # Balinese
    "꓿꘎꛳꫰꫱꯫"  # Lisu, Vai, Bamum, Meetei Mayek
)
"""Marks that end a sentence even if no space follows (most of Unicode's property Sentence_Terminal)."""
INVISIBLE = (
    "\u00ad\u200b\u2060\ufeff"  # soft hyphen, zero-width space, word joiner, zero-width no-break space
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # marks, embeddings and isolates of the direction of writing
)
"""Characters that show nothing and leave the letters beside them unchanged, unlike joiners (U+200C, U+200D), for the
character class of a regular expression."""
_INVISIBLE = re.compile(f"[{INVISIBLE}]")
_INVISIBLE_OR_JOINERS = re.compile(f"[{INVISIBLE}\u200c\u200d]")
_ZERO_WIDTH_JOINER = "\u200d"
_CONTINUING = re.compile(
    "[\u200c\u200d"  # non-joiner and joiner
    "\u0e33\u0eb3"  # a vowel of Thai and of Lao
    "\uff9e\uff9f"  # marks of half-width katakana
    "\u1160-\u11ff\ud7b0-\ud7ff"  # vowels and final consonants of decomposed Hangul
    "\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f]"  # skin colors, tags of flags
)
"""Characters other than marks that belong to the character before them."""
_VIRAMA = 9
"""Canonical combining class of viramas, which join consonants."""
_FIRST_SUPPLEMENTARY_IDEOGRAPH, _LAST_SUPPLEMENTARY_IDEOGRAPH = 0x20000, 0x3FFFF


@lru_cache(maxsize=1 << 14)
def is_ideographic(character: str) -> bool:
    """Return whether a character is of a script without any spaces, such as Chinese or Japanese."""
    if _FIRST_SUPPLEMENTARY_IDEOGRAPH <= ord(character) <= _LAST_SUPPLEMENTARY_IDEOGRAPH:  # some are not yet named
        return True
    return unicodedata.name(character, "").startswith(IDEOGRAPHIC_SCRIPTS)


@lru_cache(maxsize=1 << 14)
def is_unspaced(character: str) -> bool:
    """Return whether a character is of a script without spaces between words, such as Chinese or Thai."""
    return is_ideographic(character) or is_phrase_spaced(character)


def is_phrase_spaced(character: str) -> bool:
    """Return whether a character is of a script with spaces between phrases, but not between words, such as Thai."""
    return unicodedata.name(character, "").startswith(PHRASE_SPACED_SCRIPTS)


def is_ideographic_text(character: str) -> bool:
    """Return whether a character stands in ideographic text: an ideograph, or punctuation as wide as one."""
    is_wide = unicodedata.east_asian_width(character) in "WF" and unicodedata.category(character)[0] == "P"
    return is_wide or is_ideographic(character)


def visible_text(text: str) -> str:
    """Return a text as it looks: in the Unicode form NFKC, without invisible characters and joiners."""
    return _INVISIBLE_OR_JOINERS.sub("", unicodedata.normalize("NFKC", text))


def invisible_variants(words: Iterable[str]) -> list[str]:
    """Return the words that differ from another word only in invisible characters, sorted."""
    known = set(words)
    return sorted(word for word in known if _INVISIBLE.search(word) and _INVISIBLE.sub("", word) in known)


def cluster_ends(text: str) -> list[int]:
    """Return the end of each user-perceived character: a letter with its marks, an emoji sequence, a flag.

    A simplified form of the extended grapheme clusters of Unicode Standard Annex 29.
    """
    ends, regionals = [], 0  # number of regional indicators directly before the current character: two are a flag
    for index, (before, character) in enumerate(pairwise(text), start=1):
        regionals = regionals + 1 if _is_regional(before) else 0
        is_second = regionals % 2 == 1 and _is_regional(character)
        if not is_second and not _continues(before, character):
            ends.append(index)
    return [*ends, len(text)] if text else []


def _continues(before: str, character: str) -> bool:
    """Return whether a character belongs to the one before it, unless both are regional indicators."""
    return (
        before == _ZERO_WIDTH_JOINER
        or _CONTINUING.match(character) is not None
        or unicodedata.category(character)[0] == "M"
        or unicodedata.combining(before) == _VIRAMA
    )


def _is_regional(character: str) -> bool:
    return "\U0001f1e6" <= character <= "\U0001f1ff"
