"""A whole corpus through a translator, kept as it goes: what is done is not done again after a kill.

The corpus is translated in blocks, within each of which lines are sorted by length. A block that is done is written to
the work file, one line of JSON, and synced before the next begins. The first line of that file says what the work is
of, so that the work of another model, search or corpus is not gone on with.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from seqlab.inference.run import Run
from seqlab.world import OnRows

BLOCK_LINES = 4096
"""Lines that are translated before they are kept: sorted by length they fill their batches as well as all would."""


class WorkFile:
    """What is translated so far, of which a kill may have torn the last line."""

    def __init__(self, path: Path, identity: Mapping[str, Any]) -> None:
        """`identity`: what the work is of, as JSON can hold it."""
        self.path, self.identity = path, dict(identity)

    def read(self) -> list[str]:
        """Give the translations that are there, and cut off what is torn.

        Raises:
            ValueError: it is of another work.
        """
        if not self.path.exists():
            return []
        done: list[str] = []
        size = 0
        with self.path.open("rb") as file:
            for number, line in enumerate(file):
                if not line.endswith(b"\n"):
                    break
                if number == 0:
                    self._refuse_other(json.loads(line))
                else:
                    done.extend(json.loads(line))
                size += len(line)
        os.truncate(self.path, size)
        return done

    def _refuse_other(self, identity: Mapping[str, Any]) -> None:
        for name, value in self.identity.items():
            if identity.get(name) != value:
                raise ValueError(
                    f"{self.path} was begun with another `{name}` ({identity.get(name)!r}, not {value!r}): go on as it "
                    "was begun, or begin anew with `--overwrite`."
                )

    def is_other(self) -> bool:
        """Tell whether it is there, but of another work."""
        try:
            self.read()
        except ValueError:
            return True
        return False

    def open(self) -> BinaryIO:
        """Open it to be written on; a new one begins with what it is of."""
        file = self.path.open("ab")
        if not file.tell():
            keep(file, self.identity)
        return file


def keep(file: BinaryIO, value: object) -> None:
    """Write a value on a line of JSON and bring it to the disk."""
    file.write(json.dumps(value, ensure_ascii=False).encode() + b"\n")
    file.flush()
    os.fsync(file.fileno())


def sha256_of(lines: Sequence[str]) -> str:
    """Tell texts apart."""
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line.encode() + b"\n")
    return digest.hexdigest()


def distill(
    run: Run,
    lines: Sequence[str],
    work: WorkFile,
    *,
    block_lines: int = BLOCK_LINES,
    first_line: int = 1,
    progress: OnRows | None = None,
    **options: Any,
) -> list[str]:
    """Translate lines, going on where the work file ends, which stays when all are done.

    Args:
        run: what `load` gave.
        lines: text without newlines.
        work: where translations are kept until all are there.
        block_lines: lines that are translated before they are kept.
        first_line: the number of the first line in its file, for messages.
        progress: called with how many lines (pieces of lines that were cut) are done.
        options: of `Run.translate`.

    Raises:
        ValueError: the work file is of another work.
    """
    done = work.read()
    if progress is not None:
        progress(len(done))
    with work.open() as file:
        for start in range(len(done), len(lines), block_lines):
            block = lines[start : start + block_lines]
            translated = run.translate(block, first_line=first_line + start, progress=progress, **options)
            keep(file, translated)
            done.extend(translated)
    return done
