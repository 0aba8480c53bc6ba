"""Files named on the command line, opened for reading and writing."""

import logging
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from gzip import GzipFile
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from seqlab.base.atomic_io import atomic_write, partial_path
from seqlab.base.malloc import release_between
from seqlab.base.named_files import open_for_writing
from seqlab.base.progress import are_bars_shown
from seqlab.base.raw_lines import LineLimit
from seqlab.data.blocks import in_batches
from seqlab.data.column import line_locations, refuse_unequal_lengths
from seqlab.data.readers import iter_lines, open_binary

if TYPE_CHECKING:
    from seqlab.data.column import Column

logger = logging.getLogger(__name__)
BUFFER_LINES = 4096
MAX_BUFFER_CHARS = 1 << 24
"""Characters of a block after which no further line joins it."""


@dataclass(frozen=True)
class Input:
    """Lines that are read once, as they arrive."""

    name: str
    """Of the file, for messages."""
    lines: Iterator[str]
    stream: BinaryIO | None = None
    """What holds the lines and nothing else; None where they are a column of a table."""
    column: "Column | None" = None
    """What the lines are where they are those of a table."""

    def buffer_size(self, asked: int | None, default: int = BUFFER_LINES) -> int:
        """Return how many lines are read before they are answered: unless asked, one where they are typed in.

        Raises ValueError where fewer than one are asked for.
        """
        if asked is not None and asked < 1:
            raise ValueError(f"`buffer_lines` must be at least 1, but is {asked} instead.")
        if asked is None and self.is_typed:
            return 1
        return default if asked is None else asked

    def locations(self, start: int, count: int) -> list[str]:
        """Say where lines stand, given the index of the first."""
        numbers = range(start + 1, start + count + 1) if self.column is None else self.column.line_numbers(start, count)
        return line_locations(self.name, numbers)

    def blocks(self, asked: int | None, default: int = BUFFER_LINES) -> Iterator[list[str]]:
        """Yield the lines in lists; the last may be shorter, and so may those of long lines, as memory has bounds.

        Sizes and errors are as in `buffer_size`.
        """
        lines = prompt_for(self.lines) if self.is_typed else self.lines
        return release_between(
            in_batches(lines, self.buffer_size(asked, default), weight=len, max_weight=MAX_BUFFER_CHARS)
        )

    @property
    def is_typed(self) -> bool:
        """Whether the lines are typed on a terminal."""
        return self.stream is not None and self.stream.isatty()


def prompt_for(lines: Iterator[str]) -> Iterator[str]:
    """Yield lines that a user types, with a prompt on standard error before each unless messages are hidden."""
    if not are_bars_shown():
        yield from lines
        return
    print("Type a line and press Enter; Ctrl-D ends.", file=sys.stderr)
    while True:
        print("> ", end="", file=sys.stderr, flush=True)
        line = next(lines, None)
        if line is None:
            print(file=sys.stderr)
            return
        yield line


@contextmanager
def open_input(spec: str | None, *, whole_tables: bool = False, limit: LineLimit | None = None) -> Iterator[Input]:
    """Open a text, unpacked when it ends in .gz, a column of a table (`FILE#COLUMN`), or standard input.

    Args:
        spec: what is named; None and `-` are standard input.
        whole_tables: take the lines of a table, too, as those of a text.
        limit: of the lines.

    Raises ValueError for a table without a column, unless it is taken whole.
    """
    from seqlab.data.columns import parse_column

    if spec is not None and spec != "-" and not whole_tables:
        column = parse_column(spec, limit)
        if column.kind != "text":
            yield Input(str(column), column.values(), column=column)
            return
    with input_stream(spec) as (stream, name):
        yield Input(name, iter_lines(stream, name, limit), stream)


@contextmanager
def input_stream(path: str | None) -> Iterator[tuple[BinaryIO, str]]:
    """Open a file, unpacked when it ends in .gz, or standard input; give the stream and its name for messages."""
    if path is None or path == "-":
        yield standard_input(), "standard input"
    else:
        with open_binary(Path(path)) as stream:
            yield stream, path


@contextmanager
def output_stream(path: str | None) -> Iterator[BinaryIO]:
    """Open standard output, or a file that appears when everything is written: until then it has a temporary name.

    It is packed when its name ends in .gz. What was written before a failure stays under the temporary name, and is
    named; errors are those of `atomic_write`.
    """
    if path is None or path == "-":
        yield sys.stdout.buffer
        return
    final = Path(path)
    if final.exists() and not final.is_file():  # a device or a pipe, such as /dev/null: nothing to rename
        with open_for_writing(final) as stream:
            yield stream
        return
    with atomic_write(final, keep_partial=True) as file:
        stream = cast(BinaryIO, GzipFile("", "wb", fileobj=file, mtime=0)) if is_packed(final) else file
        try:
            yield stream
        except BaseException:
            if not stream.tell():  # gzip has written a header
                file.truncate(0)
            raise
        if stream is not file:
            stream.close()


def refuse_same_file(option: str, output: str | None, others: Mapping[str, str | None]) -> None:
    """Raise ValueError where a file that is to be written is another one that is named, `FILE` or `FILE#COLUMN`.

    Devices, such as /dev/null, may be named more than once.
    """
    if output is None or output == "-" or (Path(output).exists() and not Path(output).is_file()):
        return
    written = {Path(output).resolve(), partial_path(Path(output))}
    for name, spec in others.items():
        if spec and _path_of(spec).resolve() in written:
            raise ValueError(f"{option} and {name} are both {output}: name another file.")


def _path_of(spec: str) -> Path:
    """Give the file of `FILE` or `FILE#COLUMN`; a name that really contains the `#` is taken as it is."""
    path = Path(spec)
    return path if path.exists() or "#" not in path.name else Path(spec.rpartition("#")[0])


def is_packed(path: Path) -> bool:
    """Tell whether a text of this name is packed by gzip."""
    return path.suffix == ".gz"


def all_lines(spec: str, limit: LineLimit | None = None) -> list[str]:
    """Read what a path spec names, `FILE` or `FILE#COLUMN`, or standard input where it is `-`."""
    from seqlab.data.columns import parse_column

    return list(
        iter_lines(standard_input(), "standard input", limit) if spec == "-" else parse_column(spec, limit).values()
    )


def all_locations(spec: str, count: int) -> list[str]:
    """Say where the lines stand that `all_lines` gave, given how many they are."""
    from seqlab.data.columns import parse_column

    if spec == "-":
        return line_locations("standard input", range(1, count + 1))
    column = parse_column(spec)
    return line_locations(str(column), column.line_numbers(0, count))


def read_parallel(specs: Iterable[str | None], limit: LineLimit) -> dict[str | None, list[str]]:
    """Read files that belong together, as `all_lines` does; None is left out.

    Raises:
        ValueError: one is longer than the first; names both counts.
    """
    files: dict[str | None, list[str]] = {
        spec: all_lines(spec, limit) for spec in dict.fromkeys(specs) if spec is not None
    }
    refuse_unequal_lengths(
        ["standard input" if spec == "-" else str(spec) for spec in files], list(map(len, files.values()))
    )
    return files


def standard_input() -> BinaryIO:
    """Return standard input as bytes; raises ValueError where the shell has closed it."""
    if sys.stdin is None:
        raise ValueError("standard input is closed, so there is nothing to read: name a file instead.")
    return sys.stdin.buffer
