"""Exceptions to one line and an exit status; programming errors are left to Python's traceback."""

import errno
import re
import signal

from seqlab.cli.streams import STANDARD_OUTPUT
from seqlab.commands import INCOMPLETE
from seqlab.elsewhere import is_raised_by_seqlab

CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""Characters that a terminal would obey, which the names that a file holds may have; not tabs and ends of lines."""
FAILURE, USER_MISTAKE, BROKEN_PIPE = 1, 2, 128 + signal.SIGPIPE
STATUSES = {
    0: "done, perhaps with warnings",
    FAILURE: "a failure: memory or the disk ran out, a file cannot be written, a process was lost",
    USER_MISTAKE: "a mistake: an unknown option, a missing or damaged file, bytes that are not UTF-8",
    INCOMPLETE: "done, but some inputs have no answer: warnings name them, an empty line stands for each",
    128 + signal.SIGINT: "Ctrl-C (SIGINT)",
    BROKEN_PIPE: "whoever read the output closed the pipe, as `head` does (SIGPIPE)",
    128 + signal.SIGTERM: "SIGTERM",
}
"""What each exit status of the command line means."""


def printable(text: str) -> str:
    """Escape control characters: a message goes to a terminal, whatever the file holds that it is about."""
    return CONTROLS.sub(lambda found: repr(found[0])[1:-1], text)


def explain(error: BaseException) -> tuple[str, int] | None:
    """Return what to print and the exit status, or None where the traceback is what is needed."""
    signal_number = getattr(error, "signal_number", None)
    if isinstance(signal_number, int):  # training.Interrupted, which is not imported here: it would load torch
        return str(error), 128 + signal_number
    if isinstance(error, KeyboardInterrupt):
        return "interrupted", 128 + signal.SIGINT
    if isinstance(error, OSError) and error.errno is not None:
        if error.errno == errno.EBADF and error.filename == STANDARD_OUTPUT:
            return "error: standard output is closed, so that results would be lost: redirect it to a file", FAILURE
        named = f"{error.filename}: " if error.filename else ""
        is_mistake = isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError | NotADirectoryError)
        return f"error: {named}{error.strerror}", USER_MISTAKE if is_mistake else FAILURE
    if is_raised_by_seqlab(error):
        if isinstance(error, ValueError | OSError):
            return f"error: {error}", USER_MISTAKE
        if isinstance(error, RuntimeError | ArithmeticError | MemoryError):
            return f"error: {error}", FAILURE
    if _is_out_of_memory(error):
        advice = "lower `--batch_tokens`, or `--buffer_lines` where the input is long, in training the model's size"
        return f"error: memory ran out: {advice}", FAILURE
    return None


def _is_out_of_memory(error: BaseException) -> bool:
    """Know torch's errors by name and text, as importing it would make every command slow to start."""
    is_torch = type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(error)
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and is_torch)
