"""Logging to standard error and, with `--log_file`, to a file; standard output contains only results."""

import logging
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from seqlab.base.parsing import require_regular
from seqlab.base.progress import hide_progress_bars
from seqlab.cli.errors import printable
from seqlab.cli.streams import print_error

_LOG_LINE_START = re.compile(rb"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} [A-Z]+ ")
_file_handlers: list[logging.Handler] = []
"""Handler of the log file, if there is one."""


def set_up_logging(*, quiet: bool = False, log_file: str | None = None, other_files: Sequence[str] = ()) -> None:
    """Send log messages to standard error, in color on a terminal, and to a file.

    Args:
        quiet: show only warnings and errors, and no progress bars.
        log_file: file to which all messages are appended with their times, independent of `quiet`.
        others: the other arguments of the command, which may be files.

    Raises:
        OSError: the file cannot be opened.
        ValueError: the file is another argument of the command, or exists and is not a log.
    """
    logging.raiseExceptions = False  # do not report messages that cannot be written
    level = logging.WARNING if quiet else logging.INFO
    handlers = [_standard_error_handler()]
    handlers[0].setFormatter(_PlainFormatter())
    handlers[0].setLevel(level)
    hide_progress_bars(quiet)
    _file_handlers.clear()
    if log_file is not None:
        _refuse_other_file(Path(log_file), other_files)
        _file_handlers.append(_LogFile(Path(log_file), "a", encoding="utf-8", errors="backslashreplace"))
        _file_handlers[0].setFormatter(_DatedFormatter("%(asctime)s %(levelname)s %(message)s"))
        handlers += _file_handlers
    logging.basicConfig(level=logging.WARNING, handlers=handlers, force=True)
    logging.getLogger("seqlab").setLevel(logging.INFO)


def log_error(text: str) -> None:
    """Write an error to the log file, if there is one, but not to standard error."""
    for handler in _file_handlers:
        handler.handle(logging.LogRecord("seqlab", logging.ERROR, "", 0, text, None, None))


def _refuse_other_file(path: Path, other_files: Sequence[str]) -> None:
    """Raise ValueError if the log file is another argument, exists without being a log, or is not a regular file."""
    if any(path.resolve() == Path(other.partition("#")[0]).resolve() for other in other_files if "\0" not in other):
        raise ValueError(f"--log_file {path} is another file of this command: name a separate file.")
    if path.exists():
        require_regular(path)
        first = path.open("rb").readline(80)
        if first and not _LOG_LINE_START.match(first):
            raise ValueError(f"--log_file {path} is an existing file, but not a log of seqlab: name another file.")


class _LogFile(logging.FileHandler):
    """Log file that reports only its first write error."""

    _has_failed = False

    def handleError(self, record: logging.LogRecord) -> None:
        """Print a warning at the first error."""
        if not self._has_failed:
            self._has_failed = True
            print_error(f"warning: {self.baseFilename} cannot be written: messages are lost")


def _standard_error_handler() -> logging.Handler:
    if not sys.stderr.isatty():
        return logging.StreamHandler(sys.stderr)
    from rich.console import Console
    from rich.logging import RichHandler

    return RichHandler(console=Console(stderr=True), show_path=False, show_time=False, show_level=False)


class _PlainFormatter(logging.Formatter):
    """Formatter for the message, with the level before warnings and errors."""

    def format(self, record: logging.LogRecord) -> str:
        text = printable(super().format(record))
        return text if record.levelno <= logging.INFO else f"{record.levelname.lower()}: {text}"


class _DatedFormatter(logging.Formatter):
    """Formatter for the message with its time and level."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))
