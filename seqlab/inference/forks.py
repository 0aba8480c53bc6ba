"""Copies of this process that divide rows among themselves: how the CPU decodes fastest.

Two processes of one thread each decode 1.15 times as many tokens a second as one process of two threads (by pairs; 1.0
to 1.4, the more the less other work takes of the memory's bandwidth): nothing waits for the slower thread of each small
operation. Threads of Python would wait for its lock instead (1.02 times).
"""

import ctypes
import multiprocessing
import os
import pickle
import signal
import sys
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar

import torch

from seqlab.base.world import ComputeRows, OnRows
from seqlab.remote_errors import RemoteError

T = TypeVar("T")

MIN_ROWS_PER_WORKER = 100
"""Rows for which a copy pays: where there are not enough for two, this process computes with all its threads."""
MAX_WORKERS = 8
"""Copies that are made where nobody says how many: each needs the memory of its batches, half a gigabyte or so."""
CAN_FORK = sys.platform == "linux"  # elsewhere a system's own libraries break in a copy
_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def default_num_workers(device: torch.device) -> int:
    """Give the number of copies for a device: one for each of this process's threads on the CPU."""
    return min(MAX_WORKERS, torch.get_num_threads()) if device.type == "cpu" and CAN_FORK else 1


class ForkedWorkers:
    """As many copies of this process as were asked for, made anew for each call and gone when it returns.

    A copy has the models in memory without copying them. It computes with one thread: OpenMP's other threads are not
    copied, and waiting for them would have no end.
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

    def map_rows(self, lengths: Sequence[int], compute: ComputeRows[T], on_rows: OnRows | None = None) -> list[T]:
        """Let each copy compute what belongs to some of the rows, given their indices; give all of it in order.

        The copies get rows that are about equally long; where there are few, fewer copies or none are made. `on_rows`
        hears here what each of them tells it. An exception of `compute` is raised here; what is sent must be picklable.

        Raises:
            RuntimeError: a copy was killed.
        """
        count = min(self.count, len(lengths) // MIN_ROWS_PER_WORKER)
        if count < 2:
            return compute(list(range(len(lengths))), on_rows)
        order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
        with ExitStack() as forks:
            shares = (order[k::count] for k in range(count))
            return _in_order([forks.enter_context(_Fork(compute, own)) for own in shares], on_rows)


class _Fork:
    """A copy of this process that computes some rows, and what it sends: how many are done, then the values."""

    def __init__(self, compute: ComputeRows[T], rows: list[int]) -> None:
        self.rows = rows
        self.received, sender = multiprocessing.Pipe(duplex=False)
        arguments = (compute, rows, sender, os.getpid())
        self._process = multiprocessing.get_context("fork").Process(target=_serve, args=arguments, daemon=True)
        with _without_ctrl_c():  # it goes to all: the copy is deaf to it, and this process ends it
            self._process.start()
        sender.close()

    def receive(self) -> Any:
        """Take the next message: a number of rows, or a list of values; raises what the copy raised."""
        try:
            message = self.received.recv()
        except (EOFError, OSError):  # it ended before a message, or within one
            self._process.join()
            killed = self._process.exitcode == -signal.SIGKILL
            raise RuntimeError(
                f"A process that computes some of the lines ended with status {self._process.exitcode}"
                f"{': memory may have run out, of which fewer `processes` need less' if killed else ''}."
            ) from None
        if isinstance(message, RemoteError):
            message.reraise()
        return message

    def __enter__(self) -> "_Fork":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.join()
        self.received.close()


def _without_ctrl_c() -> ExitStack:
    """Hold SIGINT back in this thread, and in the copies that are made meanwhile for ever."""
    held = ExitStack()
    held.callback(signal.pthread_sigmask, signal.SIG_SETMASK, signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT]))
    return held


def _serve(compute: ComputeRows[T], rows: list[int], sender: Connection, parent: int) -> None:
    """Be the copy."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # it ends with its parent, however that ends
    if os.getppid() != parent:
        return
    torch.set_num_threads(1)
    try:
        message: Any = compute(rows, sender.send)
    except Exception as error:
        message = RemoteError.from_error(error)
    # By value: the pipe's own way hands tensors over as files of this process, which ends now.
    sender.send_bytes(pickle.dumps(message))


def _in_order(forks: Iterable[_Fork], on_rows: OnRows | None) -> list[Any]:
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
            elif on_rows is not None:
                on_rows(message)
    return [values[i] for i in range(len(values))]
