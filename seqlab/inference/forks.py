"""Copies of this process that divide rows among themselves: how the CPU decodes fastest.

Two processes of one thread each decode 1.3 to 1.45 times as many tokens a second as one process of two threads: nothing
waits for the slower thread of each small operation. Threads of Python would wait for its lock instead (1.02 times).
"""

import multiprocessing
import signal
import sys
from collections.abc import Sequence
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar

import torch

from seqlab.world import Compute, Progress

T = TypeVar("T")

ROWS_PER_FORK = 100
"""Rows for which a copy pays: with fewer, all threads work on one batch instead."""


MOST_FORKS = 8
"""Copies that are made where nobody says how many: each needs the memory of its batches, half a gigabyte or so."""
CAN_FORK = sys.platform == "linux"  # elsewhere a system's own libraries break in a copy


def choose_count(device: torch.device) -> int:
    """Give the number of copies for a device: one for each of this process's threads on the CPU."""
    return min(MOST_FORKS, torch.get_num_threads()) if device.type == "cpu" and CAN_FORK else 1


class Forks:
    """As many copies of this process as were asked for, made anew for each call and gone when it returns.

    A copy has the models in memory without copying them. Where this process is killed, its copies end when they have
    computed their part.
    """

    def __init__(self, count: int) -> None:
        """Make none yet.

        Raises:
            ValueError: the count is below 1, or above it on another system than Linux.
        """
        if count < 1:
            raise ValueError(f"`processes` must be at least 1, but is {count} instead.")
        if count > 1 and not CAN_FORK:
            raise ValueError(f"`processes` is {count}, but only on Linux can a process be copied: take 1.")
        self.count = count

    def spread(
        self,
        lengths: Sequence[int],
        compute: Compute[T],
        progress: Progress | None = None,
    ) -> list[T]:
        """Let each copy compute what belongs to some of the rows, given their indices; give all of it in order.

        The copies get rows that are about equally long, and divide the threads of this process. `progress` hears here
        what each of them tells it. An exception of `compute` is raised here, what is sent must be picklable.

        Raises:
            RuntimeError: a copy was killed.
        """
        count = min(self.count, len(lengths) // ROWS_PER_FORK)
        if count <= 1:
            return compute(list(range(len(lengths))), progress)
        order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
        threads = max(1, torch.get_num_threads() // count)
        forks = [_Fork(compute, order[k::count], threads) for k in range(count)]
        try:
            return _in_order(forks, progress)
        finally:
            for fork in forks:
                fork.end()


class _Fork:
    """A copy of this process that computes some rows, and what it sends: how many are done, then the values."""

    def __init__(self, compute: Compute[T], rows: list[int], threads: int) -> None:
        self.rows = rows
        self.received, sender = multiprocessing.Pipe(duplex=False)
        context = multiprocessing.get_context("fork")
        self._process = context.Process(target=_serve, args=(compute, rows, threads, sender), daemon=True)
        self._process.start()
        sender.close()

    def receive(self) -> Any:
        """Take the next message: a number of rows, or a list of values; raises what the copy raised."""
        try:
            message = self.received.recv()
        except EOFError:
            self._process.join()
            killed = self._process.exitcode == -signal.SIGKILL
            raise RuntimeError(
                f"A process that computes some of the lines ended with status {self._process.exitcode}"
                f"{': memory may have run out, of which fewer `processes` need less' if killed else ''}."
            ) from None
        if isinstance(message, BaseException):
            raise message
        return message

    def end(self) -> None:
        """End the copy, whatever it does."""
        self._process.kill()
        self._process.join()
        self.received.close()


def _serve(compute: Compute[T], rows: list[int], threads: int, sender: Connection) -> None:
    """Be the copy."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all: the first process ends this one
    torch.set_num_threads(threads)
    try:
        message: Any = compute(rows, sender.send)
    except Exception as error:
        message = error
    sender.send(message)


def _in_order(forks: Sequence[_Fork], progress: Progress | None) -> list[Any]:
    """Receive what all send, and put the values in the order of the rows."""
    values: dict[int, Any] = {}
    waiting: dict[Any, _Fork] = {fork.received: fork for fork in forks}
    while waiting:
        for ready in wait(list(waiting)):
            fork = waiting[ready]
            message = fork.receive()
            if isinstance(message, list):
                values.update(zip(fork.rows, message, strict=True))
                del waiting[ready]
            elif progress is not None:
                progress(message)
    return [values[i] for i in range(len(values))]
