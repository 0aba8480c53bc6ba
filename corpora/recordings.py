"""Recordings of corpora: WAV files, JSON Lines manifests, and noise for generated recordings.

A manifest has one line per recording: `audio` (path of the file, absolute or relative to the manifest's folder),
`text`, `speaker`, `duration` in seconds, and further columns.
"""

import json
import os
import wave
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from seqlab.corpora.description import DATA_VARIABLE, CorpusDescription, instructions, read_text_file

Samples = npt.NDArray[np.int16]
FloatWaveform = npt.NDArray[np.float64]
"""Samples from -1 to 1."""
ManifestRow = dict[str, Any]
"""A line of a manifest: column -> value."""

MAX_PEAK = 0.9
"""Maximum absolute value of a generated recording; full scale is 1."""


class GeneratedRecording(NamedTuple):
    """A generated recording, and its manifest columns other than `audio` and `duration`."""

    samples: Samples
    row: ManifestRow


def locate_recordings(corpus: CorpusDescription, folder: str | Path | None = None) -> Path:
    """Return the folder of a corpus, `folder` or `$SEQLAB_DATA/NAME`, after checking that all of its files exist.

    Raises:
        FileNotFoundError: the variable is not set, or a file is missing; the message has the source of the corpus.
    """
    if folder is None:
        data_folder = os.environ.get(DATA_VARIABLE)
        if not data_folder:
            raise FileNotFoundError(f"$SEQLAB_DATA/{corpus.name}: SEQLAB_DATA is not set. {instructions(corpus)}")
        folder = Path(data_folder) / corpus.name
    folder = Path(folder).absolute()
    for name in corpus.recordings:
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{folder} has no {name}. {instructions(corpus)}")
    return folder


def read_manifest(path: str | Path) -> list[ManifestRow]:
    """Read a manifest, which can be gzip-compressed (`.gz`), and make `audio` an absolute path.

    Raises:
        ValueError: a line is not a JSON object with `audio` and `text`.
        FileNotFoundError: an audio file does not exist.
    """
    path = Path(path).absolute()
    rows = []
    for number, line in enumerate(read_text_file(path).removesuffix("\n").split("\n"), start=1):
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"{path}:{number}: not JSON: {error}.") from None
        if not (isinstance(row, dict) and isinstance(row.get("audio"), str) and isinstance(row.get("text"), str)):
            raise ValueError(f"{path}:{number}: must be a JSON object with the strings `audio` and `text`: {line[:80]}")
        audio = path.parent / row["audio"]
        if not audio.is_file():
            raise FileNotFoundError(f"{path}:{number}: there is no file {audio}.")
        rows.append({**row, "audio": str(audio)})
    return rows


def write_manifest(path: Path, rows: Iterable[ManifestRow]) -> Path:
    """Write a manifest atomically; its folder is created if it does not exist."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode())
    return temporary.replace(path)


def write_recordings(
    folder: str | Path, splits: Mapping[str, Iterable[GeneratedRecording]], sample_rate: int
) -> dict[str, Path]:
    """Write generated recordings as `recordings/SPLIT-NUMBER.wav`, and a manifest per split; return the manifests.

    Old manifests are removed before the first recording is written, and new ones are written after the last recording:
    a manifest that exists is complete. Only one recording at a time is in memory.
    """
    folder = Path(folder)
    (folder / "recordings").mkdir(parents=True, exist_ok=True)
    for split in splits:
        (folder / f"{split}.jsonl").unlink(missing_ok=True)
    rows: dict[str, list[ManifestRow]] = {split: [] for split in splits}
    for split, recordings in splits.items():
        for number, recording in enumerate(recordings):
            audio = f"recordings/{split}-{number:05d}.wav"
            write_wav(folder / audio, recording.samples, sample_rate)
            duration = round(len(recording.samples) / sample_rate, 4)
            rows[split].append({"audio": audio, **recording.row, "duration": duration})
    return {split: write_manifest(folder / f"{split}.jsonl", split_rows) for split, split_rows in rows.items()}


def write_wav(path: Path, samples: Samples, sample_rate: int) -> None:
    """Write mono samples as a 16-bit WAV file, atomically."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with wave.open(str(temporary), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sample_rate)
        file.writeframes(samples.astype("<i2").tobytes())
    temporary.replace(path)


def read_wav(path: Path, sample_rate: int) -> Samples:
    """Read a 16-bit mono WAV file.

    Raises:
        ValueError: the file is damaged, or has another format, rate or number of channels.
    """
    try:
        with wave.open(str(path), "rb") as file:
            actual = (file.getframerate(), file.getnchannels(), 8 * file.getsampwidth())
            content = file.readframes(file.getnframes())
    except (wave.Error, EOFError) as error:
        raise ValueError(f"{path} is not a readable WAV file: {error}. Fetch it again.") from error
    if actual != (sample_rate, 1, 16):
        raise ValueError(
            f"{path} must have {sample_rate} Hz, 1 channel and 16 bits, but has {actual[0]} Hz, {actual[1]} channels "
            f"and {actual[2]} bits instead."
        )
    return np.frombuffer(content, "<i2").astype(np.int16)


def add_background(waveform: FloatWaveform, snr_db: float, generator: np.random.Generator) -> FloatWaveform:
    """Add noise of a random color, from white (flat spectrum) to brown (power falls with the squared frequency).

    `snr_db` is the signal-to-noise ratio in dB, with the signal power over the samples that are not zero.
    """
    signal = waveform[waveform != 0]
    noise = _colored_noise(len(waveform), generator)
    if not len(signal):
        return waveform
    scale = np.sqrt(np.mean(signal**2) / np.mean(noise**2)) * 10 ** (-snr_db / 20)
    return waveform + scale * noise


def _colored_noise(num_samples: int, generator: np.random.Generator) -> FloatWaveform:
    """Generate noise with a power proportional to 1 / frequency^a, for a random exponent a from 0 to 2."""
    slope = generator.uniform(0, 1)  # a / 2, the exponent of the amplitude
    length = 1 << max(num_samples - 1, 1).bit_length()
    spectrum = np.fft.rfft(generator.standard_normal(length))
    # Flat below 1/256 of the band: otherwise, brown noise would mainly be an inaudible drift.
    frequencies = np.maximum(np.arange(len(spectrum)), len(spectrum) / 256)
    return np.fft.irfft(spectrum * frequencies**-slope)[:num_samples]


def scale_to_int16(waveform: FloatWaveform) -> Samples:
    """Round to 16-bit samples; a waveform with a peak above `MAX_PEAK` is scaled down, not clipped."""
    peak = np.abs(waveform).max(initial=0.0)
    return np.round(waveform * (32767 * min(1.0, MAX_PEAK / max(peak, 1e-9)))).astype(np.int16)
