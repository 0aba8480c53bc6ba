"""Splitting of lines that are too long for a model into segments, at sentence ends or spaces."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

_SENTENCE_END = re.compile(r"(?:[.!?…‽]+[\"'”’»)\]]*(?=\s)|[。！？｡]+[”’」』）]*)\s*")
_ENDS_SENTENCE = re.compile(rf"(?:{_SENTENCE_END.pattern})$")
_SPACE = re.compile(r"\s+")

Encode = Callable[[Sequence[str]], list[list[int]]]


@dataclass(frozen=True)
class Segment:
    """A segment of a line."""

    ids: list[int]
    separator: str
    """String between this segment's translation and the next one's: a space, or nothing."""
    unknown: Sequence[str] = ()
    """Words of the line that have the ids from the size of the vocabulary on."""


def split_line(
    line: str, ids: list[int], limit: int, encode: Encode, unknown: Sequence[str] = (), has_words: bool = False
) -> list[Segment]:
    """Split a line of more than `limit` ids into segments of at most `limit`; a shorter line is one segment.

    A blank line is one segment without ids, for any tokenizer. Each split is after the last sentence end within the
    limit, else after the last space, else after the last character. Ids are lost only if a single character has more
    ids than the limit. Translations are joined by a space where the line had one; with `has_words` (tokens are words)
    always.
    """
    if not line.strip():
        return [Segment([], "")]
    if len(ids) <= limit:
        return [Segment(ids, "", unknown)]
    segments = []
    rest = line.strip()
    while rest:
        end, segment_ids = _first_segment(rest, limit, encode)
        has_space = has_words or (end < len(rest) and (rest[end - 1].isspace() or rest[end].isspace()))
        if segment_ids:
            segments.append(Segment(segment_ids, " " if has_space else "", unknown))
        rest = rest[end:]
    return segments


def split_words(words: Sequence[str], limit: int) -> list[range]:
    """Split words into ranges of at most `limit`, after the last word that ends a sentence if there is one."""
    segments, start = [], 0
    while start < len(words):
        end = min(start + limit, len(words))
        if end < len(words):
            ends = (i + 1 for i in reversed(range(start, end)) if _ENDS_SENTENCE.search(words[i] + " "))
            end = next(ends, end)
        segments.append(range(start, end))
        start = end
    return segments


def _first_segment(text: str, limit: int, encode: Encode) -> tuple[int, list[int]]:
    """Return the end of the first segment of a text, and its ids."""
    window, ids = _window(text, limit, encode)
    if len(ids) <= limit:
        return len(window), ids
    for ends in (_ends(_SENTENCE_END, window), _ends(_SPACE, window), list(range(1, len(window)))):
        fitting = _last_that_fits(window, ends, limit, encode)
        if fitting is not None:
            return fitting
    return 1, encode([window[:1]])[0][:limit]


def _window(text: str, limit: int, encode: Encode) -> tuple[str, list[int]]:
    """Return a beginning of a text that exceeds the limit, or all of the text, and its ids.

    It keeps the time to split a line from growing with the square of its length.
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
    """Find by bisection the last of the `ends` before which the text has 1 to `limit` ids; None if there is none."""
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


def join_segments(texts: Sequence[str], segments: Sequence[Segment]) -> str:
    """Join the translations of the segments of a line."""
    return "".join(_with_separators(texts, segments))


def _with_separators(texts: Sequence[str], segments: Sequence[Segment]) -> Iterator[str]:
    for i, (text, segment) in enumerate(zip(texts, segments, strict=True)):
        yield text
        if i + 1 < len(segments) and text:
            yield segment.separator
