"""Standard streams of the command line: UTF-8 in every locale, and errors that name the stream."""

import os
import sys
from contextlib import suppress

from seqlab.base.named_files import open_text_descriptor

STDIN, STDOUT, STDERR = range(3)
STANDARD_OUTPUT = "standard output"


def prepare_streams() -> None:
    """Reopen closed standard streams, and set standard output to UTF-8.

    Otherwise the next opened file would get the closed descriptor, and messages would be written into that file. Bytes
    of file names that are not UTF-8 are written unchanged.
    """
    for descriptor in (STDIN, STDOUT, STDERR):
        if not _is_open(descriptor):
            # Standard output is opened for reading, so that writing results fails instead of losing them silently.
            flags = os.O_RDONLY if descriptor == STDOUT else os.O_WRONLY
            opened = os.open(os.devnull, flags)  # the lowest free number: this one, unless another is closed
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


def print_error(message: str) -> None:
    """Print a line to standard error; ignore errors."""
    with suppress(OSError, ValueError):
        print(message, file=sys.stderr, flush=True)


def drop_output() -> None:
    """Redirect standard output to /dev/null, since Python would fail again when it flushes at exit."""
    with suppress(OSError, ValueError, AttributeError):  # the stream may have been replaced
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def close_streams() -> None:
    """Flush both streams; redirect a failing one to /dev/null, so that Python's exit does not fail."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            with suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
