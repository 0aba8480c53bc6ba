"""Kaldi-style folders of recordings: `wav.scp` and, if they exist, `text`, `segments` and `utt2spk`."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from seqlab.base.raw_lines import ROW_LIMIT
from seqlab.data.folders import MAX_NAMED
from seqlab.data.readers import read_lines
from seqlab.data.recording_segments import parse_segment

logger = logging.getLogger(__name__)
KALDI_LIST = "wav.scp"
"""The file that identifies a Kaldi-style folder."""
KALDI_FILES = (KALDI_LIST, "text", "segments", "utt2spk")
_warned: set[tuple[Path, str]] = set()
"""Kaldi-style folders, and their texts without a recording, for which a warning was logged."""


class KaldiUtterance(NamedTuple):
    """An utterance of a Kaldi-style folder."""

    id: str
    audio: str
    text: str | None
    location: str
    start: float
    end: float | None
    speaker: str
    channel: str
    """Number of the channel from 1; empty if `segments` has none."""


def read_kaldi_folder(folder: Path) -> Iterator[KaldiUtterance]:
    """Yield the utterances of a folder (Povey et al. 2011).

    Raises:
        FileNotFoundError, ValueError: `wav.scp` does not exist; an id occurs twice in a file; a recording is a command
            or unknown; a line of `segments` has another form.
    """
    recordings: dict[str, str] = {}
    for name, (location, audio) in _by_id(folder / KALDI_LIST).items():
        if audio.endswith("|"):
            raise ValueError(
                f"{location}: a command (`{audio}`) is not executed: write its output to a file and name that."
            )
        recordings[name] = str(folder / Path(audio).expanduser())
    texts, speakers = (_by_id(folder / file) if (folder / file).is_file() else {} for file in ("text", "utt2spk"))
    segments: dict[str, tuple[str, str, float, float | None, str]] = {
        name: (f"{folder / KALDI_LIST}, {name}", name, 0.0, None, "") for name in recordings
    }
    if (folder / "segments").is_file():
        segments = dict(_segments(folder / "segments"))
    _warn_of_unlisted(folder / "text", [name for name in texts if name not in segments], len(texts))
    for name, (location, recording, start, end, channel) in segments.items():
        if recording not in recordings:
            raise ValueError(f"{location}: {KALDI_LIST} has no recording {recording!r}.")
        text, speaker = texts[name][1] if name in texts else None, speakers.get(name, ("", ""))[1]
        yield KaldiUtterance(name, recordings[recording], text, location, start, end, speaker, channel)


def _by_id(path: Path) -> dict[str, tuple[str, str]]:
    """Return the location and the rest of each line by its first word; raise ValueError if a word occurs twice."""
    lines: dict[str, tuple[str, str]] = {}
    for number, line in enumerate(read_lines(path, ROW_LIMIT), start=1):
        if not line.strip():
            continue
        name, *value = line.split(maxsplit=1)
        if name in lines:
            raise ValueError(
                f"{path}, line {number}: the id {name!r} is also in line {lines[name][0].rpartition(' ')[2]}: "
                "give each line an id of its own."
            )
        lines[name] = f"{path}, line {number}", "".join(value).strip()
    return lines


def _segments(path: Path) -> Iterator[tuple[str, tuple[str, str, float, float | None, str]]]:
    """Yield the id, location, recording, start, end and channel of each segment; channels are numbers from 0."""
    for name, (location, fields) in _by_id(path).items():
        parts = fields.split()
        if len(parts) not in (3, 4) or not all(part.isdecimal() for part in parts[3:]):
            text = "`segment recording start end`, possibly with the number of a channel from 0"
            raise ValueError(f"{location}: must have the form {text}.")
        start, end = parse_segment(parts[1], None if parts[2] == "-1" else parts[2], location)
        yield name, (location, parts[0], start, end, str(1 + int(parts[3])) if parts[3:] else "")


def _warn_of_unlisted(path: Path, names: list[str], count: int) -> None:
    """Warn once of texts without a recording, because manifests are read several times."""
    if names and (path, " ".join(names)) not in _warned:
        _warned.add((path, " ".join(names)))
        listed = ", ".join(names[:MAX_NAMED])
        logger.warning("%s: texts without a recording are left out: %s (%d of %d)", path, listed, len(names), count)
