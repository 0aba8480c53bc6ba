"""Progress bars on standard error, with the number of completed units and the estimated end."""

import io
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

from seqlab.base.world import ProgressCallback

if TYPE_CHECKING:
    from rich.progress import Progress


_hidden = False


def hide_progress_bars(hidden: bool) -> None:
    """Hide all progress bars that are created after this call, or show them again."""
    global _hidden
    _hidden = hidden


def are_bars_shown() -> bool:
    """Return whether standard error is a terminal and bars are not hidden."""
    return sys.stderr.isatty() and not _hidden


def make_progress_bar() -> "Progress":
    """Create a progress bar that is hidden unless standard error is a terminal.

    The description of a task is the name of its unit, such as `lines`.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    return Progress(
        BarColumn(bar_width=20),  # fits 80 columns
        MofNCompleteColumn(),
        TextColumn("{task.description} in"),
        TimeElapsedColumn(),
        TextColumn("ends in"),
        TimeRemainingColumn(),
        console=console,
        disable=not are_bars_shown(),
    )


@contextmanager
def line_progress(stream: BinaryIO | None, output: BinaryIO) -> Iterator[ProgressCallback]:
    """Show a progress bar over the lines of `stream`, or over an unknown number of lines (None).

    No bar is shown if bars are hidden, or if the input or `output` is a terminal.

    Yields:
        `advance(count)`, to be called with the number of newly completed lines.
    """
    if not are_bars_shown() or output.isatty() or (stream is not None and stream.isatty()):
        yield lambda count: None
        return
    with count_progress("lines", None if stream is None else count_lines(stream)) as advance:
        yield advance


@contextmanager
def count_progress(units: str, total: int | None = None) -> Iterator[ProgressCallback]:
    """Show a progress bar that counts units, if standard error is a terminal; yield `advance(count)`."""
    if not are_bars_shown():
        yield lambda count: None
        return
    with make_progress_bar() as bar:
        task = bar.add_task(units, total=total)
        yield lambda count: bar.advance(task, count)


def count_lines(stream: BinaryIO) -> int | None:
    """Count the remaining lines of a file without changing its position; None if the stream is not seekable."""
    is_plain = isinstance(stream, io.BufferedReader)  # not a decompressed file
    if not is_plain or not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
        return None
    start, count, last = stream.tell(), 0, b"\n"
    while block := stream.read(1 << 20):
        count, last = count + block.count(b"\n"), block[-1:]
    stream.seek(start)
    return count + (last != b"\n")
