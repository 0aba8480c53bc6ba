"""metrics.jsonl: one JSON object per line; what lies behind the last checkpoint is cut off when a run continues."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class Journal:
    """Append lines to metrics.jsonl, each written at once."""

    def __init__(self, path: Path, size: int = 0) -> None:
        """Open the journal cut back to `size` bytes: 0 starts it anew."""
        self.path = path
        self._file = path.open("ab")
        self._file.truncate(min(size, path.stat().st_size))

    def write(self, kind: str, **values: Any) -> None:
        """Add a line; `kind` is `train`, `valid` or `event`."""
        self._file.write((json.dumps({"kind": kind, **values}) + "\n").encode())
        self._file.flush()

    def size(self) -> int:
        """Give the bytes written so far, safely on the disk: what a checkpoint remembers."""
        os.fsync(self._file.fileno())
        return self._file.seek(0, os.SEEK_END)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_journal(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the lines of a metrics.jsonl; a last line that was being written is left out."""
    with path.open(encoding="utf-8", newline="\n") as file:
        for line in file:
            if line.endswith("\n"):
                yield json.loads(line)
