"""What a tokenizer changes in a line before it segments it: this, and nothing elsewhere.

1. Unicode, by the form in the tokenizer's config:
   - `nfc` (default): canonically equal strings become equal (`e` + combining acute
     becomes `é`); nothing looks different.
   - `nfkc`: also compatibility forms, so that `ﬁ` becomes `fi`, `²` becomes `2`, full-width letters become ASCII and a
     no-break space becomes a space. Not reversible.
   - `nfd`: canonically equal strings become equal, and characters are taken apart: `é` into `e` and its accent, a
     Hangul syllable into its letters. As models of spelling want it; what is decoded is put together again.
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

NormalizationForm = Literal["nfc", "nfkc", "nfd", "none"]

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
