"""The examples of training: recordings by their part, and their transcripts as ids."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from seqlab.data.recording_splits import Indices, RecordingSplits, RecordingsReport, split_recordings
from seqlab.data.recordings import Recordings, read_recordings
from seqlab.data.survey import OnProgress
from seqlab.tasks.transcription.config import TranscriptionConfig
from seqlab.text import Tokenizer
from seqlab.text.transcripts import normalize_transcript


@dataclass(frozen=True)
class PreparedTranscripts:
    """Recordings of all parts, and their transcripts."""

    recordings: Recordings
    splits: RecordingSplits
    texts: list[str]
    """Normalised; empty for a recording that has none."""
    report: RecordingsReport
    content_hashes: dict[str, str]
    rows: list[list[int]]
    """The ids of each transcript; empty before there is a tokenizer."""

    @property
    def train(self) -> Indices:
        """The recordings that are trained on."""
        return self.splits.train

    @property
    def valid(self) -> Indices:
        """The recordings that are validated on."""
        return self.splits.valid


def read_transcripts(
    config: TranscriptionConfig, cache: Path, on_progress: OnProgress | None, tokenizer: Tokenizer | None = None
) -> PreparedTranscripts:
    """Decode recordings, or open what was decoded before, and divide them.

    Raises:
        FileNotFoundError, ValueError: as of `read_recordings` and `split_recordings`.
    """
    recordings, hashes = read_recordings(config, cache, on_progress)
    texts = [
        None if each.text is None else normalize_transcript(each.text, config.transcripts)
        for each in recordings.examples
    ]
    test = [
        replace(each, text=normalize_transcript(each.text or "", config.transcripts), content=None)
        for spec in config.test
        for each in config.manifest(spec).entries()
    ]
    splits = split_recordings(config, recordings, texts, by_text=True, test_texts=[str(each.text) for each in test])
    report = RecordingsReport.from_splits(recordings, splits, texts, by_text=True, test=test)
    known = [text or "" for text in texts]
    rows = [] if tokenizer is None else tokenizer.encode(known)
    return PreparedTranscripts(recordings, splits, known, report, hashes, rows)
