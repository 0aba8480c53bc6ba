"""Manifests of single digits: by split, and with all recordings for leave-one-speaker-out cross-validation."""

from dataclasses import replace
from pathlib import Path

from seqlab.corpora.card import read_card
from seqlab.corpora.recordings import ManifestRow, locate_recordings, read_wav, write_manifest

SAMPLE_RATE = 8_000
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
SPLITS = {"train": range(15, 50), "valid": range(10, 15), "test": range(5, 10)}
"""Split -> indices of its recordings of each digit and speaker."""


def file_name(digit: int, speaker: str, index: int) -> str:
    """Return the file name of a recording in the dataset, `7_theo_12.wav`."""
    return f"{digit}_{speaker}_{index}.wav"


CORPUS = replace(
    read_card("fsdd"),
    recordings=tuple(
        file_name(digit, speaker, index)
        for digit in range(10)
        for speaker in SPEAKERS
        for indices in SPLITS.values()
        for index in indices
    ),
)


def write_digits(folder: str | Path, source: str | Path | None = None) -> dict[str, Path]:
    """Write `train.jsonl`, `valid.jsonl` and `test.jsonl`, one digit per line; return their paths by split.

    The columns are `audio` (absolute), `text` and `label` (the digit's English word), `speaker`, `digit`, `index` and
    `duration` in seconds.

    Args:
        folder: folder to write the manifests to.
        source: folder of the recordings; by default `$SEQLAB_DATA/fsdd`.

    Raises:
        FileNotFoundError: a recording is missing; the message has the source of the corpus.
        ValueError: a recording is damaged or not 8 kHz, 16 bits, mono.
    """
    recordings = locate_recordings(CORPUS, source)
    return {
        split: write_manifest(Path(folder) / f"{split}.jsonl", _rows(recordings, indices))
        for split, indices in SPLITS.items()
    }


def write_leave_one_out(folder: str | Path, source: str | Path | None = None) -> Path:
    """Write `all.jsonl` with the recordings of all splits, and return its path.

    Columns, arguments and errors are those of `write_digits`. The column `speaker` determines the folds: each speaker
    is the test set of a model that is trained on the five others.
    """
    recordings = locate_recordings(CORPUS, source)
    indices = range(min(map(min, SPLITS.values())), max(map(max, SPLITS.values())) + 1)
    return write_manifest(Path(folder) / "all.jsonl", _rows(recordings, indices))


def _rows(recordings: Path, indices: range) -> list[ManifestRow]:
    return [_row(recordings, digit, speaker, index) for digit in range(10) for speaker in SPEAKERS for index in indices]


def _row(recordings: Path, digit: int, speaker: str, index: int) -> ManifestRow:
    audio = recordings / file_name(digit, speaker, index)
    return {
        "audio": str(audio),
        "text": DIGITS[digit],
        "label": DIGITS[digit],
        "speaker": speaker,
        "digit": digit,
        "index": index,
        "duration": round(len(read_wav(audio, SAMPLE_RATE)) / SAMPLE_RATE, 4),
    }
