"""Segments of recordings in the columns of a list: `start` and `end`, or `offset` and `duration`, in seconds."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

UNREAD_STARTS = (
    *("begin", "onset", "xmin", "tmin", "begin_time", "start_time", "start_ms", "begin_ms", "offset_ms", "start_s"),
    *("start_sec", "start_secs", "start_seconds", "segment_start", "clip_start", "audio_start", "frame_offset"),
    *("start_frame", "start_sample", "from", "from_ms", "t0", "t_start"),
)
UNREAD_ENDS = (
    *("stop", "finish", "xmax", "tmax", "stop_time", "end_time", "end_ms", "stop_ms", "end_s", "end_sec", "end_secs"),
    *("end_seconds", "segment_end", "clip_end", "audio_end", "end_frame", "end_sample"),
    *("to", "to_ms", "t1", "t_end"),
)
UNREAD_RANGES = ("segment", "interval", "span", "timestamp", "timestamps", "time_range")
"""Columns with a list of start and end."""
UNREAD_COLUMNS = (*UNREAD_STARTS, *UNREAD_ENDS, *UNREAD_RANGES, "num_frames")
"""Columns of segments in the lists of other programs, some in samples or milliseconds, which are not read."""
SEGMENT_ADVICE = "write segments into the columns `start` and `end`, in seconds"
MAX_DIFFERENCE = 0.1
"""Maximum difference in seconds, beside 1%, of the duration of a recording and that of its list."""
_RANGE = re.compile(r"\[\s*([^\s,]+)\s*,\s*([^\s,]+)\s*\]")
_CLOCK = re.compile(r"(?:(\d+):)?(\d+):(\d+(?:[.,]\d+)?)")


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
                f"{location}: names the same recording as {earlier}, but its column {unread[0]!r} is not read: "
                f"{SEGMENT_ADVICE}."
            )


def unread_segment(columns: Mapping[str, str], seconds: float, rate: int) -> str:
    """Return why a recording that is read whole is meant to be a segment; "" if it is not, as far as is known.

    It is a segment if the value of a column in `UNREAD_COLUMNS` lies within the recording.

    Args:
        columns: columns of its row.
        seconds: duration of the recording.
        rate: sampling rate of its file, for columns in samples.
    """
    values = [(name, columns.get(name, ""), name in UNREAD_STARTS) for name in (*UNREAD_STARTS, *UNREAD_ENDS)]
    for name in UNREAD_RANGES:
        if match := _RANGE.fullmatch(columns.get(name, "")):
            values += [(name, match[1], True), (name, match[2], False)]
    for name, value, is_start in values:
        end = seconds if is_start else seconds - _tolerance(seconds)
        times = _possible_seconds(name, value, rate)
        time = next((candidate for candidate in times if candidate <= seconds + _tolerance(seconds)), 0.0)
        if 0 < time < end:
            return (
                f"its column {name!r} ({columns[name]}) lies within the recording of {seconds:.2f} s, but is not read: "
                f"{SEGMENT_ADVICE}, or rename the column if it means something else"
            )
    return ""


def other_duration(columns: Mapping[str, str], seconds: float, rate: int) -> str:
    """Return how the `duration` of a row differs from that of its whole recording; "" if it does not."""
    value = columns.get("duration", "")
    times = _possible_seconds("duration", value, rate)
    if not times or any(abs(time - seconds) <= _tolerance(seconds) for time in (*times, times[0] / rate)):
        return ""
    return f"its list names a duration of {value}, but the recording, which is read whole, has {seconds:.2f} s"


def _tolerance(seconds: float) -> float:
    return MAX_DIFFERENCE + 0.01 * seconds


def _possible_seconds(name: str, value: str, rate: int) -> list[float]:
    """Return the times in seconds that the value of a column may mean: without a unit, seconds or milliseconds."""
    if match := _CLOCK.fullmatch(value):
        hours, minutes, seconds = match.groups()
        return [3600 * int(hours or 0) + 60 * int(minutes) + float(seconds.replace(",", "."))]
    try:
        number = float(value)
    except ValueError:
        return []
    if name.endswith("_ms"):
        return [number / 1000]
    if "frame" in name or "sample" in name:
        return [number / rate]
    return [number] if re.search("_s(ecs?|econds)?$", name) else [number, number / 1000]


def _is_missing(value: Any) -> bool:
    return value is None or value == "" or value != value  # NaN


def _seconds(value: Any, key: str, location: str) -> float | None:
    """Parse a time in seconds; None for a missing one."""
    if _is_missing(value):
        return None
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise ValueError(f"{location}: {key!r} must be a time in seconds, but is {value!r}.")
    return seconds
