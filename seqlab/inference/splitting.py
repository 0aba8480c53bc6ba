"""Splitting of lines that are too long for a model, into segments at sentence ends or spaces."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from seqlab.text.scripts import (
    SENTENCE_ENDS,
    SPACED_SENTENCE_ENDS,
    cluster_ends,
    is_ideographic_text,
    is_unspaced,
)

_CLOSING = r"[\"'”’»)\]」』）]*"
_SENTENCE_END = re.compile(
    rf"(?:[{SPACED_SENTENCE_ENDS}{SENTENCE_ENDS}]+{_CLOSING}(?=\s)|[{SENTENCE_ENDS}]+{_CLOSING}|．+{_CLOSING}(?!\d))\s*"
)
_ENDS_SENTENCE = re.compile(rf"(?:{_SENTENCE_END.pattern})$")
_SPACE = re.compile(r"\s+")

Encode = Callable[[Sequence[str]], list[list[int]]]


@dataclass(frozen=True)
class Segment:
    """A segment of a line."""

    ids: list[int]
    seam: str = ""
    """Source characters directly before and after the end of the segment."""
    unknown: Sequence[str] = ()
    """Words of the line that have ids outside the vocabulary, starting at the vocabulary size."""
    ends_sentence: bool = False
    """Whether a sentence ends with the segment."""
    has_words: bool = False
    """Whether the translation consists of words, which are always joined by a space."""


def split_line(
    line: str, ids: list[int], limit: int, encode: Encode, unknown: Sequence[str] = (), has_words: bool = False
) -> list[Segment]:
    """Split a line of more than `limit` ids into segments of at most `limit`; a shorter line is one segment.

    A blank line is one segment without ids, for any tokenizer. Each split is after the last sentence end within the
    limit, else after the last space, else after the last character with its marks. Ids are lost only if a single code
    point has more ids than the limit. `has_words`: whether the translations consist of words.
    """
    if not line.strip():
        return [Segment([])]
    if len(ids) <= limit:
        return [Segment(ids, unknown=unknown)]
    segments = []
    remaining = line.strip()
    while remaining:
        end, segment_ids = _first_segment(remaining, limit, encode)
        if segment_ids:
            ends_sentence = bool(_ENDS_SENTENCE.search(remaining[:end] + " "))
            segments.append(Segment(segment_ids, remaining[end - 1 : end + 1], unknown, ends_sentence, has_words))
        remaining = remaining[end:]
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
    characters = list(range(1, len(prefix)))
    for ends in (_match_ends(_SENTENCE_END, prefix), _match_ends(_SPACE, prefix), cluster_ends(prefix), characters):
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
    fitting = None
    low, high = 0, len(ends)
    while low < high:
        middle = (low + high) // 2
        (ids,) = encode([text[: ends[middle]].strip()])
        if len(ids) <= limit:
            low = middle + 1
            if ids:
                fitting = ends[middle], ids
        else:
            high = middle
    return fitting


def join_segments(texts: Sequence[str], segments: Sequence[Segment]) -> str:
    """Join the translations of the segments of a line, with spaces where the script of the translations has them."""
    joined = ""
    for i, text in enumerate(texts):
        joined += _separator(joined, text, segments[i - 1]) + text if joined and text else text
    return joined


def _separator(left: str, right: str, source: Segment) -> str:
    """Return the string between two translations; `source` is the source of the left one."""
    seam = left[-1] + right[0]
    if source.has_words:
        return " "
    if any(character.isspace() or is_ideographic_text(character) for character in seam):
        return ""
    if any(map(is_unspaced, seam)):  # spaces separate sentences, not words
        return " " if source.ends_sentence else ""
    is_within_word = not any(character.isspace() or is_unspaced(character) for character in source.seam)
    return "" if is_within_word and not source.ends_sentence else " "
