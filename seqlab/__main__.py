"""Entry point of the command line: `seqlab`, `python -m seqlab` and `torchrun -m seqlab`."""

import os
import signal
import sys
from contextlib import suppress
from functools import partial
from types import FrameType

_received: int | None = None
"""The signal that stopped the command."""


class Terminated(KeyboardInterrupt):
    """SIGTERM outside the steps of training, which write a checkpoint first (`seqlab.training.stopping`)."""

    signal_number = signal.SIGTERM


def run() -> int:
    """Run the command of the arguments, and return its exit status."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # ignored in background jobs of a shell
        signal.signal(signal.SIGINT, _interrupt)
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, partial(_terminate, os.getpid()))
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
        _ignore_signals()
        close_streams()
    except BaseException:
        _ignore_signals()
        if _received is None:
            raise
        # A signal before or after the command, or a library caught the exception and failed because of it.
        with suppress(OSError):
            os.write(2, b"seqlab: interrupted\n" if _received == signal.SIGINT else b"seqlab: SIGTERM: stopped\n")
        return 128 + _received
    return status


def _ignore_signals() -> None:
    """Ignore further signals while the process ends."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Handle SIGINT: note it, and raise KeyboardInterrupt."""
    global _received
    _received = number
    raise KeyboardInterrupt


def _terminate(main_process: int, number: int, frame: FrameType | None) -> None:
    """Handle SIGTERM: note it, and raise an exception, so that the log file says why the command ended."""
    global _received
    if os.getpid() != main_process:  # a forked worker
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)
    _received = number
    raise Terminated("SIGTERM: stopped")


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
