"""Bars on standard error for work whose units are counted: how many are done, and when the rest will be."""

import gzip
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

from seqlab.base.world import OnRows

if TYPE_CHECKING:
    from rich.progress import Progress


_hidden = False


def hide_bars(hidden: bool) -> None:
    """Show no bars from now on, or show them again."""
    global _hidden
    _hidden = hidden


def bars_are_shown() -> bool:
    """Tell whether standard error is a terminal, on which bars are wanted."""
    return sys.stderr.isatty() and not _hidden


def counting_bar() -> "Progress":
    """Make a bar for tasks that are described by their units; it shows nothing where standard error is no terminal."""
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
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.description} in"),
        TimeElapsedColumn(),
        TextColumn("ends in"),
        TimeRemainingColumn(),
        console=console,
        disable=not bars_are_shown(),
    )


@contextmanager
def progress_bar(stream: BinaryIO | None, output: BinaryIO) -> Iterator[OnRows]:
    """Show a bar while lines are read from `stream`, or from several places (None), whose end is not known then.

    Yields `advance(count)`, to be called with how many more lines are done. There is no bar where nobody would see it,
    where lines are typed in, and where the results are on the same terminal.
    """
    if not bars_are_shown() or output.isatty() or (stream is not None and stream.isatty()):
        yield lambda count: None
        return
    with counting("lines", None if stream is None else count_lines(stream)) as advance:
        yield advance


@contextmanager
def counting(units: str, total: int | None = None) -> Iterator[OnRows]:
    """Show a bar that counts units where standard error is a terminal; yield `advance(count)`."""
    if not bars_are_shown():
        yield lambda count: None
        return
    with counting_bar() as bar:
        task = bar.add_task(units, total=total)
        yield lambda count: bar.advance(task, count)


def count_lines(stream: BinaryIO) -> int | None:
    """Count the lines that are left in a file, whose position stays; None where it can be read only once."""
    if isinstance(stream, gzip.GzipFile) or not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
        return None
    start, count, last = stream.tell(), 0, b"\n"
    while block := stream.read(1 << 20):
        count, last = count + block.count(b"\n"), block[-1:]
    stream.seek(start)
    return count + (last != b"\n")
