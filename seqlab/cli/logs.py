"""Where messages go: to standard error, so that standard output carries results only, and to a file if one is named."""

import logging
import sys
from pathlib import Path

from seqlab.cli.errors import printable
from seqlab.progress import hide_bars

_files: list[logging.Handler] = []
"""What writes to the log file, where there is one."""


def set_up_logging(*, quiet: bool = False, log_file: str | None = None) -> None:
    """Send seqlab's log to standard error, coloured on a terminal and plain lines elsewhere, and to a file.

    Args:
        quiet: leave out all but warnings and errors, progress bars too.
        log_file: where to add all messages with their times, whatever `quiet` is.

    Raises:
        OSError: the file cannot be opened.
    """
    logging.raiseExceptions = False  # a message that cannot be written is no reason to print another
    shown = logging.WARNING if quiet else logging.INFO
    handlers = [_on_standard_error()]
    handlers[0].setFormatter(_Plain())
    handlers[0].setLevel(shown)
    hide_bars(quiet)
    _files.clear()
    if log_file is not None:
        if Path(log_file).is_fifo():
            raise ValueError(f"--log_file {log_file} is a pipe, which would be waited for: name a file.")
        _files.append(logging.FileHandler(Path(log_file), "a", encoding="utf-8", errors="backslashreplace"))
        _files[0].setFormatter(_Dated("%(asctime)s %(levelname)s %(message)s"))
        handlers += _files
    logging.basicConfig(level=logging.WARNING, handlers=handlers, force=True)
    logging.getLogger("seqlab").setLevel(logging.INFO)


def note_error(text: str) -> None:
    """Add an error to the log file, where there is one: standard error has it already."""
    for handler in _files:
        handler.handle(logging.LogRecord("seqlab", logging.ERROR, "", 0, text, None, None))


def _on_standard_error() -> logging.Handler:
    if not sys.stderr.isatty():
        return logging.StreamHandler(sys.stderr)
    from rich.console import Console
    from rich.logging import RichHandler

    return RichHandler(console=Console(stderr=True), show_path=False, show_time=False, show_level=False)


class _Plain(logging.Formatter):
    """The message alone; what is more than information begins with its level."""

    def format(self, record: logging.LogRecord) -> str:
        text = printable(super().format(record))
        return text if record.levelno <= logging.INFO else f"{record.levelname.lower()}: {text}"


class _Dated(logging.Formatter):
    """The message with its time and its level."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))
