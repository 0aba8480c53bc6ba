"""Lists of recordings on the command line, and what is wrong with some of them."""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from seqlab.data.readers import decode_line
from seqlab.inference.files import input_stream

logger = logging.getLogger(__name__)
READ_TOGETHER = 64
"""Recordings on a list that are read before they are answered."""
HAS_FAULTS = 3
"""The exit status where a recording has no answer."""


def warn_of_faults(faults: Iterable[str]) -> int:
    """Log what is wrong with recordings, those without a fault left out; return how many have one."""
    named = [fault for fault in faults if fault]
    for fault in named:
        logger.warning("%s The answer is empty.", fault if fault.endswith(".") else f"{fault}.")
    return len(named)


@contextmanager
def listed_paths(spec: str | None) -> Iterator[Iterator[str]]:
    """Open a list of recordings: a path on each line of a text or of standard input, or `FILE#COLUMN`.

    Paths in a column of a table are relative to its folder, those of a text to the current one. An empty line stays.

    Raises:
        ValueError: a line is not UTF-8, as where a recording itself is given instead of a list.
    """
    if spec is not None and "#" in spec and not Path(spec).exists():
        from seqlab.data.columns import parse_column

        column, folder = parse_column(spec), Path(spec.rpartition("#")[0]).parent
        yield (str(folder / path) if path else "" for path in column.cells())
        return
    with input_stream(spec) as (stream, name):
        yield (decode_line(raw, name, number) for number, raw in enumerate(stream, start=1))
