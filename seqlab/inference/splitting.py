"""Splitting of lines that are too long for a model, into segments at sentence ends or spaces."""

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
    """String between the translations of this segment and the next one: a space or nothing."""
    unknown: Sequence[str] = ()
    """Words of the line that have ids outside the vocabulary, starting at the vocabulary size."""


def split_line(
    line: str, ids: list[int], limit: int, encode: Encode, unknown: Sequence[str] = (), has_words: bool = False
) -> list[Segment]:
    """Split a line of more than `limit` ids into segments of at most `limit`; a shorter line is one segment.

    A blank line is one segment without ids, for any tokenizer. Each split is after the last sentence end within the
    limit, else after the last space, else after the last character. Ids are lost only if a single character has more
    ids than the limit. Translations are joined by a space where the line has one. With `has_words` (tokens are words)
    they are always joined by a space.
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
    """Split words into ranges of at most `limit` words, if possible after a word that ends a sentence."""
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
    """Return the end position of the first segment of a text, and its ids."""
    prefix, ids = _prefix_over_limit(text, limit, encode)
    if len(ids) <= limit:
        return len(prefix), ids
    for ends in (_match_ends(_SENTENCE_END, prefix), _match_ends(_SPACE, prefix), list(range(1, len(prefix)))):
        fitting = _longest_fitting(prefix, ends, limit, encode)
        if fitting is not None:
            return fitting
    return 1, encode([prefix[:1]])[0][:limit]


def _prefix_over_limit(text: str, limit: int, encode: Encode) -> tuple[str, list[int]]:
    """Return a prefix of a text that has more than `limit` ids, or the complete text, and its ids.

    As only a prefix is encoded, the time to split a line does not grow with the square of its length.
    """
    size = max(4 * limit, 16)
    while True:
        (ids,) = encode([text[:size].strip()])
        if len(ids) > limit or size >= len(text):
            return text[:size], ids
        size *= 2


def _match_ends(pattern: re.Pattern[str], text: str) -> list[int]:
    return [match.end() for match in pattern.finditer(text) if match.end() < len(text)]


def _longest_fitting(text: str, ends: Sequence[int], limit: int, encode: Encode) -> tuple[int, list[int]] | None:
    """Find the longest prefix of 1 to `limit` ids that stops at one of the `ends`, by bisection.

    Returns:
        The end of the prefix and its ids; None if there is no such prefix.
    """
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
