"""Builder of a cache: corpora are encoded block by block, resumable after an interruption."""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from seqlab.base.atomic_io import read_checksummed_json, temporary_path, write_checksummed_json
from seqlab.base.reading_notes import ReadingNotes
from seqlab.data.assignment import RowAssignment
from seqlab.data.corpus import row_unit
from seqlab.data.data_report import DropLog, DropLogState, TokenCounts
from seqlab.data.encoded import CorpusState, CorpusWriter
from seqlab.data.ragged import ArrayState, ArrayWriter
from seqlab.data.row_encoder import EncodedBlock, RowEncoder, RowStatus
from seqlab.data.survey import PreparationProgress
from seqlab.data.validation_files import VALID_FILE, HeldOutFile
from seqlab.data.workers import Workers

ROWS_BETWEEN_SAVES = 500_000
"""Number of rows between two saves of the state: an interruption loses at most this work, a few seconds."""
DROPPED_FILE = "dropped.tsv"
STATE_FILE = "state.json"


@dataclass(frozen=True)
class BuildState:
    """State of an interrupted build."""

    rows: int  # number of rows on disk, counted over all corpora in order
    train: CorpusState
    valid: CorpusState
    statuses: ArrayState
    log: DropLogState
    split_off: int | None  # size of the file of held-out pairs, in bytes
    counts: list[list[TokenCounts]]  # of each corpus and column
    reading: list[dict[str, Any]]


_STATE = TypeAdapter(BuildState)


class CacheBuilder:
    """Encode assigned rows into `train/` and `valid/` of a folder.

    The files are the same, bit for bit, for any number of processes and interruptions.
    """

    def __init__(
        self,
        folder: Path,
        encoder: RowEncoder,
        assignments: list[RowAssignment],
        with_text: dict[RowStatus, bool],
        state: BuildState | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._encoder, self._assignments = folder, encoder, assignments
        self._rows = self._saved_rows = 0 if state is None else state.rows
        sizes = encoder.vocab_sizes
        train, valid = (state.train, state.valid) if state else (None, None)
        self.log = DropLog(folder / DROPPED_FILE, len(sizes), state.log if state else None)
        self.reading = ReadingNotes.from_json(state.reading if state else [])
        self._split_off = None
        if with_text[RowStatus.VALID] and any(
            assignment.split == "train" and RowStatus.VALID in assignment.kept for assignment in assignments
        ):
            self._split_off = HeldOutFile(folder / VALID_FILE, state.split_off if state else None)
        self._writers = {
            RowStatus.TRAIN: CorpusWriter(folder / "train", sizes, with_text=with_text[RowStatus.TRAIN], state=train),
            RowStatus.VALID: CorpusWriter(folder / "valid", sizes, with_text=with_text[RowStatus.VALID], state=valid),
        }
        self._statuses = ArrayWriter(folder / "statuses", np.uint8, state.statuses if state else None)
        if state is not None:
            self._restore(state)

    @classmethod
    def start_or_resume(
        cls, folder: Path, encoder: RowEncoder, assignments: list[RowAssignment], with_text: dict[RowStatus, bool]
    ) -> CacheBuilder:
        """Resume the build of the same corpora in a folder, or start a new one if there is no usable state."""
        try:
            state = _STATE.validate_python(read_checksummed_json(folder / STATE_FILE))
            return cls(folder, encoder, assignments, with_text, state)
        except (OSError, ValueError, TypeError):
            shutil.rmtree(folder, ignore_errors=True)
            return cls(folder, encoder, assignments, with_text)

    def run(self, workers: Workers, on_progress: PreparationProgress) -> None:
        """Encode the remaining rows."""
        start, total = 0, sum(map(len, self._assignments))
        with_text = {status: writer.with_text for status, writer in self._writers.items()}
        for assignment in self._assignments:
            offset = max(0, self._rows - start)
            if offset == 0:
                for status in assignment.kept:
                    self._writers[status].start_corpus(assignment.corpus.specs)
            if offset < len(assignment):
                for block in workers.map(self._encoder, assignment.tasks(offset, with_text)):
                    self._write(assignment, self._rows - start, block)
                    on_progress(f"{row_unit(len(block.counts))} encoded", self._rows, total)
            start += len(assignment)

    def _write(self, assignment: RowAssignment, offset: int, block: EncodedBlock) -> None:
        assignment.statuses[offset : offset + len(block.statuses)] = block.statuses
        self._statuses.append(block.statuses)
        for status, rows in block.kept.items():
            self._writers[status].extend(rows)
            if status == RowStatus.VALID and self._split_off is not None:
                self._split_off.extend(rows)
        assignment.counts = [before + more for before, more in zip(assignment.counts, block.counts, strict=True)]
        self.log.add(block.dropped, block.examples)
        for note in block.reading:
            self.reading.add(note.text, note.first, count=note.count, since=note.since)
        self._rows += len(block.statuses)
        if self._rows - self._saved_rows >= ROWS_BETWEEN_SAVES:
            self._save()

    def _save(self) -> None:
        state = BuildState(
            rows=self._rows,
            train=self._writers[RowStatus.TRAIN].save(),
            valid=self._writers[RowStatus.VALID].save(),
            statuses=self._statuses.save(),
            log=self.log.save(),
            split_off=None if self._split_off is None else self._split_off.save(),
            counts=[assignment.counts for assignment in self._assignments],
            reading=self.reading.to_json(),
        )
        write_checksummed_json(self._folder / STATE_FILE, asdict(state))
        self._saved_rows = self._rows

    def _restore(self, state: BuildState) -> None:
        statuses, start = np.fromfile(temporary_path(self._folder / "statuses"), np.uint8), 0
        for assignment, counts in zip(self._assignments, state.counts, strict=True):
            done = statuses[start : start + len(assignment)]
            assignment.statuses[: len(done)] = done
            assignment.counts = counts
            start += len(assignment)

    def held_out_bytes(self) -> int:
        """Return the size of the file of held-out pairs in bytes; 0 if there is none."""
        return 0 if self._split_off is None else self._split_off.save()

    def finish(self) -> None:
        """Rename the files to their final names and delete the state."""
        for writer in self._writers.values():
            writer.close()
        self.log.close()
        if self._split_off is not None:
            self._split_off.close()
        self._statuses.discard()
        (self._folder / STATE_FILE).unlink(missing_ok=True)
