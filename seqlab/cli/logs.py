"""Where messages go: to standard error, so that standard output carries results only, and to a file if one is named."""

import logging
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from seqlab.base.parsing import require_regular
from seqlab.base.progress import hide_progress_bars
from seqlab.cli.errors import printable
from seqlab.cli.streams import say

_BEGINS_A_LOG = re.compile(rb"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} [A-Z]+ ")
_files: list[logging.Handler] = []
"""What writes to the log file, where there is one."""


def set_up_logging(*, quiet: bool = False, log_file: str | None = None, others: Sequence[str] = ()) -> None:
    """Send seqlab's log to standard error, coloured on a terminal and plain lines elsewhere, and to a file.

    Args:
        quiet: leave out all but warnings and errors, progress bars too.
        log_file: where to add all messages with their times, whatever `quiet` is.
        others: the other arguments of the command, some of which name files.

    Raises:
        OSError: the file cannot be opened.
        ValueError: it is another file of the command, or is there and is no log.
    """
    logging.raiseExceptions = False  # a message that cannot be written is no reason to print another
    shown = logging.WARNING if quiet else logging.INFO
    handlers = [_on_standard_error()]
    handlers[0].setFormatter(_Plain())
    handlers[0].setLevel(shown)
    hide_progress_bars(quiet)
    _files.clear()
    if log_file is not None:
        _refuse_other_file(Path(log_file), others)
        _files.append(_LogFile(Path(log_file), "a", encoding="utf-8", errors="backslashreplace"))
        _files[0].setFormatter(_Dated("%(asctime)s %(levelname)s %(message)s"))
        handlers += _files
    logging.basicConfig(level=logging.WARNING, handlers=handlers, force=True)
    logging.getLogger("seqlab").setLevel(logging.INFO)


def note_error(text: str) -> None:
    """Add an error to the log file, where there is one: standard error has it already."""
    for handler in _files:
        handler.handle(logging.LogRecord("seqlab", logging.ERROR, "", 0, text, None, None))


def _refuse_other_file(path: Path, others: Sequence[str]) -> None:
    """Raise ValueError where messages would be added to a file that is something else, or to one without an end."""
    if any(path.resolve() == Path(other.partition("#")[0]).resolve() for other in others if "\0" not in other):
        raise ValueError(f"--log_file {path} is another file of this command: name one of its own.")
    if path.exists():
        require_regular(path)
        first = path.open("rb").readline(80)
        if first and not _BEGINS_A_LOG.match(first):
            raise ValueError(f"--log_file {path} is there and is no log of seqlab: name another file.")


class _LogFile(logging.FileHandler):
    """A log file that says once where it cannot be written."""

    _has_failed = False

    def handleError(self, record: logging.LogRecord) -> None:
        """Print one line."""
        if not self._has_failed:
            self._has_failed = True
            say(f"warning: {self.baseFilename} cannot be written: it lacks messages")


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
