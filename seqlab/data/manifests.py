"""Manifests of recordings: JSON lines, tables, Kaldi-style folders, folders with labels, audio columns of datasets.

Each entry has a recording (a file, a segment of a file, or bytes in a dataset), a text, and any other columns.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from seqlab.audio.containers import AUDIO_SUFFIXES
from seqlab.base.raw_lines import ROW_LIMIT, LineLimit
from seqlab.base.reading_notes import FIRST_READING_VERSION, READ_AS_MEANT, READING_VERSION
from seqlab.data.column import Stamp, text_of_value
from seqlab.data.columns import FileColumn, stamp_of
from seqlab.data.delimited import DelimitedRows, RejectedRow
from seqlab.data.file_types import uncompressed_name
from seqlab.data.folders import FileKind, labeled_files, unlabeled_files
from seqlab.data.hub import HUB_PREFIX, open_hub_records, require_datasets
from seqlab.data.kaldi import KALDI_FILES, KALDI_LIST, read_kaldi_folder
from seqlab.data.readers import read_lines, require_file
from seqlab.data.recording_segments import SegmentChecker, parse_segment, segment_of_record
from seqlab.data.records import NumberedRecord, read_json_records, read_parquet_records

KINDS = ("jsonl", "json", "csv", "tsv", "parquet", "arrow")
"""File suffixes of manifests."""
RECORDINGS = FileKind(
    "recordings", "label", AUDIO_SUFFIXES, "move it, or name a .jsonl file with the columns `audio` and `text`"
)
OTHER_TEXT_COLUMNS = ("text", "sentence", "transcript", "transcription", "raw_text", "normalized_text")
"""Columns that often have the text of a recording."""
URL = re.compile("[a-z][a-z0-9+.-]+://", re.IGNORECASE)


@dataclass(frozen=True)
class ManifestEntry:
    """One entry of a manifest."""

    audio: str
    """Path of the file, or a name if `content` is the recording; empty if the manifest has no recording."""
    text: str | None
    """Transcript or label; None if the manifest has none."""
    location: str
    """`file, line N`."""
    content: bytes | None = None
    """Content of the recording, from a dataset."""
    start: float = 0.0
    """Start of the segment in the file, in seconds."""
    end: float | None = None
    """End of the segment, in seconds; None for the end of the file."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """All other columns, as text; missing values are empty."""
    channel: str = ""
    """Channel of the recording, as in `channel_index`; empty if the manifest names none."""
    notes: Mapping[str, int] = field(default_factory=dict)
    """What was done with the row, for the report -> first version of the reading that does it."""
    fault: str = ""
    """Why the entry could not be read; empty if it could."""

    @property
    def is_whole_file(self) -> bool:
        """Whether the recording is a whole file, rather than a segment or in a dataset."""
        return self.content is None and self.start == 0 and self.end is None

    def with_channel(self, channel: str) -> ManifestEntry:
        """Return this entry with a channel, unless the manifest names one."""
        return replace(self, channel=channel) if channel and not self.channel else self


@dataclass(frozen=True)
class Manifest(FileColumn):
    """A manifest of recordings; its hash covers the manifest and all of its recordings.

    Version 1 of the reading does not read the columns `offset`, `duration` and `channel`.
    """

    audio_column: str = "audio"
    text_column: str = "text"
    in_folders: bool = False
    """Whether a folder with one subfolder of recordings for each label is a manifest."""
    needs_labels: bool = True
    """Whether the recordings of such a folder need labels; without them, it may have recordings in it."""
    keeps_faults: bool = False
    """Whether a row that cannot be read becomes an entry with a `fault`, instead of raising an error."""

    def stamp(self) -> Stamp:
        """Return the total size and the latest times of all files; errors as in `entries`."""
        files = self._files()
        stamps = [stamp_of(path) for path in files if path.is_file()]
        if self._has_labeled_folders:  # the times of a folder change when a file is added or renamed
            stats = [path.stat() for path in dict.fromkeys((self.path, *(path.parent for path in files)))]
            stamps += [(0, stat.st_mtime_ns, stat.st_ctime_ns) for stat in stats]
        return sum(stamp[0] for stamp in stamps), max(stamp[1] for stamp in stamps), max(stamp[2] for stamp in stamps)

    def sha256(self) -> str:
        """Return the SHA-256 of all files in order; for a folder with labels, it depends on the labels too."""
        digest = hashlib.sha256()
        for path in self._files():
            label = path.parent.name if self._has_labeled_folders else ""
            digest.update(f"{label}{FileColumn(path).sha256()}".encode())
        return digest.hexdigest()

    @property
    def _has_labeled_folders(self) -> bool:
        return self.in_folders and self.path.is_dir() and not (self.path / KALDI_LIST).is_file()

    def _files(self) -> list[Path]:
        """List the files of the manifest and the existing recordings; missing recordings are reported later."""
        recordings = dict.fromkeys(
            Path(entry.audio) for entry in self.entries() if entry.content is None and entry.audio
        )
        return [*_list_files(self.path), *(path for path in recordings if path.is_file())]

    @property
    def is_manifest(self) -> bool:
        """Whether the path can be a manifest: a folder, or a file with a suffix of manifests."""
        return self.path.is_dir() or _kind_of(self.path) in KINDS

    def entries(self) -> Iterator[ManifestEntry]:
        """Yield the entries in order.

        Raises:
            FileNotFoundError, ValueError: the path does not exist, or is not a manifest; the message has the line.
        """
        if self.path.is_dir():
            if not self.in_folders and not (self.path / KALDI_LIST).is_file():
                raise ValueError(
                    f"{self.path}: is a folder without a {KALDI_LIST}: name its recordings ({self.path}/*.wav) if no "
                    "texts are needed, or a .jsonl file with the columns `audio` and `text`."
                )
            if self._has_labeled_folders:
                yield from _labeled_folder_entries(self.path, self.needs_labels)
            else:
                yield from _kaldi_entries(self.path)
            return
        require_file(self.path)
        if not self.is_manifest:
            raise ValueError(
                f"{self.path}: is not a list of recordings: name a .jsonl, .csv, .tsv or .parquet file with a column "
                f"`{self.audio_column}` of paths and a column `{self.text_column}`, or a Kaldi-style folder."
            )
        checker, has_audio_column = SegmentChecker(), False
        for location, record, notes in _records(self.path, self.audio_column, self.reading):
            try:
                if isinstance(record, ValueError):
                    raise record
                has_audio_column |= record is not None and self.audio_column in record
                entry = ManifestEntry("", None, location) if record is None else self.entry(record, location, notes)
                if entry.audio and entry.content is None and self.reading > FIRST_READING_VERSION:
                    checker.check(entry.audio, entry.start, entry.end, entry.columns, location)
            except ValueError as error:
                if not self.keeps_faults or (isinstance(record, Mapping) and not has_audio_column):
                    raise
                entry = ManifestEntry("", None, location, fault=str(error))
            yield entry

    def entry(self, record: Mapping[str, Any], location: str, notes: Mapping[str, int] | None = None) -> ManifestEntry:
        """Convert a record to an entry; if the audio column is empty, so is `audio`.

        Raises:
            ValueError: the audio column is missing, or its value is not a recording.
        """
        audio = record.get(self.audio_column)
        if self.audio_column not in record:
            known = ", ".join(map(str, record)) or "none"
            raise ValueError(
                f"{location}: has no column {self.audio_column!r} of recordings; its columns: {known}. "
                "Name the column: `--data.audio_column NAME` in training, `LIST#NAME` in other commands."
            )
        name, content = (audio.get("path"), audio.get("bytes")) if isinstance(audio, Mapping) else (audio, None)
        if not isinstance(name or "", str):
            raise ValueError(f"{location}: {self.audio_column!r} must be the path of a recording, but is {audio!r}.")
        if content is None and name and not URL.match(name):
            name = str(self.path.parent / Path(str(name)).expanduser())
        other_fields = {key: value for key, value in record.items() if key not in (self.audio_column, self.text_column)}
        columns = {key: "" if value is None else _as_text(value) for key, value in other_fields.items()}
        _refuse_surrogates([name or "", *columns.values()], location)
        if content is not None:
            name = name or location
        notes = dict(notes or {})
        text = self._text(record, location, notes)
        start, end = parse_segment(other_fields.get("start"), other_fields.get("end"), location)
        channel = ""
        if self.reading > FIRST_READING_VERSION:
            without_offset, channel = (start, end), columns.get("channel", "")
            if content is None:  # recordings in a dataset are already cut
                start, end = segment_of_record(other_fields, location)
            if (start, end) != without_offset:
                notes["rows have a segment in the columns `offset` and `duration`"] = READ_AS_MEANT
            if channel:
                notes["rows name a channel"] = READ_AS_MEANT
        return ManifestEntry(name or "", text, location, content, start, end, columns, channel, notes)

    def _text(self, record: Mapping[str, Any], location: str, notes: dict[str, int]) -> str | None:
        """Return the text of a record; None if it is missing."""
        text = record.get(self.text_column)
        if isinstance(text, list | Mapping):
            raise ValueError(f"{location}: {self.text_column!r} must be a text, but is {_as_text(text)[:60]}.")
        for name in OTHER_TEXT_COLUMNS:
            if name != self.text_column and text and record.get(name):
                notes[f"rows have a text in the column {name!r} as well, which is not used"] = 1
        if isinstance(text, float) and math.isnan(text):
            notes["rows have NaN as their text, which is a missing one"] = READ_AS_MEANT
            return "nan" if self.reading == FIRST_READING_VERSION else None
        if isinstance(text, bool):
            notes["rows have a truth value as their text, which is written as in tables"] = READ_AS_MEANT
        if text is None or self.reading == FIRST_READING_VERSION:
            return None if text is None else str(text)
        return text_of_value(text, self.text_column, location)


@dataclass(frozen=True)
class HubManifest(Manifest):
    """The records of a split of a Hugging Face dataset; its audio column is not decoded."""

    spec: str = ""

    @property
    def source(self) -> str:
        return self.spec

    @property
    def identity(self) -> str:
        return self.spec

    def stamp(self) -> Stamp:
        """Return the stamp of the files in which `datasets` caches the split."""
        return open_hub_records(self.spec, self.audio_column)[1]

    def sha256(self) -> str:
        """Return the SHA-256 of all texts and recordings."""
        digest = hashlib.sha256()
        for entry in self.entries():
            content = _bytes_of(entry.audio) if entry.content is None else entry.content
            digest.update(hashlib.sha256(content).digest() + json.dumps([entry.text, entry.columns]).encode())
        return digest.hexdigest()

    def entries(self) -> Iterator[ManifestEntry]:
        """Yield the entries in order; raises errors as `Manifest.entries` does, and if the dataset cannot be loaded."""
        for number, record in enumerate(open_hub_records(self.spec, self.audio_column)[0], start=1):
            yield self.entry(record, f"{self.spec}, record {number}")


def _bytes_of(path: str) -> bytes:
    """Read a file; b"" if it does not exist, which decoding reports."""
    return Path(path).read_bytes() if Path(path).is_file() else b""


def open_manifest(
    spec: str,
    audio_column: str = "audio",
    text_column: str = "text",
    *,
    in_folders: bool = False,
    needs_labels: bool = True,
    keeps_faults: bool = False,
    reading: int = READING_VERSION,
) -> Manifest:
    """Return the manifest at a path, or the dataset `hub:NAME[:CONFIG]:SPLIT`, without reading it."""
    if spec.startswith(HUB_PREFIX):
        return HubManifest(Path(), reading=reading, audio_column=audio_column, text_column=text_column, spec=spec)
    return Manifest(
        Path(spec).expanduser(),
        reading=reading,
        audio_column=audio_column,
        text_column=text_column,
        in_folders=in_folders,
        needs_labels=needs_labels,
        keeps_faults=keeps_faults,
    )


def _kind_of(path: Path) -> str:
    return uncompressed_name(path).rpartition(".")[2]


def _list_files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    return [path / name for name in KALDI_FILES if (path / name).is_file()]


def _refuse_surrogates(texts: Iterable[str], location: str) -> None:
    """Raise ValueError for an unpaired surrogate, which no text can contain."""
    try:
        "".join(texts).encode()
    except UnicodeEncodeError:
        raise ValueError(f"{location}: has an unpaired surrogate, which is not a character: correct it.") from None


def _as_text(value: Any) -> str:
    is_json = isinstance(value, bool | int | float | list | Mapping)
    return json.dumps(value, ensure_ascii=False, default=str) if is_json else str(value)


_Records = Iterator[tuple[str, Mapping[str, Any] | ValueError | None, Mapping[str, int]]]
"""Location, record (an error if it cannot be read, None for a blank line) and notes of each row."""


def _records(path: Path, audio_column: str, reading: int) -> _Records:
    """Yield the location and the record of each row of a file, by its suffix."""
    kind = _kind_of(path)
    if kind in ("csv", "tsv"):
        return _table_records(path, kind, reading)
    if kind == "arrow":
        return _dataset_records(path, kind, audio_column)
    faults: list[str] = []
    if kind == "parquet":
        return _located(path, "record", read_parquet_records(path)[1], faults)
    lines = read_lines(path, LineLimit(None) if kind == "json" else ROW_LIMIT)
    records = read_json_records(lines, str(path), faults.append, is_document=kind == "json")
    return _located(path, "line" if kind == "jsonl" else "record", records, faults)


def _located(path: Path, unit: str, records: Iterable[NumberedRecord], faults: list[str]) -> _Records:
    """Yield the location and the record of each JSON object; the reader appends the message about another to `faults`.

    Blank lines are records, because `FILE#COLUMN` counts them as well.
    """
    for number, record in records:
        location = f"{path}, {unit} {number}"
        if isinstance(record, RejectedRow):
            record = ValueError(faults.pop())
        elif not isinstance(record, Mapping | None):
            text = json.dumps(record, ensure_ascii=False)
            record = ValueError(f"{location}: must be a JSON object with the columns of an entry, but is {text[:60]}.")
        yield location, record, {}


def _table_records(path: Path, kind: str, reading: int) -> _Records:
    """Yield the location and the record of each row."""
    lines, separator = read_lines(path, ROW_LIMIT), "," if kind == "csv" else "\t"
    table = DelimitedRows(lines, str(path), separator, reading=reading, quotes=False)
    if repeated := next((cell for number, cell in enumerate(table.header) if cell in table.header[:number]), None):
        raise ValueError(f"{path}, line 1: names the column {repeated!r} twice: rename or remove one of them.")
    faults: list[str] = []
    num_unquoted = table.num_unquoted
    for line, cells in table.rows(faults.append):
        is_changed, num_unquoted = table.num_unquoted > num_unquoted, table.num_unquoted
        notes = {"rows have cells in quotation marks, which were removed": 2} if is_changed else {}
        record = dict(zip(table.header, cells, strict=True)) if cells else None
        yield f"{path}, line {line}", ValueError(faults.pop()) if faults else record, notes


def _dataset_records(path: Path, kind: str, audio_column: str) -> _Records:
    datasets = require_datasets(f"{path}, as all .{kind} files")
    try:
        table = datasets.load_dataset(kind, data_files=str(path), split="train", streaming=True)
        features = table.features or {}
        if isinstance(features.get(audio_column), datasets.Audio):
            table = table.cast_column(audio_column, datasets.Audio(decode=False))
        for number, record in enumerate(table, start=1):
            yield f"{path}, record {number}", record, {}
    except (datasets.exceptions.DatasetsError, OSError) as error:
        raise ValueError(f"{path}: cannot be read as .{kind} ({error}).") from error


def _kaldi_entries(folder: Path) -> Iterator[ManifestEntry]:
    """Read a Kaldi-style folder."""
    for utterance in read_kaldi_folder(folder):
        columns = {"id": utterance.id, "speaker": utterance.speaker}
        yield ManifestEntry(
            utterance.audio,
            utterance.text,
            utterance.location,
            None,
            utterance.start,
            utterance.end,
            columns,
            utterance.channel,
        )


def _labeled_folder_entries(folder: Path, needs_labels: bool) -> Iterator[ManifestEntry]:
    """Read a folder with a subfolder of recordings for each label, by the rule of `seqlab.data.folders`."""
    listed = labeled_files(folder, RECORDINGS) if needs_labels else unlabeled_files(folder, RECORDINGS)
    if not listed.files:
        raise ValueError(
            f"{folder}: has neither a {KALDI_LIST} nor a subfolder of recordings for each label: name a .jsonl file "
            "with the columns `audio` and `text`."
        )
    listed.log(folder)
    for path in listed.files:
        yield ManifestEntry(str(path), None if path.parent == folder else path.parent.name, str(path))
