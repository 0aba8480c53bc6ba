"""The process of the command line: `seqlab`, `python -m seqlab` and `torchrun -m seqlab`."""

import os
import signal
import sys
from contextlib import suppress
from types import FrameType

INTERRUPTED = 128 + signal.SIGINT
_interrupted = False
"""Whether Ctrl-C was pressed."""


def run() -> int:
    """Run the command that the arguments name and return its exit status."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # as in the background of a shell
        signal.signal(signal.SIGINT, _interrupt)
    try:
        from seqlab.cli.errors import USER_MISTAKE
        from seqlab.cli.main import main
        from seqlab.cli.streams import close_streams, prepare_streams, say

        prepare_streams()
        if not _has_working_directory():
            say("seqlab: error: the working directory was deleted: change to another")
            return USER_MISTAKE
        sys.unraisablehook = _unraisable
        status = main()
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        close_streams()
    except BaseException:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        if not _interrupted:
            raise
        # Before there was a command, or after it; or a library has swallowed the exception, and failed for it.
        with suppress(OSError):
            os.write(2, b"seqlab: interrupted\n")
        return INTERRUPTED
    return status


def _interrupt(number: int, frame: FrameType | None) -> None:
    global _interrupted
    _interrupted = True
    raise KeyboardInterrupt


def _has_working_directory() -> bool:
    """Tell whether relative paths mean anything, which torch and MKL take for granted when they are loaded."""
    try:
        os.getcwd()
    except FileNotFoundError:
        return False
    return True


def _unraisable(what: "sys.UnraisableHookArgs") -> None:
    """Raise a Ctrl-C again that came while an object was being deleted: there an exception leads nowhere."""
    if isinstance(what.exc_value, KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    else:
        sys.__unraisablehook__(what)


if __name__ == "__main__":
    from seqlab.base.world import is_under_torchrun

    status = run()
    if is_under_torchrun():
        # A thread that outlives its process group (see `seqlab.base.ranks`) aborts the process now and then while the
        # interpreter ends, and torchrun would start a finished job anew.
        os._exit(status)
    sys.exit(status)
