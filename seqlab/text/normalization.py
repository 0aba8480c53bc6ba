"""Text normalization: the only changes that tokenizers make to a line before segmentation.

1. Unicode, by the form in the tokenizer's config:
   - `nfc` (default): canonically equivalent strings become equal (`e` + combining acute becomes `é`); the text looks
     the same.
   - `nfkc`: also folds compatibility forms: `ﬁ` becomes `fi`, `²` becomes `2`, full-width letters become ASCII, and a
     no-break space becomes a space. Not reversible.
   - `nfd`: canonically equivalent strings become equal, and characters are decomposed: `é` into `e` and its accent, a
     Hangul syllable into its letters. It suits models of spelling; decoding recomposes the characters.
   - `nfc+nfd`: each character that `nfd` decomposes is kept in its `nfc` form, followed by its parts. A model can then
     use the embedding of a frequent syllable or letter, and those of the parts of a rare one.
   - `none`: keeps every code point.
2. Surrogates, which UTF-8 cannot represent: a pair becomes its character, an unpaired surrogate becomes U+FFFD.
3. Whitespace: **all kinds of tokenizers except `words` keep it unchanged** (leading, trailing and double spaces, tabs,
   U+2028). `words` splits at runs of Unicode whitespace, so that a run becomes one space and the ends are stripped.
   Before any kind, sources of translators are read with `single_spaces` (`data.src_spaces`).

Case, punctuation and control characters are kept. The underlying libraries do not normalize.
"""

import re
import unicodedata
from typing import Literal

from seqlab.text.scripts import INVISIBLE, is_phrase_spaced

NormalizationForm = Literal["nfc", "nfkc", "nfd", "nfc+nfd", "none"]

_INVISIBLE = re.compile(f"[{INVISIBLE}\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f]")
"""Characters that show nothing within a line, and control characters that are not white space."""
_ZERO_WIDTH_SPACES = re.compile("\u200b+")
_NOT_SINGLE_SPACES = re.compile(rf"[^\S ]|  |^ | \Z|{_INVISIBLE.pattern}")
_SURROGATE = re.compile("[\ud800-\udfff]")


def normalize(line: str, form: NormalizationForm) -> str:
    """Normalize a line to a Unicode form (Unicode Standard Annex 15), and replace surrogates."""
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
            return "".join(character + _decompose(character) for character in unicodedata.normalize("NFC", line))


def single_spaces(line: str, *, has_tags: bool = False) -> str:
    """Replace each run of white space by a space; remove invisible characters, and spaces at the ends of the line.

    White space is that of Unicode: also tabs, no-break spaces and U+3000. So are zero-width spaces that divide words:
    those beside a letter of a script with spaces between phrases only, such as Khmer or Thai. With `has_tags` the tags
    after the first tab are kept.
    """
    text, tab, tags = line.partition("\t") if has_tags else (line, "", "")
    if not is_single_spaced(text):
        text = " ".join(_INVISIBLE.sub("", divide_words(text)).split())
    return f"{text}{tab}{tags}"


def is_single_spaced(line: str) -> bool:
    """Return whether `single_spaces` leaves a line unchanged."""
    # Most lines need no search: other white space and invisible characters are not printable.
    is_usual = line.isprintable() and "  " not in line and line[:1] != " " and line[-1:] != " "
    return is_usual or _NOT_SINGLE_SPACES.search(line) is None


def has_invisible(line: str) -> bool:
    """Return whether a line has characters that show nothing, other than joiners."""
    return _INVISIBLE.search(line) is not None


def divide_words(line: str) -> str:
    """Replace zero-width spaces that divide words, as in Khmer or Thai text, by spaces; remove the others."""
    return _ZERO_WIDTH_SPACES.sub(_space_between_words, line) if "\u200b" in line else line


def _space_between_words(match: re.Match[str]) -> str:
    """Return the replacement of zero-width spaces in a line: a space between words, else nothing."""
    line, (start, end) = match.string, match.span()
    return " " if any(map(is_phrase_spaced, line[max(0, start - 1) : start] + line[end : end + 1])) else ""


def recompose(line: str, form: NormalizationForm) -> str:
    """Undo the decomposition of `normalize`; with `nfc+nfd`, parts are kept if no composed character precedes them."""
    if form not in ("nfd", "nfc+nfd") or line.isascii():
        return line
    if form == "nfc+nfd":
        composed, start = [], 0
        while start < len(line):
            parts = _decompose(line[start])
            composed.append(line[start])
            start += 1 + (len(parts) if line.startswith(parts, start + 1) else 0)
        line = "".join(composed)
    return normalize(line, "nfc")


def _decompose(character: str) -> str:
    """Return the canonical decomposition of a character, or "" if it has none."""
    parts = unicodedata.normalize("NFD", character)
    return "" if parts == character else parts
