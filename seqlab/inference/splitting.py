"""Lines that are too long for a model, cut into pieces that are not."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

_SENTENCE_END = re.compile(r"(?:[.!?…‽]+[\"'”’»)\]]*(?=\s)|[。！？｡]+[”’」』）]*)\s*")
_ENDS_SENTENCE = re.compile(rf"(?:{_SENTENCE_END.pattern})$")
_SPACE = re.compile(r"\s+")

Encode = Callable[[Sequence[str]], list[list[int]]]


@dataclass(frozen=True)
class Segment:
    """A part of a line."""

    ids: list[int]
    joint: str
    """What stands between this piece's translation and the next one's: a space, or nothing."""
    unknown: Sequence[str] = ()
    """The words of its line that the ids from the size of the vocabulary on stand for."""


def split_line(
    line: str, ids: list[int], limit: int, encode: Encode, unknown: Sequence[str] = (), has_words: bool = False
) -> list[Segment]:
    """Cut a line of more than `limit` ids into pieces of at most `limit`; a shorter line is one piece.

    A blank line is one piece without ids, whatever the tokenizer makes of spaces.
    Each cut is behind the last sentence mark within the limit, else behind the last space, else behind the last
    character. Only where a single character has more ids than the limit are ids lost. Translations are joined by a
    space where the line had one, and all of them if they are of words (`has_words`).
    """
    if not line.strip():
        return [Segment([], "")]
    if len(ids) <= limit:
        return [Segment(ids, "", unknown)]
    pieces = []
    rest = line.strip()
    while rest:
        end, piece_ids = _first_piece(rest, limit, encode)
        has_space = has_words or (end < len(rest) and (rest[end - 1].isspace() or rest[end].isspace()))
        if piece_ids:
            pieces.append(Segment(piece_ids, " " if has_space else "", unknown))
        rest = rest[end:]
    return pieces


def split_words(words: Sequence[str], limit: int) -> list[range]:
    """Cut a line of words into pieces of at most `limit`, behind the last word that ends a sentence if there is one."""
    pieces, start = [], 0
    while start < len(words):
        end = min(start + limit, len(words))
        if end < len(words):
            ends = (i + 1 for i in reversed(range(start, end)) if _ENDS_SENTENCE.search(words[i] + " "))
            end = next(ends, end)
        pieces.append(range(start, end))
        start = end
    return pieces


def _first_piece(text: str, limit: int, encode: Encode) -> tuple[int, list[int]]:
    """Find where the first piece of a text ends, and its ids."""
    window, ids = _window(text, limit, encode)
    if len(ids) <= limit:
        return len(window), ids
    for ends in (_ends(_SENTENCE_END, window), _ends(_SPACE, window), list(range(1, len(window)))):
        fitting = _last_that_fits(window, ends, limit, encode)
        if fitting is not None:
            return fitting
    return 1, encode([window[:1]])[0][:limit]


def _window(text: str, limit: int, encode: Encode) -> tuple[str, list[int]]:
    """Take so much from the beginning of a text that it exceeds the limit, or all of it.

    The time to cut a line must not grow with the square of its length.
    """
    size = max(4 * limit, 16)
    while True:
        (ids,) = encode([text[:size].strip()])
        if len(ids) > limit or size >= len(text):
            return text[:size], ids
        size *= 2


def _ends(pattern: re.Pattern[str], text: str) -> list[int]:
    return [match.end() for match in pattern.finditer(text) if match.end() < len(text)]


def _last_that_fits(text: str, ends: Sequence[int], limit: int, encode: Encode) -> tuple[int, list[int]] | None:
    """Search by bisection the last end whose prefix has 1 to `limit` ids; None if there is none."""
    found = None
    low, high = 0, len(ends)
    while low < high:
        middle = (low + high) // 2
        (ids,) = encode([text[: ends[middle]].strip()])
        if len(ids) <= limit:
            low = middle + 1
            if ids:
                found = ends[middle], ids
        else:
            high = middle
    return found


def join_segments(texts: Sequence[str], pieces: Sequence[Segment]) -> str:
    """Put the translations of the pieces of a line together again."""
    return "".join(_with_joints(texts, pieces))


def _with_joints(texts: Sequence[str], pieces: Sequence[Segment]) -> Iterator[str]:
    for i, (text, piece) in enumerate(zip(texts, pieces, strict=True)):
        yield text
        if i + 1 < len(pieces) and text:
            yield piece.joint
