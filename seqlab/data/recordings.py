"""Cache of decoded recordings: samples in a memory map, and the metadata of each recording."""

from __future__ import annotations

import hashlib
import logging
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from dataclasses import field as dataclass_field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from seqlab.audio.containers import FAULTS, FAULTS_SINCE
from seqlab.audio.reading import SILENCE_DB, Recording, RecordingError, read_recording
from seqlab.audio.waveform import FULL_SCALE
from seqlab.base.atomic_io import rename
from seqlab.base.json_text import json_text
from seqlab.base.named_files import open_for_writing
from seqlab.base.parsing import open_regular, parse_json, validate_type
from seqlab.base.reading_notes import READ_AS_MEANT, ReadingNotes
from seqlab.base.world import usable_cores
from seqlab.data.blocks import in_batches
from seqlab.data.input_hashes import hash_inputs, hash_json, save_input_hashes
from seqlab.data.manifests import ManifestEntry
from seqlab.data.recording_segments import other_duration, unread_segment
from seqlab.data.recordings_config import RecordingsConfig
from seqlab.data.survey import PreparationProgress

CACHE_FORMAT = 4
"""Version of the cache; increase it when the decoding of files changes."""
SAMPLES_FILE, EXAMPLES_FILE = "samples.i16", "examples.jsonl"
MIN_SOUND = FULL_SCALE * 10 ** (SILENCE_DB / 20)
"""Smallest 16-bit amplitude that is not silent."""
DECODING_BATCH_SIZE = 256
"""Number of recordings decoded at a time."""
OTHER_DURATION = "rows have a `duration` that is not that of the recording, which is read whole"
logger = logging.getLogger(__name__)
ConfigField = Literal["train", "extra_train", "valid"]


@dataclass(frozen=True)
class RecordingExample:
    """Metadata of a recording of a manifest."""

    field: ConfigField
    """Field of the config that names the manifest."""
    audio: str
    text: str | None
    location: str
    """Location in the manifest: `file, line N`."""
    columns: dict[str, str]
    first: int = 0
    """Index of its first sample in the memory map."""
    length: int = 0
    """Number of samples."""
    source_rate: int = 0
    """Sample rate of the file."""
    channels: int = 0
    clipped: float = 0.0
    """Share of the samples at full scale, or at the peak."""
    is_silent: bool = False
    digest: str = ""
    """Hash of the samples."""
    fault: str = ""
    """Reason why it cannot be read; empty if it can."""
    notes: dict[str, int] = dataclass_field(default_factory=dict)
    """What happened when it was read, for the report -> first version of the reading (`seqlab.base.reading_notes`)."""

    def prediction_record(self, prediction: str, target: str) -> dict[str, Any]:
        """Return the record of a prediction for `predictions.jsonl`; `target` is the transcript or label."""
        return {"audio": self.audio, "columns": self.columns, "prediction": prediction, "target": target}


@dataclass(frozen=True)
class Recordings:
    """Decoded recordings: concatenated samples, and metadata."""

    samples: NDArray[np.int16]
    examples: list[RecordingExample]
    sample_rate: int

    def __len__(self) -> int:
        return len(self.examples)

    def waveform(self, index: int) -> NDArray[np.int16]:
        """Return the samples (n,) of a recording."""
        example = self.examples[index]
        return self.samples[example.first : example.first + example.length]

    def locate(self, index: int) -> str:
        """Return the location of a recording in its manifest, and its audio file."""
        example = self.examples[index]
        return f"{example.location} ({example.audio})"

    def seconds(self, index: int) -> float:
        """Return the duration of a recording."""
        return self.examples[index].length / self.sample_rate

    def reading_notes(self) -> ReadingNotes:
        """Count what happened when the recordings were read."""
        notes = ReadingNotes()
        for example in self.examples:
            for text, since in example.notes.items():
                notes.add(text, example.location, since=since)
        ids = set()
        for example in self.examples:
            name = example.location.rpartition(", ")[0], example.columns.get("id", "")  # lists may number their rows
            if name in ids:
                notes.add("recordings have the `id` of an earlier one", example.location)
            ids |= {name} if name[1] else set()
        return notes


