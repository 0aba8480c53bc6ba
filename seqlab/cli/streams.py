"""The standard streams of the command line: UTF-8 whatever the locale, and errors that say which stream failed."""

import os
import sys
from contextlib import suppress

from seqlab.base.named_files import open_text_descriptor

STDIN, STDOUT, STDERR = range(3)
STANDARD_OUTPUT = "standard output"


def prepare_streams() -> None:
    """Open what the shell has closed, and write standard output in UTF-8.

    A closed descriptor would be given to the next file that is opened, and messages be written into that. A file name
    may hold bytes that are not UTF-8: they are written as they are.
    """
    for descriptor in (STDIN, STDOUT, STDERR):
        if not _is_open(descriptor):
            # In the wrong direction on purpose: results must not be lost without a word; messages may be.
            flags = os.O_RDONLY if descriptor == STDOUT else os.O_WRONLY
            opened = os.open(os.devnull, flags)  # the lowest number that is free: this one, unless another is closed
            if opened != descriptor:
                os.dup2(opened, descriptor)
                os.close(opened)
    is_terminal = os.isatty(STDOUT)
    sys.stdout = open_text_descriptor(STDOUT, STANDARD_OUTPUT, "surrogateescape", by_line=is_terminal)
    if sys.stderr is None:
        sys.stderr = open_text_descriptor(STDERR, "standard error", "backslashreplace", by_line=True)


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def say(message: str) -> None:
    """Print a line to standard error; ignore errors."""
    with suppress(OSError, ValueError):
        print(message, file=sys.stderr, flush=True)


def drop_output() -> None:
    """Redirect standard output to /dev/null, as Python would fail once more when it ends."""
    with suppress(OSError, ValueError, AttributeError):  # of a stream that is none of the process's own
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def close_streams() -> None:
    """Flush both streams, so that nothing is left that could fail when Python ends."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            with suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
