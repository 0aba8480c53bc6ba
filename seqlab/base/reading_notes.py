"""Version of the reading of data files, and notes on what was converted or left out while files were read.

A run predicts as it was trained: run.json records the version, and commands read their input by the version of the run.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Protocol, runtime_checkable

READING_VERSION = 2
"""Current version. Increase it when a file that was read without an error is read differently. 1: up to 0.3.0."""
READ_AS_MEANT = 2
"""First version that reads tables, texts, images and recordings as their writers mean them (after 0.3.0)."""
FIRST_READING_VERSION = 1
"""Version of runs whose run.json does not name one."""


@dataclass
class ReadingNote:
    """What happened to some rows while they were read."""

    text: str
    """For example `transparent images were put on white`: it follows the count."""
    first: str
    """Location (file and line, or path) of the first of these rows."""
    count: int = 1
    since: int = FIRST_READING_VERSION
    """First version that reads these rows in this way; earlier ones read other values."""

    def __str__(self) -> str:
        return f"{self.count:,} {self.text} (the first: {self.first})"


class ReadingNotes:
    """Counts of what was converted or left out, with the first location of each kind, for the data report."""

    def __init__(self) -> None:
        self._notes: dict[str, ReadingNote] = {}

    def add(self, text: str, location: str, *, count: int = 1, since: int = FIRST_READING_VERSION) -> None:
        """Count rows to which the same happened; `since` is the first version that reads such rows in this way."""
        note = self._notes.setdefault(text, ReadingNote(text, location, 0, since))
        note.count += count

    def update(self, others: ReadingNotes) -> None:
        """Add all notes of another object."""
        for note in others:
            self.add(note.text, note.first, count=note.count, since=note.since)

    def __iter__(self) -> Iterator[ReadingNote]:
        return iter(self._notes.values())

    def lines(self) -> list[str]:
        """Return a line for each kind, for the log."""
        return [str(note) for note in self]

    def changes_after(self, version: int) -> list[ReadingNote]:
        """Return the notes on rows that an earlier version of the reading read differently."""
        return [note for note in self if note.since > version]

    def to_json(self) -> list[dict[str, Any]]:
        """Convert the notes to JSON values."""
        return [asdict(note) for note in self]

    @classmethod
    def from_json(cls, values: list[dict[str, Any]]) -> ReadingNotes:
        """Create notes from the values that `to_json` returned, of one or several notes."""
        notes = cls()
        for note in (ReadingNote(**value) for value in values):
            notes.add(note.text, note.first, count=note.count, since=note.since)
        return notes


@runtime_checkable
class HasReadingNotes(Protocol):
    """Prepared data with notes on how they were read."""

    reading: ReadingNotes
