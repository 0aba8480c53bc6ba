"""Segments of recordings in the columns of a list: `start` and `end`, or `offset` and `duration`, in seconds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

UNREAD_COLUMNS = (
    *("stop", "begin", "onset", "frame_offset", "num_frames", "begin_time", "start_time", "end_time", "start_ms"),
    *("end_ms", "start_sec", "end_sec", "start_seconds", "end_seconds", "segment_start", "segment_end"),
)
"""Columns of segments in the lists of other programs, some in samples or milliseconds, which are not read."""


def parse_segment(start: Any, end: Any, location: str) -> tuple[float, float | None]:
    """Parse the start and end of a segment in seconds; the end is None for the end of the recording.

    Raises:
        ValueError: a value is not a time, or the end is not after the start.
    """
    start_seconds, end_seconds = _seconds(start, "start", location) or 0.0, _seconds(end, "end", location)
    if end_seconds is not None and end_seconds <= start_seconds:
        raise ValueError(f"{location}: 'end' ({end_seconds:g}) must be after 'start' ({start_seconds:g}).")
    return start_seconds, end_seconds


def segment_of_record(columns: Mapping[str, Any], location: str) -> tuple[float, float | None]:
    """Return the segment of a record: `start` and `end` or, as in the lists of NeMo, `offset` and `duration`.

    A `duration` belongs to a segment only if there is an `offset` or a `start` without an `end`. Otherwise it describes
    the recording, and is not read.

    Raises:
        ValueError: the columns contradict each other, or a value is not a time.
    """
    start, offset = columns.get("start"), columns.get("offset")
    if _is_missing(offset) and (_is_missing(start) or not _is_missing(columns.get("end"))):
        return parse_segment(start, columns.get("end"), location)
    if not _is_missing(offset) and not (_is_missing(start) and _is_missing(columns.get("end"))):
        raise ValueError(f"{location}: has an 'offset' and a 'start' or 'end': keep one of them.")
    first = _seconds(start if _is_missing(offset) else offset, "start" if _is_missing(offset) else "offset", location)
    duration = _seconds(columns.get("duration"), "duration", location)
    if duration == 0:
        raise ValueError(f"{location}: 'duration' must be above 0, but is {columns['duration']!r}.")
    assert first is not None
    return first, None if duration is None else first + duration


class SegmentChecker:
    """Check of the rows of a list that name the same recording without a segment that is read."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, float, float | None, str], str] = {}

    def check(self, audio: str, start: float, end: float | None, columns: Mapping[str, str], location: str) -> None:
        """Check a row.

        Raises:
            ValueError: an earlier row names the same samples, and a column of segments is not read.
        """
        earlier = self._seen.setdefault((audio, start, end, columns.get("channel", "")), location)
        unread = [name for name in UNREAD_COLUMNS if columns.get(name)]
        if earlier != location and unread:
            raise ValueError(
                f"{location}: names the same recording as {earlier}, but its column {unread[0]!r} is not read: write "
                "segments into the columns `start` and `end`, in seconds."
            )


def _is_missing(value: Any) -> bool:
    return value is None or value == "" or value != value  # NaN


def _seconds(value: Any, key: str, location: str) -> float | None:
    """Parse a time in seconds; None for a missing one."""
    if _is_missing(value):
        return None
    try:
        found = float(value)
    except (TypeError, ValueError):
        found = -1.0
    if not 0 <= found < float("inf"):
        raise ValueError(f"{location}: {key!r} must be a time in seconds, but is {value!r}.")
    return found
