"""Input and output files of commands: texts, gzip, columns of tables (`FILE#COLUMN`), standard input and output."""

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
from seqlab.base.reading_notes import READING_VERSION
from seqlab.data.blocks import in_batches
from seqlab.data.column import line_locations, refuse_unequal_lengths
from seqlab.data.readers import iter_lines, open_binary

if TYPE_CHECKING:
    from seqlab.data.column import Column

logger = logging.getLogger(__name__)
BUFFER_LINES = 4096
"""Default number of lines per block that a command reads before it processes them."""
MAX_BUFFER_CHARS = 1 << 24
"""Maximum number of characters per block; a longer line forms a block by itself."""


@dataclass(frozen=True)
class Input:
    """Input of a command, read line by line; its lines can be iterated only once."""

    name: str
    """Name of the file, for messages."""
    lines: Iterator[str]
    stream: BinaryIO | None = None
    """Stream from which the lines are read; None if they are a column of a table."""
    column: "Column | None" = None
    """Column of a table that contains the lines; None if the file is plain text."""

    def buffer_size(self, requested: int | None, default: int = BUFFER_LINES) -> int:
        """Return the number of lines to read before processing them: `requested`, else 1 on a terminal, else `default`.

        Raises:
            ValueError: `requested` is below 1.
        """
        if requested is not None and requested < 1:
            raise ValueError(f"`buffer_lines` must be at least 1, but is {requested} instead.")
        if requested is None and self.is_typed:
            return 1
        return default if requested is None else requested

    def locations(self, start: int, count: int) -> list[str]:
        """Return the locations (file and line number) of `count` lines, starting at index `start`."""
        numbers = range(start + 1, start + count + 1) if self.column is None else self.column.line_numbers(start, count)
        return line_locations(self.name, numbers)

    def blocks(self, requested: int | None, default: int = BUFFER_LINES) -> Iterator[list[str]]:
        """Yield the lines in lists of `buffer_size`; long lines make shorter lists, and the last may be shorter, too.

        Arguments and errors are those of `buffer_size`.
        """
        lines = prompt_for(self.lines) if self.is_typed else self.lines
        return release_between(
            in_batches(lines, self.buffer_size(requested, default), weight=len, max_weight=MAX_BUFFER_CHARS)
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
def open_input(
    spec: str | None,
    *,
    tables_as_text: bool = False,
    limit: LineLimit | None = None,
    reading: int = READING_VERSION,
) -> Iterator[Input]:
    """Open a text file (decompressed by its suffix), a column of a table (`FILE#COLUMN`), or standard input.

    Args:
        spec: path or `FILE#COLUMN`; None and `-` are standard input.
        tables_as_text: whether to read a table like plain text, line by line.
        limit: limit of the length of a line.
        reading: version of the reading of a table.

    Raises:
        ValueError: a table is named without a column, and `tables_as_text` is False.
    """
    from seqlab.data.columns import parse_column

    if spec is not None and spec != "-" and not tables_as_text:
        column = parse_column(spec, limit, reading)
        if column.kind != "text":
            yield Input(str(column), column.values(), column=column)
            return
    with input_stream(spec) as (stream, name):
        yield Input(name, iter_lines(stream, name, limit), stream)


@contextmanager
def input_stream(path: str | None) -> Iterator[tuple[BinaryIO, str]]:
    """Open a file (decompressed by its suffix) or standard input: the stream and its name for messages."""
    if path is None or path == "-":
        yield standard_input(), "standard input"
    else:
        with open_binary(Path(path)) as stream:
            yield stream, path


@contextmanager
def output_stream(path: str | None) -> Iterator[BinaryIO]:
    """Open standard output, or a file that is written atomically: it has a temporary name until it is complete.

    A file is compressed if its name ends in .gz. After a failure, the incomplete file keeps its temporary name, which
    the error message gives. Raises the errors of `atomic_write`.
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
        stream = cast(BinaryIO, GzipFile("", "wb", fileobj=file, mtime=0)) if has_gzip_name(final) else file
        try:
            yield stream
        except BaseException:
            if not stream.tell():  # gzip has written a header
                file.truncate(0)
            raise
        if stream is not file:
            stream.close()


def refuse_same_file(option: str, output: str | None, other_paths: Mapping[str, str | None]) -> None:
    """Raise ValueError if an output file is the same as another named file, `FILE` or `FILE#COLUMN`.

    Devices, such as /dev/null, may be named more than once.
    """
    if output is None or output == "-" or (Path(output).exists() and not Path(output).is_file()):
        return
    written = {Path(output).resolve(), partial_path(Path(output))}
    for name, spec in other_paths.items():
        if spec and _path_of(spec).resolve() in written:
            raise ValueError(f"{option} and {name} are both {output}: name another file.")


def _path_of(spec: str) -> Path:
    """Return the path of `FILE` or `FILE#COLUMN`. In the name of an existing file, `#` does not start a column."""
    path = Path(spec)
    return path if path.exists() or "#" not in path.name else Path(spec.rpartition("#")[0])


def has_gzip_name(path: Path) -> bool:
    """Return whether the name of a file ends in .gz."""
    return path.suffix == ".gz"


def all_lines(spec: str, limit: LineLimit | None = None, reading: int = READING_VERSION) -> list[str]:
    """Read all lines of `FILE`, `FILE#COLUMN`, or standard input (`-`); arguments as in `open_input`."""
    from seqlab.data.columns import parse_column

    if spec == "-":
        return list(iter_lines(standard_input(), "standard input", limit))
    return list(parse_column(spec, limit, reading).values())


def all_locations(spec: str, count: int, reading: int = READING_VERSION) -> list[str]:
    """Return the locations of the `count` lines that `all_lines` reads."""
    from seqlab.data.columns import parse_column

    if spec == "-":
        return line_locations("standard input", range(1, count + 1))
    column = parse_column(spec, reading=reading)
    return line_locations(str(column), column.line_numbers(0, count))


def read_parallel(
    specs: Iterable[str | None], limit: LineLimit, reading: int = READING_VERSION
) -> dict[str | None, list[str]]:
    """Read parallel files as `all_lines` does; None is skipped.

    Raises:
        ValueError: the files have different numbers of lines; the message names both counts.
    """
    files: dict[str | None, list[str]] = {
        spec: all_lines(spec, limit, reading) for spec in dict.fromkeys(specs) if spec is not None
    }
    refuse_unequal_lengths(
        ["standard input" if spec == "-" else str(spec) for spec in files], list(map(len, files.values()))
    )
    return files


def standard_input() -> BinaryIO:
    """Return standard input as a binary stream; raise ValueError if it is closed."""
    if sys.stdin is None:
        raise ValueError("standard input is closed, so there is no input: name a file instead.")
    return sys.stdin.buffer
