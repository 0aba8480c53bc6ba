"""Recordings in a memory map: decoded and resampled once, with what is known of each, and opened again."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from seqlab.audio.reading import Recording, RecordingError, read_recording
from seqlab.base.atomic_io import rename
from seqlab.base.named_files import open_for_writing
from seqlab.base.parsing import open_regular, parse_json, validate_type
from seqlab.base.world import usable_cores
from seqlab.data.blocks import in_batches
from seqlab.data.input_hashes import hash_inputs, hash_json, save_input_hashes
from seqlab.data.manifests import ManifestEntry
from seqlab.data.recordings_config import RecordingsConfig
from seqlab.data.survey import OnProgress

CACHE_FORMAT = 2
"""Raised when the same files would be decoded differently."""
SAMPLES_FILE, EXAMPLES_FILE = "samples.i16", "examples.jsonl"
DECODING_BATCH_SIZE = 256
"""Recordings in memory at a time."""
ConfigField = Literal["train", "extra_train", "valid"]


@dataclass(frozen=True)
class RecordingExample:
    """What is known of a recording on a list."""

    field: ConfigField
    """Which field of the config lists it."""
    audio: str
    text: str | None
    location: str
    """`file, line N` of the list."""
    columns: dict[str, str]
    first: int = 0
    """The index of its first sample in the memory map."""
    length: int = 0
    """Samples."""
    source_rate: int = 0
    """Samples per second of the file."""
    channels: int = 0
    clipped: float = 0.0
    """Share of the samples at full scale."""
    is_silent: bool = False
    digest: str = ""
    """Of the samples: equal recordings have equal ones."""
    fault: str = ""
    """Why it cannot be read; empty where it can."""

    def prediction_record(self, prediction: str, target: str) -> dict[str, Any]:
        """Describe it with its transcript or label, and what was predicted, for `predictions.jsonl`."""
        return {"audio": self.audio, "columns": self.columns, "prediction": prediction, "target": target}


@dataclass(frozen=True)
class Recordings:
    """Examples, and the samples of all of them."""

    samples: NDArray[np.int16]
    examples: list[RecordingExample]
    sample_rate: int

    def __len__(self) -> int:
        return len(self.examples)

    def waveform(self, index: int) -> NDArray[np.int16]:
        """Return the samples (n,) of an example."""
        example = self.examples[index]
        return self.samples[example.first : example.first + example.length]

    def locate(self, index: int) -> str:
        """Name the line of a list that an example is on, and its file."""
        example = self.examples[index]
        return f"{example.location} ({example.audio})"

    def seconds(self, index: int) -> float:
        """Return how long an example is."""
        return self.examples[index].length / self.sample_rate


def read_recordings(
    config: RecordingsConfig, cache: Path, on_progress: OnProgress | None
) -> tuple[Recordings, dict[str, str]]:
    """Decode all recordings into a cache, or open what was decoded before; also return the SHA-256 of each list.

    Without `on_progress` another process has decoded them.

    Raises:
        FileNotFoundError, ValueError: a list cannot be read; damaged recordings are noted, and raise nothing.
    """
    specs = config.input_specs()
    hashes = hash_inputs(specs, cache)
    made_from = [CACHE_FORMAT, list(hashes.values()), config.sample_rate, config.audio_column, config.text_column]
    counts = [len(getattr(config, name)) for name in ("train", "extra_train")]
    folder = cache / f"recordings-{hash_json([made_from, counts])[:16]}"
    if not folder.is_dir():
        assert on_progress is not None, "another process has decoded them"
        cache.mkdir(parents=True, exist_ok=True)
        save_input_hashes(specs, cache)
        for old in cache.glob("recordings-*"):
            shutil.rmtree(old)
        building = cache / "recordings.tmp"
        shutil.rmtree(building, ignore_errors=True)
        building.mkdir()
        _decode(config, building, on_progress)
        rename(building, folder)
    samples = (
        np.memmap(folder / SAMPLES_FILE, np.int16, "r")
        if (folder / SAMPLES_FILE).stat().st_size
        else np.zeros(0, np.int16)
    )
    try:
        with open_regular(folder / EXAMPLES_FILE) as notes:
            examples = [validate_type(parse_json(line), RecordingExample) for line in notes]
    except (OSError, ValueError) as error:
        raise ValueError(f"{folder / EXAMPLES_FILE} is damaged ({error}): delete {folder}, it is made again.") from None
    return Recordings(samples, examples, config.sample_rate), hashes


def _entries(config: RecordingsConfig) -> Iterator[tuple[ConfigField, ManifestEntry]]:
    fields: Sequence[tuple[ConfigField, Sequence[str]]] = (
        ("train", config.train),
        ("extra_train", config.extra_train),
        ("valid", [config.valid] if config.valid is not None else []),
    )
    for field, specs in fields:
        for spec in specs:
            for listed in config.manifest(spec).entries():
                yield field, listed


def _decode(config: RecordingsConfig, folder: Path, on_progress: OnProgress) -> None:
    """Write the samples of all recordings one after another, and what is known of each."""
    count = sum(1 for _ in _entries(config))  # a dataset's recordings need not fit into memory
    first = 0
    with (
        ThreadPoolExecutor(usable_cores()) as threads,
        open_for_writing(folder / SAMPLES_FILE) as samples,
        open_for_writing(folder / EXAMPLES_FILE) as notes,
    ):
        done = 0
        for block in in_batches(_entries(config), DECODING_BATCH_SIZE):
            read = threads.map(lambda each: _read(each[1], config.sample_rate), block)
            for (field, each), found in zip(block, read, strict=True):
                example = _example(field, each, found, first)
                if isinstance(found, Recording):
                    samples.write(found.samples.tobytes())
                    first += len(found.samples)
                notes.write(json.dumps(asdict(example)).encode() + b"\n")
            done += len(block)
            on_progress("recordings decoded", done, count)


def _read(listed: ManifestEntry, rate: int) -> Recording | str:
    """Read a recording; why not where it cannot be read."""
    if not listed.audio:
        return "the list names no recording"
    source: Any = listed.audio if listed.content is None else listed.content
    try:
        return read_recording(source, rate, name=listed.audio, start=listed.start, end=listed.end)
    except RecordingError as error:
        return str(error)


def _example(field: ConfigField, listed: ManifestEntry, found: Recording | str, first: int) -> RecordingExample:
    columns = dict(listed.columns)
    if isinstance(found, str):
        return RecordingExample(field, listed.audio, listed.text, listed.location, columns, first, fault=found)
    return RecordingExample(
        field,
        listed.audio,
        listed.text,
        listed.location,
        columns,
        first,
        len(found.samples),
        found.source_rate,
        found.channels,
        found.clipped,
        found.is_silent,
        hashlib.blake2b(found.samples.tobytes(), digest_size=12).hexdigest(),
    )
