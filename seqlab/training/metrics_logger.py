"""metrics.jsonl: one JSON object per line; what lies behind the last checkpoint is cut off when a run continues."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seqlab.base.atomic_io import sync
from seqlab.base.named_files import open_for_writing
from seqlab.base.parsing import require_regular
from seqlab.training.loggers import GuardedLogger


class MetricsLogger:
    """Append lines to metrics.jsonl, each written at once, and pass them on to other loggers."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if path.is_fifo():  # which would be waited for
            require_regular(path)
        self._file = open_for_writing(path, "ab")
        self._loggers: list[GuardedLogger] = []

    def pass_on(self, loggers: Sequence[GuardedLogger]) -> None:
        """Pass all further lines on to these loggers, too, and close them with this one."""
        self._loggers = list(loggers)

    def write(self, kind: str, **values: Any) -> None:
        """Add a line; `kind` is `train`, `valid` or `event`."""
        line = {"kind": kind, **values}
        self._file.write((json.dumps(line) + "\n").encode())
        self._file.flush()
        for logger in self._loggers:
            logger.log(line)

    def size(self) -> int:
        """Give the bytes written so far, safely on the disk: what a checkpoint remembers."""
        sync(self._file, self.path)
        return self._file.seek(0, os.SEEK_END)

    def cut_back(self, size: int) -> None:
        """Drop the figures after the first `size` bytes, as their steps are done again, and a line that is torn.

        Events stay, they happened.
        """
        content = self.path.read_bytes()
        kept = content[:size].rfind(b"\n") + 1  # less than `size` where the end of the file was lost
        behind = content[kept:].splitlines(keepends=True)
        if behind:
            events = [line for line in behind if line.startswith(b'{"kind": "event"') and line.endswith(b"}\n")]
            self._file.truncate(kept)
            self._file.write(b"".join(events))
            self._file.flush()

    def close(self) -> None:
        """Close the file and the other loggers."""
        self._file.close()
        for logger in self._loggers:
            logger.close()