def read_recordings(
    config: RecordingsConfig, cache: Path, on_progress: PreparationProgress | None
) -> tuple[Recordings, dict[str, str]]:
    """Decode all recordings into a cache, or open the cache; also return the SHA-256 of each manifest.

    `on_progress` is None in processes that open the cache of another process.

    Raises:
        FileNotFoundError, ValueError: a manifest cannot be read. Damaged recordings do not raise an error: see
            `RecordingExample.fault`.
    """
    specs = config.input_specs()
    hashes = hash_inputs(specs, cache)
    columns = config.audio_column, config.text_column
    made_from = [CACHE_FORMAT, list(hashes.values()), config.sample_rate, *columns, config.channel]
    counts = [len(getattr(config, name)) for name in ("train", "extra_train")]
    folder = cache / f"recordings-{hash_json([made_from, counts])[:16]}"
    if not folder.is_dir():
        assert on_progress is not None, "another process must have made the cache"
        cache.mkdir(parents=True, exist_ok=True)
        save_input_hashes(specs, cache)
        for old in cache.glob("recordings-*"):
            shutil.rmtree(old)
        building = cache / "recordings.tmp"
        shutil.rmtree(building, ignore_errors=True)
        building.mkdir()
        _decode(config, building, on_progress)
        rename(building, folder)
    file = folder / SAMPLES_FILE
    samples = np.memmap(file, np.int16, "r") if file.stat().st_size else np.zeros(0, np.int16)
    try:
        with open_regular(folder / EXAMPLES_FILE) as notes:
            examples = [validate_type(parse_json(line), RecordingExample) for line in notes]
    except (OSError, ValueError) as error:
        advice = f"delete {folder} to decode the recordings again"
        raise ValueError(f"{folder / EXAMPLES_FILE} is damaged ({error}): {advice}.") from None
    return Recordings(samples, examples, config.sample_rate), hashes


def _entries(config: RecordingsConfig) -> Iterator[tuple[ConfigField, ManifestEntry]]:
    fields: Sequence[tuple[ConfigField, Sequence[str]]] = (
        ("train", config.train),
        ("extra_train", config.extra_train),
        ("valid", [config.valid] if config.valid is not None else []),
    )
    for name, specs in fields:
        for spec in specs:
            for entry in config.manifest(spec).entries():
                yield name, entry.with_channel(config.channel)


def _decode(config: RecordingsConfig, folder: Path, on_progress: PreparationProgress) -> None:
    """Write the concatenated samples of all recordings, and the metadata of each."""
    problems: list[str] = []
    count = sum(1 for _ in _entries(config))  # in a separate pass: recordings of a dataset may not fit into memory
    first = 0
    with (
        ThreadPoolExecutor(usable_cores()) as threads,
        open_for_writing(folder / SAMPLES_FILE) as samples,
        open_for_writing(folder / EXAMPLES_FILE) as notes,
    ):
        done = 0
        for block in in_batches(_entries(config), DECODING_BATCH_SIZE):
            read = threads.map(lambda item: _read(item[1], config.sample_rate), block)
            for (field, entry), result in zip(block, read, strict=True):
                example = _example(field, entry, result, first)
                problems += [entry.location] if OTHER_DURATION in example.notes else []
                if isinstance(result, Recording):
                    samples.write(result.samples.tobytes())
                    first += len(result.samples)
                notes.write(json_text(asdict(example)).encode() + b"\n")
            done += len(block)
            on_progress("recordings decoded", done, count)
    if problems:
        logger.warning("%s %s (the first: %s)", len(problems), OTHER_DURATION, problems[0])


def _read(entry: ManifestEntry, rate: int) -> Recording | RecordingError | str:
    """Read a recording, or return the reason why it cannot be read."""
    if not entry.audio:
        return "the list names no recording"
    source: Any = entry.audio if entry.content is None else entry.content
    try:
        return read_recording(source, rate, name=entry.audio, start=entry.start, end=entry.end, channel=entry.channel)
    except RecordingError as error:
        return error


def _example(
    field: ConfigField, entry: ManifestEntry, result: Recording | RecordingError | str, first: int
) -> RecordingExample:
    columns, notes = dict(entry.columns), dict(entry.notes)
    if not isinstance(result, Recording):
        if isinstance(result, RecordingError) and result.fault in FAULTS_SINCE:
            notes[f"recordings were left out, each {FAULTS[result.fault]}"] = FAULTS_SINCE[result.fault]
        return RecordingExample(
            field, entry.audio, entry.text, entry.location, columns, first, fault=str(result), notes=notes
        )
    if entry.is_whole_file:
        properties = entry.columns, result.duration, result.source_rate
        if problem := unread_segment(*properties):
            raise ValueError(f"{entry.location}: {problem}.")
        if other_duration(*properties):
            notes[OTHER_DURATION] = 1
    if result.is_scaled:
        notes["recordings with floats beyond [-1, 1] were divided by their peak"] = READ_AS_MEANT
    if result.is_silent and np.abs(result.samples.astype(np.int32)).max() >= MIN_SOUND:
        notes["recordings are silent, apart from a constant offset"] = READ_AS_MEANT
    return RecordingExample(
        field,
        entry.audio,
        entry.text,
        entry.location,
        columns,
        first,
        len(result.samples),
        result.source_rate,
        result.channels,
        max(result.clipped, result.at_peak),
        result.is_silent,
        hashlib.blake2b(result.samples.tobytes(), digest_size=12).hexdigest(),
        notes=notes,
    )
