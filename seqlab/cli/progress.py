"""How many lines are done and when the rest will be, on standard error where it is a terminal."""

import gzip
import os
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import BinaryIO


@contextmanager
def progress_bar(stream: BinaryIO, output: BinaryIO) -> Iterator[Callable[[int], None]]:
    """Show a bar while `stream` is read; give the function that is told how many more lines are done.

    There is none where nobody would see it, where lines are typed in, and where the results are on the same terminal.
    """
    if not sys.stderr.isatty() or stream.isatty() or output.isatty():
        yield lambda count: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("lines in"),
        TimeElapsedColumn(),
        TextColumn("ends in"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("lines", total=count_lines(stream))
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
