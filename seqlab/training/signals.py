"""SIGTERM and Ctrl-C end training after the current step, with a checkpoint."""

import signal
import threading
from types import FrameType, TracebackType

from seqlab.base.world import World


class Interrupted(Exception):
    """Training was asked to end and did, after writing a checkpoint."""

    def __init__(self, signal_number: int, step: int) -> None:
        super().__init__(
            f"{signal.Signals(signal_number).name}: stopped after step {step} with a checkpoint; "
            "the same command continues."
        )
        self.signal_number = signal_number


class StopRequest:
    """Within this context the first SIGTERM or SIGINT is remembered; a second SIGINT raises KeyboardInterrupt.

    Not so on several ranks: there torchrun passes on a Ctrl-C that the terminal may have sent too.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self._own: int | None = None
        self._previous: dict[int, signal.Handlers | int | None] = {}

    def __enter__(self) -> "StopRequest":
        if threading.current_thread() is threading.main_thread():  # elsewhere Python allows no handlers
            for number in (signal.SIGTERM, signal.SIGINT):
                self._previous[number] = signal.getsignal(number)  # type: ignore[assignment]
                signal.signal(number, self._remember)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def signal_number(self) -> int | None:
        """Give the signal that any rank was sent, the same on all; they must ask together."""
        return int(self.world.max(self._own or 0)) or None

    def _remember(self, number: int, _: FrameType | None) -> None:
        if self._own is not None and number == signal.SIGINT and self.world.is_single_process:
            raise KeyboardInterrupt
        self._own = number
