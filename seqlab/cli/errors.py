"""Error messages and exit statuses: user errors become one line, other exceptions keep their traceback."""

import errno
import re
import signal
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from seqlab.cli.streams import STANDARD_OUTPUT
from seqlab.commands import FOUND, INCOMPLETE
from seqlab.remote_errors import is_user_error

CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Controls that a terminal would execute, and marks that turn the direction of text, except tabs and line ends; texts
from files may contain them."""
FAILURE, USER_MISTAKE, BROKEN_PIPE = 1, 2, 128 + signal.SIGPIPE
REFUSED_NAMES = (errno.ENAMETOOLONG, errno.ELOOP, errno.EILSEQ)
"""Errors of the system about the name of a file itself."""
MAX_NAME = 256
"""Maximum length of a file name in a message; longer ones are shortened."""
LARGE_BEAM_SIZE = 20
"""Above this beam size, the advice after running out of memory names `--beam_size` first."""
MEMORY_OPTIONS = ("batch_tokens", "batch_rows", "batch_seconds", "buffer_lines", "max_line_bytes", "beam_size")
"""Options that determine the memory of a command; the probable causes come first."""
TORCH_OUT_OF_MEMORY = ("can't allocate memory", "Storage size calculation overflowed", "numel: integer multiplication")
NULL_CHARACTER = " Its name contains a null character, which no file name can have."
STATUSES = {
    0: "done, perhaps with warnings",
    FAILURE: "a failure: out of memory or disk space, a file cannot be written, a process was lost",
    USER_MISTAKE: "a mistake: an unknown option, a missing or damaged file, bytes that are not UTF-8",
    INCOMPLETE: "done, but some inputs have no result: warnings name them, their output lines are empty",
    FOUND: "`--fail-on`: something was found",
    128 + signal.SIGINT: "Ctrl-C (SIGINT)",
    BROKEN_PIPE: "the reader of the output closed the pipe, as `head` does (SIGPIPE)",
    128 + signal.SIGTERM: "SIGTERM",
}
"""Exit status -> meaning."""


def printable(text: str) -> str:
    """Escape control characters, so that a message with text from a file is safe on a terminal."""
    return CONTROLS.sub(lambda match: repr(match[0])[1:-1], text)


def explain(error: BaseException) -> tuple[str, int] | None:
    """Return the message and the exit status of an exception; None if it needs a traceback."""
    signal_number = getattr(error, "signal_number", None)
    if isinstance(signal_number, int):  # `training.Interrupted`, whose import would load torch
        return str(error), 128 + signal_number
    if isinstance(error, KeyboardInterrupt):
        return "interrupted", 128 + signal.SIGINT
    if isinstance(error, OSError) and error.errno is not None:
        if error.errno == errno.EBADF and error.filename == STANDARD_OUTPUT:
            return "error: standard output is closed, so that results would be lost: redirect it to a file", FAILURE
        prefix = f"{_shortened(str(error.filename))}: " if error.filename else ""
        is_mistake = isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError | NotADirectoryError)
        is_mistake |= error.errno in REFUSED_NAMES
        return f"error: {prefix}{error.strerror}", USER_MISTAKE if is_mistake else FAILURE
    if isinstance(error, ValueError) and str(error).startswith("embedded null "):  # of Python's file functions
        return "error: a path contains a null character, which no file name can have", USER_MISTAKE
    if is_user_error(error):
        if isinstance(error, ValueError | OSError):
            has_null = isinstance(error, FileNotFoundError) and "\0" in str(error)
            return f"error: {error}{NULL_CHARACTER * has_null}", USER_MISTAKE
        if isinstance(error, RuntimeError | ArithmeticError | MemoryError):
            return f"error: {error}", FAILURE
    if is_out_of_memory(error):
        return "error: memory ran out", FAILURE
    return None


def _shortened(name: str) -> str:
    """Return a name without its middle if it is longer than any file name."""
    return name if len(name) <= MAX_NAME else f"{name[: MAX_NAME // 2]}...{name[-MAX_NAME // 4 :]}"


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether memory ran out. Torch's errors are recognized by name and text, without the slow import."""
    is_torch = type(error).__name__ == "OutOfMemoryError" or any(text in str(error) for text in TORCH_OUT_OF_MEMORY)
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and is_torch)


def memory_advice(options: Mapping[str, Any]) -> str:
    """Return a message with the options of a command to lower after running out of memory, probable causes first."""
    has_large_beam = False
    with suppress(TypeError, ValueError):
        has_large_beam = float(options.get("beam_size") or 0) > LARGE_BEAM_SIZE
    names = ["beam_size"] if has_large_beam else []
    names += [name for name in MEMORY_OPTIONS if name in options and name not in names]
    advice = " or ".join(f"`--{name}`" for name in names) or "`--data.micro_batch_tokens` or the model's size"
    return f"memory ran out: lower {advice}"
