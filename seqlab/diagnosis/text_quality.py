"""Faults of the characters of texts: mojibake, replacement and control characters, bytes that are not UTF-8."""

import re
import unicodedata
from collections.abc import Collection, Iterator
from pathlib import Path

from seqlab.data.readers import open_binary

_CP1252 = {byte: bytes([byte]).decode("cp1252", "ignore") or chr(byte) for byte in range(256)}
"""Characters of bytes in Windows-1252; the five undefined bytes are the control characters of Latin-1."""
_BYTES = {character: byte for byte, character in _CP1252.items()} | {chr(byte): byte for byte in range(128, 256)}


def _class_of(first: int, last: int) -> str:
    characters = sorted({_CP1252[byte] for byte in range(first, last + 1)} | {chr(b) for b in range(first, last + 1)})
    return f"[{''.join(map(re.escape, characters))}]"


_NEXT = _class_of(0x80, 0xBF)
_SEQUENCE = re.compile(
    f"{_class_of(0xC2, 0xDF)}{_NEXT}|{_class_of(0xE0, 0xEF)}{_NEXT}{{2}}|{_class_of(0xF0, 0xF4)}{_NEXT}{{3}}"
)
"""Characters that a UTF-8 character becomes when its bytes are read as Windows-1252 or Latin-1."""
_CONTROL = re.compile(
    "[\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f-\\x9f\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff\ufff0-\ufffb]"
)
"""Control characters but tabs and carriage returns, and invisible ones; not the joiners that some scripts need."""

_ENTITY = re.compile(r"&(amp|quot|apos|lt|gt|nbsp|[aeiouAEIOU]uml|szlig|#\d{2,5}|#x[0-9a-fA-F]{2,5});")


def mojibake(text: str, known: Collection[str] = ()) -> str | None:
    """Return what a text probably was before UTF-8 was read as Windows-1252 or Latin-1; None if it is no mojibake.

    One sequence is enough if it becomes a common character of European texts or one of `known`, such as those of other
    lines; otherwise three are needed, since a letter before a quotation mark can form one.
    """
    decoded = [_decode(match[0]) for match in _SEQUENCE.finditer(text)]
    characters = [character for character in decoded if character]
    if len(characters) < 3 and not any(_is_common(character) or character in known for character in characters):
        return None
    return _SEQUENCE.sub(lambda match: _decode(match[0]) or match[0], text)


def _decode(characters: str) -> str:
    try:
        return bytes(_BYTES[character] for character in characters).decode("utf-8")
    except UnicodeDecodeError:
        return ""


def _is_common(character: str) -> bool:
    """Return whether a character is a Latin letter with an accent, or common punctuation."""
    return "\xa0" <= character <= "\u017f" or "\u2010" <= character <= "\u203a" or character in "€™\ufeff"


def character_fault(text: str) -> str | None:
    """Describe replacement characters, HTML entities, and control or invisible characters of a text, or return None."""
    if "\ufffd" in text:
        return "a replacement character U+FFFD: the file was decoded with a wrong encoding"
    if match := _ENTITY.search(text):
        return f"the HTML entity {match[0]}"
    if match := _CONTROL.search(text):
        name = unicodedata.name(match[0], "control character")
        return f"the invisible character U+{ord(match[0]):04X} ({name.lower()})"
    return None


def undecodable_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the number, from 1, of each line that is not UTF-8, and a guess of what it is."""
    with open_binary(path) as stream:
        for number, line in enumerate(stream, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                text = line.decode("cp1252", "replace").strip()
                start = max(0, error.start - 20)
                yield number, f"byte 0x{line[error.start]:02x}; as Windows-1252: {text[start : start + 50]!r}"
