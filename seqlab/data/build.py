"""Write an encoded corpus block by block; resume after a kill."""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter

from seqlab.base.atomic_io import read_checksummed_json, temporary_path, write_checksummed_json
from seqlab.data.corpus import unit_of
from seqlab.data.encode import EncodedBlock, Encoder, Fate
from seqlab.data.encoded import CorpusState, CorpusWriter
from seqlab.data.report import DropLog, DropLogState, TokenCounts
from seqlab.data.routes import Route
from seqlab.data.rows import ArrayState, ArrayWriter
from seqlab.data.survey import OnProgress
from seqlab.data.validation_files import VALID_FILE, SplitOffFile
from seqlab.data.workers import Workers

SAVE_ROWS = 500_000
"""Rows encoded between two saves, some seconds' work: so much a kill costs at most."""
DROPPED_FILE = "dropped.tsv"
STATE_FILE = "state.json"


@dataclass(frozen=True)
class BuildState:
    """How far a build is: what belongs to so many rows, of all corpora in turn, is on the disk."""

    rows: int
    train: CorpusState
    valid: CorpusState
    fates: ArrayState
    log: DropLogState
    split_off: int | None  # bytes
    counts: list[list[TokenCounts]]  # of each corpus


_STATE = TypeAdapter(BuildState)


class Build:
    """Encode what the routes keep into `train/` and `valid/` of a folder.

    The bytes are the same for any number of processes, kills and resumptions.
    """

    def __init__(
        self,
        folder: Path,
        encoder: Encoder,
        routes: list[Route],
        with_text: dict[Fate, bool],
        state: BuildState | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._encoder, self._routes = folder, encoder, routes
        self._rows = self._saved_rows = 0 if state is None else state.rows
        sizes = encoder.vocab_sizes
        train, valid = (state.train, state.valid) if state else (None, None)
        self.log = DropLog(folder / DROPPED_FILE, len(sizes), state.log if state else None)
        self._split_off = None
        if with_text[Fate.VALID] and any(route.split == "train" and Fate.VALID in route.kept for route in routes):
            self._split_off = SplitOffFile(folder / VALID_FILE, state.split_off if state else None)
        self._writers = {
            Fate.TRAIN: CorpusWriter(folder / "train", sizes, with_text=with_text[Fate.TRAIN], state=train),
            Fate.VALID: CorpusWriter(folder / "valid", sizes, with_text=with_text[Fate.VALID], state=valid),
        }
        self._fates = ArrayWriter(folder / "fates", np.uint8, state.fates if state else None)
        if state is not None:
            self._restore(state)

    @classmethod
    def begin_or_resume(cls, folder: Path, encoder: Encoder, routes: list[Route], with_text: dict[Fate, bool]) -> Build:
        """Go on with the build of the same corpora in a folder, or begin where there is none that can be used."""
        try:
            state = _STATE.validate_python(read_checksummed_json(folder / STATE_FILE))
            return cls(folder, encoder, routes, with_text, state)
        except (OSError, ValueError, TypeError):
            shutil.rmtree(folder, ignore_errors=True)
            return cls(folder, encoder, routes, with_text)

    def run(self, workers: Workers, on_progress: OnProgress) -> None:
        """Encode everything that is left."""
        start, total = 0, sum(map(len, self._routes))
        with_text = {fate: writer.with_text for fate, writer in self._writers.items()}
        for route in self._routes:
            offset = max(0, self._rows - start)
            if offset == 0:
                for fate in route.kept:
                    self._writers[fate].start_corpus(route.corpus.specs)
            if offset < len(route):
                for block in workers.map(self._encoder, route.tasks(offset, with_text)):
                    self._write(route, self._rows - start, block)
                    on_progress(f"{unit_of(len(block.counts))} encoded", self._rows, total)
            start += len(route)

    def _write(self, route: Route, offset: int, block: EncodedBlock) -> None:
        route.fates[offset : offset + len(block.fates)] = block.fates
        self._fates.append(block.fates)
        for fate, rows in block.kept.items():
            self._writers[fate].extend(rows)
            if fate == Fate.VALID and self._split_off is not None:
                self._split_off.extend(rows)
        route.counts = [before + more for before, more in zip(route.counts, block.counts, strict=True)]
        self.log.add(block.dropped, block.examples)
        self._rows += len(block.fates)
        if self._rows - self._saved_rows >= SAVE_ROWS:
            self._save()

    def _save(self) -> None:
        state = BuildState(
            rows=self._rows,
            train=self._writers[Fate.TRAIN].save(),
            valid=self._writers[Fate.VALID].save(),
            fates=self._fates.save(),
            log=self.log.save(),
            split_off=None if self._split_off is None else self._split_off.save(),
            counts=[route.counts for route in self._routes],
        )
        write_checksummed_json(self._folder / STATE_FILE, asdict(state))
        self._saved_rows = self._rows

    def _restore(self, state: BuildState) -> None:
        fates, start = np.fromfile(temporary_path(self._folder / "fates"), np.uint8), 0
        for route, counts in zip(self._routes, state.counts, strict=True):
            done = fates[start : start + len(route)]
            route.fates[: len(done)] = done
            route.counts = counts
            start += len(route)

    def split_off_bytes(self) -> int:
        """Tell the size of the file of what was split off, 0 where there is none."""
        return 0 if self._split_off is None else self._split_off.save()

    def finish(self) -> None:
        """Give the files their final names; nothing else is left in the folder."""
        for writer in self._writers.values():
            writer.close()
        self.log.close()
        if self._split_off is not None:
            self._split_off.close()
        self._fates.discard()
        (self._folder / STATE_FILE).unlink(missing_ok=True)
