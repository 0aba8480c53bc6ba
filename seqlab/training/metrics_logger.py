"""Writer of metrics.jsonl, one JSON object per line; a resumed run truncates it to its checkpoint."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seqlab.base.atomic_io import sync
from seqlab.base.json_text import json_text
from seqlab.base.named_files import open_for_writing
from seqlab.base.parsing import require_regular
from seqlab.training.loggers import GuardedLogger


class MetricsLogger:
    """Logger that appends lines to metrics.jsonl, flushes each one, and passes it on to other loggers."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if path.is_fifo():  # opening one would block
            require_regular(path)
        self._file = open_for_writing(path, "ab")
        self._loggers: list[GuardedLogger] = []

    def set_loggers(self, loggers: Sequence[GuardedLogger]) -> None:
        """Also pass the lines that follow to these loggers; `close` closes them, too."""
        self._loggers = list(loggers)

    def write(self, kind: str, **values: Any) -> None:
        """Write a line; `kind` is `train`, `valid` or `event`."""
        line = {"kind": kind, **values}
        self._file.write((json_text(line) + "\n").encode())
        self._file.flush()
        for logger in self._loggers:
            logger.log(line)

    def size(self) -> int:
        """Sync the file to disk and return its size in bytes, which a checkpoint stores."""
        sync(self._file, self.path)
        return self._file.seek(0, os.SEEK_END)

    def truncate(self, size: int) -> None:
        """Remove metrics after the first `size` bytes, since their steps are repeated, and an incomplete last line.

        Events are kept.
        """
        content = self.path.read_bytes()
        kept = content[:size].rfind(b"\n") + 1  # less than `size` if the end of the file was lost
        removed = content[kept:].splitlines(keepends=True)
        if removed:
            events = [line for line in removed if line.startswith(b'{"kind": "event"') and line.endswith(b"}\n")]
            self._file.truncate(kept)
            self._file.write(b"".join(events))
            self._file.flush()

    def close(self) -> None:
        """Close the file and the other loggers."""
        self._file.close()
        for logger in self._loggers:
            logger.close()
