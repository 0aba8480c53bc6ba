"""Forked worker processes that share the rows of a call: the fastest decoding on a CPU.

Two processes with one thread each decode 1.15 times as many tokens per second as one process with two threads, because
no operation waits for the slower of two threads. Paired measurements range from 1.0 to 1.4; the gain is larger when
other programs use less memory bandwidth. Python threads wait for the global interpreter lock (1.02 times).
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

from seqlab.base.world import ComputeRows, ProgressCallback
from seqlab.remote_errors import RemoteError

T = TypeVar("T")

MIN_ROWS_PER_WORKER = 100
"""Minimum number of rows per worker. With too few rows for two workers, this process computes with all its threads."""
MAX_WORKERS = 8
"""Maximum default number of workers: each needs about half a gigabyte of memory for its batches."""
CAN_FORK = sys.platform == "linux"  # on other systems, system libraries may fail in a forked process
_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def default_num_workers(device: torch.device) -> int:
    """Return the default number of workers for a device: on the CPU, one for each thread of this process."""
    return min(MAX_WORKERS, torch.get_num_threads()) if device.type == "cpu" and CAN_FORK else 1


class ForkedWorkers:
    """Worker processes that are forked for each call and end when it returns.

    A worker shares the memory of the models with this process. It computes with one thread, because the other threads
    of OpenMP do not exist in a forked process, and it would wait for them forever.
    """

    def __init__(self, count: int) -> None:
        """Set the number of workers, which are started later.

        Raises:
            ValueError: `count` is below 1, or above 1 on a system other than Linux.
        """
        if count < 1:
            raise ValueError(f"`processes` must be at least 1, but is {count} instead.")
        if count > 1 and not CAN_FORK:
            raise ValueError(f"`processes` is {count}, but worker processes need Linux: set it to 1.")
        self.count = count

    def map_rows(
        self, lengths: Sequence[int], compute: ComputeRows[T], on_rows: ProgressCallback | None = None
    ) -> list[T]:
        """Compute a value per row in parallel; `compute` receives the indices of the rows of a worker.

        All workers receive rows of similar total length. For few rows there are fewer workers, or none. `on_rows` is
        called in this process with the numbers of rows that the workers report. An exception of `compute` is raised
        here. The values must be picklable.

        Returns:
            The values in the order of the rows.

        Raises:
            RuntimeError: a worker was killed.
        """
        count = min(self.count, len(lengths) // MIN_ROWS_PER_WORKER)
        if count < 2:
            return compute(list(range(len(lengths))), on_rows)
        order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
        with ExitStack() as workers:
            shares = (order[k::count] for k in range(count))
            return _collect([workers.enter_context(_Worker(compute, rows)) for rows in shares], on_rows)


class _Worker:
    """A worker process for some rows. Its messages are numbers of finished rows and, at the end, the list of values."""

    def __init__(self, compute: ComputeRows[T], rows: list[int]) -> None:
        self.rows = rows
        self.received, sender = multiprocessing.Pipe(duplex=False)
        arguments = (compute, rows, sender, os.getpid())
        self._process = multiprocessing.get_context("fork").Process(target=_run_worker, args=arguments, daemon=True)
        with (
            _block_sigint()
        ):  # Ctrl-C in a terminal signals all processes: workers ignore it, and this process kills them
            self._process.start()
        sender.close()

    def receive(self) -> Any:
        """Receive the next message, a number of rows or a list of values; re-raise an exception of the worker."""
        try:
            message = self.received.recv()
        except (EOFError, OSError):  # the worker ended before or within a message
            self._process.join()
            killed = self._process.exitcode == -signal.SIGKILL
            raise RuntimeError(
                f"A worker process ended with status {self._process.exitcode}"
                f"{': it may have run out of memory; lower `processes` to use less' if killed else ''}."
            ) from None
        if isinstance(message, RemoteError):
            message.reraise()
        return message

    def __enter__(self) -> "_Worker":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.join()
        self.received.close()


def _block_sigint() -> ExitStack:
    """Block SIGINT in this thread until exit, and permanently in processes that are forked before it."""
    restore = ExitStack()
    restore.callback(
        signal.pthread_sigmask, signal.SIG_SETMASK, signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    )
    return restore


def _run_worker(compute: ComputeRows[T], rows: list[int], sender: Connection, parent: int) -> None:
    """Compute the rows of a worker in its process, and send the messages."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # the kernel kills the worker when its parent ends
    if os.getppid() != parent:
        return
    torch.set_num_threads(1)
    try:
        message: Any = compute(rows, sender.send)
    except Exception as error:
        message = RemoteError.from_error(error)
    # Pickled by value: `Connection.send` would share tensors through files of this process, which ends now.
    sender.send_bytes(pickle.dumps(message))


def _collect(workers: Iterable[_Worker], on_rows: ProgressCallback | None) -> list[Any]:
    """Receive the messages of all workers, and return the values in the order of the rows."""
    values: dict[int, Any] = {}
    waiting: dict[Any, _Worker] = {worker.received: worker for worker in workers}
    while waiting:
        for ready in wait(list(waiting)):
            worker = waiting[ready]
            message = worker.receive()
            if isinstance(message, list):
                values.update(zip(worker.rows, message, strict=True))
                del waiting[ready]
            elif on_rows is not None:
                on_rows(message)
    return [values[i] for i in range(len(values))]
