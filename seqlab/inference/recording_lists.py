"""Lists of recordings as command input: manifests, and text files with one path per line."""

import logging
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from seqlab.audio.containers import looks_like_audio
from seqlab.base.raw_lines import DISCARDED, DiscardedLines, LineLimit
from seqlab.base.reading_notes import READING_VERSION
from seqlab.data.file_types import uncompressed_name
from seqlab.data.hub import HUB_PREFIX
from seqlab.data.manifests import Manifest, ManifestEntry, open_manifest
from seqlab.data.readers import BYTE_ORDER_MARK, decode_line
from seqlab.inference.files import input_stream

logger = logging.getLogger(__name__)
BUFFER_RECORDINGS = 64
"""Default number of recordings per block that a command reads before it processes them."""
MAY_BE_WRONG = "The output may be wrong."
"""Consequence of a warning on a recording."""


def log_recording_faults(faults: Iterable[str], consequence: str = "The output line is empty.") -> int:
    """Log a warning for each fault that is not empty, followed by its consequence; return the number of faults."""
    present = [fault for fault in faults if fault]
    for fault in present:
        logger.warning("%s %s", fault if fault.endswith(".") else f"{fault}.", consequence)
    return len(present)


def is_recording_list(path: str) -> bool:
    """Return whether a path is a list of recordings rather than a recording."""
    return _open_if_manifest(path) is not None or uncompressed_name(Path(path)).endswith(".txt")


def buffer_size(requested: int | None, spec: str | None) -> int:
    """Return the number of recordings to read before processing them: `requested`, else 1 on a terminal, else 64."""
    if requested is None and spec in (None, "-") and sys.stdin.isatty():
        return 1
    return BUFFER_RECORDINGS if requested is None else requested


def refuse_recording_as_output(output: str | None, recordings: Iterable[str] = ()) -> None:
    """Raise ValueError if the output file is one of the recordings, or another recording that exists."""
    if output is None or output == "-" or not Path(output).is_file():
        return
    if looks_like_audio(output) or any(Path(output).resolve() == Path(recording).resolve() for recording in recordings):
        raise ValueError(f"--output {output} is a recording, which would be overwritten: name another file.")


@contextmanager
def open_recording_list(
    spec: str | None, *, in_folders: bool = False, limit: LineLimit | None = None, reading: int = READING_VERSION
) -> Iterator[Iterator[str | ManifestEntry]]:
    """Open a list of recordings.

    A list is a manifest in the format of training data (`seqlab.data.manifests`), or a text file or standard input with
    one path per line. A manifest is named as `FILE#COLUMN` if the column of the recordings is not `audio`. Its entries
    may be parts of recordings.

    Args:
        spec: the list; None or `-` for standard input.
        in_folders: whether a folder with subfolders of recordings counts as a list.
        limit: limit of the length of a line of text; by default, a longer line counts as a missing recording.
        reading: version of the reading (`seqlab.base.reading_notes`) of the run.

    Raises:
        FileNotFoundError: the list does not exist.
        ValueError: the file is a recording instead of a list, or a line is not UTF-8.
    """
    if spec is not None and (manifest := _open_if_manifest(spec, in_folders, reading)) is not None:
        yield manifest.entries()
        return
    if spec is not None and Path(spec).is_file() and looks_like_audio(spec):
        raise ValueError(
            f"{spec} is a recording, but must be a list of recordings: write their paths into a .txt file, one per "
            "line, and name that file."
        )
    with input_stream(spec) as (stream, name):
        raw_lines = (limit or LineLimit(discarded=DiscardedLines())).read(stream, name)
        yield (_parse_line(raw, name, number) for number, raw in enumerate(raw_lines, start=1))


def _parse_line(raw: bytes, name: str, number: int) -> str | ManifestEntry:
    """Parse a line of text as a path; an empty or discarded line becomes an entry without a recording."""
    path = "" if raw is DISCARDED else decode_line(raw, name, number)
    path = path.removeprefix(BYTE_ORDER_MARK) if number == 1 else path
    return path if path.strip() else ManifestEntry("", None, f"{name}, line {number}")


def _open_if_manifest(spec: str, in_folders: bool = False, reading: int = READING_VERSION) -> Manifest | None:
    """Open a manifest; return None if the file is plain text with one path per line."""
    path, column = spec, ""
    if "#" in spec and not Path(spec).exists():
        path, _, column = spec.rpartition("#")
    manifest = open_manifest(
        path, column or "audio", in_folders=in_folders, needs_labels=False, keeps_faults=True, reading=reading
    )
    is_text = not column and not path.startswith(HUB_PREFIX) and not manifest.is_manifest
    return None if is_text else manifest


def choose_channel(recordings: Iterable[str | ManifestEntry], channel: str) -> Iterator[str | ManifestEntry]:
    """Yield recordings with a channel for all whose list names none; "" leaves them unchanged."""
    for recording in recordings:
        entry = ManifestEntry(recording, None, recording) if channel and isinstance(recording, str) else recording
        yield entry if isinstance(entry, str) else entry.with_channel(channel)


def describe_recording(listed: str | ManifestEntry) -> dict[str, Any]:
    """Return the fields of a recording for JSON output: its path, for a part its start and end, and its channel."""
    if isinstance(listed, str):
        return {"audio": listed}
    is_part = listed.start > 0 or listed.end is not None
    part = {"part_start": listed.start, "part_end": listed.end} if is_part else {}
    return {"audio": listed.audio, **part, **({"channel": listed.channel} if listed.channel else {})}
