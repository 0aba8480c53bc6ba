"""Entry point of the command line: `seqlab`, `python -m seqlab` and `torchrun -m seqlab`."""

import os
import signal
import sys
from contextlib import suppress
from types import FrameType

INTERRUPTED = 128 + signal.SIGINT
"""Exit status after Ctrl-C."""
_interrupted = False
"""Whether Ctrl-C was pressed."""


def run() -> int:
    """Run the command of the arguments, and return its exit status."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # ignored in background jobs of a shell
        signal.signal(signal.SIGINT, _interrupt)
    try:
        from seqlab.cli.errors import USER_MISTAKE
        from seqlab.cli.main import main
        from seqlab.cli.streams import close_streams, prepare_streams, print_error

        prepare_streams()
        if not _has_working_directory():
            print_error("seqlab: error: the working directory was deleted: change to another")
            return USER_MISTAKE
        sys.unraisablehook = _handle_unraisable
        status = main()
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        close_streams()
    except BaseException:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        if not _interrupted:
            raise
        # Ctrl-C before or after the command, or a library caught the exception and failed because of it.
        with suppress(OSError):
            os.write(2, b"seqlab: interrupted\n")
        return INTERRUPTED
    return status


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Handle SIGINT: set `_interrupted`, and raise KeyboardInterrupt."""
    global _interrupted
    _interrupted = True
    raise KeyboardInterrupt


def _has_working_directory() -> bool:
    """Return whether the working directory exists, which torch and MKL require when they are loaded."""
    try:
        os.getcwd()
    except FileNotFoundError:
        return False
    return True


def _handle_unraisable(unraisable: "sys.UnraisableHookArgs") -> None:
    """Re-raise a Ctrl-C that arrived in a destructor, where Python discards exceptions."""
    if isinstance(unraisable.exc_value, KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    else:
        sys.__unraisablehook__(unraisable)


if __name__ == "__main__":
    from seqlab.base.world import is_under_torchrun

    status = run()
    if is_under_torchrun():
        # A thread that outlives its process group (see `seqlab.base.ranks`) sometimes aborts the process during
        # interpreter shutdown, and torchrun would restart a finished job.
        os._exit(status)
    sys.exit(status)
