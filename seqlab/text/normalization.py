"""What a tokenizer changes in a line before it segments it: this, and nothing elsewhere.

1. Unicode, by the form in the tokenizer's config:
   - `nfc` (default): canonically equal strings become equal (`e` + combining acute
     becomes `é`); nothing looks different.
   - `nfkc`: also compatibility forms, so that `ﬁ` becomes `fi`, `²` becomes `2`, full-width letters become ASCII and a
     no-break space becomes a space. Not reversible.
   - `nfd`: canonically equal strings become equal, and characters are taken apart: `é` into `e` and its accent, a
     Hangul syllable into its letters. As models of spelling want it; what is decoded is put together again.
   - `nfc+nfd`: each character that `nfd` takes apart is there as `nfc` has it, and behind it its parts. For what a
     syllable or a letter stands for as a whole, where its parts are still to be seen in rare ones.
   - `none`: every code point stays.
2. Halves of surrogate pairs, which no file in UTF-8 can hold: two that belong together become their character, one
   alone becomes U+FFFD.
3. Whitespace: **every kind but `words` keeps all of it** (leading, trailing and double spaces, tabs, U+2028). `words`
   splits on runs of Unicode whitespace, so that a run becomes one space and none is left at the ends.

Case, punctuation and control characters always stay. The models underneath get an identity normaliser.
"""

import re
import unicodedata
from typing import Literal

NormalizationForm = Literal["nfc", "nfkc", "nfd", "nfc+nfd", "none"]

_SURROGATE = re.compile("[\ud800-\udfff]")


def normalize(line: str, form: NormalizationForm) -> str:
    """Bring the line into a Unicode normalisation form (Unicode Standard Annex 15) that UTF-8 can hold."""
    if line.isascii():
        return line
    if _SURROGATE.search(line):
        line = line.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    match form:
        case "none":
            return line
        case "nfc":
            return unicodedata.normalize("NFC", line)
        case "nfkc":
            return unicodedata.normalize("NFKC", line)
        case "nfd":
            return unicodedata.normalize("NFD", line)
        case "nfc+nfd":
            return "".join(character + _parts(character) for character in unicodedata.normalize("NFC", line))


def compose(line: str, form: NormalizationForm) -> str:
    """Put together again what `normalize` has taken apart; of `nfc+nfd` no part that lacks its whole is lost."""
    if form not in ("nfd", "nfc+nfd") or line.isascii():
        return line
    if form == "nfc+nfd":
        wholes, start = [], 0
        while start < len(line):
            parts = _parts(line[start])
            wholes.append(line[start])
            start += 1 + (len(parts) if line.startswith(parts, start + 1) else 0)
        line = "".join(wholes)
    return normalize(line, "nfc")


def _parts(character: str) -> str:
    """Return what a character is put together of; nothing for one that has no parts."""
    parts = unicodedata.normalize("NFD", character)
    return "" if parts == character else parts
