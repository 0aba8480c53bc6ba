"""Where messages go: to standard error, so that standard output carries results only."""

import logging
import sys

from seqlab.cli.errors import printable


def set_up_logging() -> None:
    """Send seqlab's log to standard error: coloured on a terminal, plain lines elsewhere."""
    handler: logging.Handler
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.logging import RichHandler

        handler = RichHandler(console=Console(stderr=True), show_path=False, show_time=False, show_level=False)
    else:
        handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Plain())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("seqlab").setLevel(logging.INFO)


class _Plain(logging.Formatter):
    """The message alone; what is more than information begins with its level."""

    def format(self, record: logging.LogRecord) -> str:
        text = printable(super().format(record))
        return text if record.levelno <= logging.INFO else f"{record.levelname.lower()}: {text}"
