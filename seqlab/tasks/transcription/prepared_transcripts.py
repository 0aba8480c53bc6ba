"""Read, split and encode recordings with transcripts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from seqlab.base.reading_notes import FIRST_READING_VERSION, ReadingNotes
from seqlab.data.recording_splits import Indices, RecordingSplits, split_recordings
from seqlab.data.recordings import Recordings, read_recordings
from seqlab.data.recordings_report import RecordingsReport
from seqlab.data.survey import PreparationProgress
from seqlab.tasks.transcription.config import TranscriptionConfig
from seqlab.text import Tokenizer
from seqlab.text.transcripts import normalize_transcript


@dataclass(frozen=True)
class PreparedTranscripts:
    """Recordings of all splits, and their transcripts."""

    recordings: Recordings
    splits: RecordingSplits
    texts: list[str]
    """Normalized transcripts; an empty string for a recording without a transcript."""
    report: RecordingsReport
    content_hashes: dict[str, str]
    reading: ReadingNotes
    """What was converted or left out when the recordings and transcripts were read."""
    rows: list[list[int]]
    """Ids of each transcript; an empty list if no tokenizer was given."""

    @property
    def train(self) -> Indices:
        """Indices of the training recordings."""
        return self.splits.train

    @property
    def valid(self) -> Indices:
        """Indices of the validation recordings."""
        return self.splits.valid


def read_transcripts(
    config: TranscriptionConfig,
    cache: Path,
    on_progress: PreparationProgress | None,
    tokenizer: Tokenizer | None = None,
) -> PreparedTranscripts:
    """Read the recordings, from the cache if it has them, split them, and encode their transcripts.

    Raises:
        FileNotFoundError, ValueError: the errors of `read_recordings` and `split_recordings`.
    """
    recordings, hashes = read_recordings(config, cache, on_progress)
    texts = [
        None if recording.text is None else normalize_transcript(recording.text, config.transcripts)
        for recording in recordings.examples
    ]
    test = [
        replace(entry, text=normalize_transcript(entry.text or "", config.transcripts), content=None)
        for spec in config.test
        for entry in config.manifest(spec).entries()
    ]
    splits = split_recordings(config, recordings, texts, by_text=True, test_texts=[str(entry.text) for entry in test])
    report = RecordingsReport.from_splits(recordings, splits, texts, by_text=True, test=test)
    transcripts = [text or "" for text in texts]
    rows = [] if tokenizer is None else tokenizer.encode(transcripts)
    notes = recordings.reading_notes()
    notes.update(splits.reading_notes(recordings))
    for example, text in zip(recordings.examples, transcripts, strict=True):
        if normalize_transcript(example.text or "", config.transcripts, FIRST_READING_VERSION) != text:
            note = "transcripts have punctuation between words or numbers, or `İ`, and are normalized differently"
            notes.add(note, example.location, since=2)
    return PreparedTranscripts(recordings, splits, transcripts, report, hashes, notes, rows)
