"""Pool of worker processes that returns results in the order of the items."""

from __future__ import annotations

import os
import pickle
import queue
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, TypeVar

from seqlab.base.world import usable_cores
from seqlab.data.column import Column
from seqlab.remote_errors import RemoteError

T = TypeVar("T")
R = TypeVar("R")

BYTES_PER_WORKER = 4 << 20
"""Size of text per worker process; for less text, the half second that a process takes to start is too long."""
ITEMS_AHEAD = 2
"""Maximum number of items per process that are in progress or waiting to be returned in order. Memory grows with it."""
_WORKER_SCRIPT = """
import pickle, sys
sys.path[:] = pickle.load(sys.stdin.buffer)
from seqlab.data.workers import run_worker
run_worker()
"""


def worker_count(columns: Sequence[Column]) -> int:
    """Return the number of processes for reading columns on this machine; 1 means only the calling process."""
    sizes = {column.identity: column.num_bytes() for column in columns}
    return max(1, min(usable_cores(), sum(sizes.values()) // BYTES_PER_WORKER))


class Workers:
    """Pool of processes that apply functions; with a count of 1, the calling process applies them.

    `multiprocessing` is not used: its processes would import the user's script, and would start training if the script
    has no `__main__` guard. The processes end when their standard input ends, even if the caller is killed.
    """

    def __init__(self, count: int) -> None:
        if count < 1:
            raise ValueError(f"`workers` must be at least 1, but is {count} instead.")
        self._count = count
        self._processes: list[_Process] = []
        self._idle: queue.SimpleQueue[_Process] = queue.SimpleQueue()

    def map(self, function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        """Yield `function(item)` for each item, in order; only a few items are in memory at a time.

        The function, the items and the results are pickled. Exceptions of the function are re-raised in this process.
        """
        if self._count == 1:
            yield from map(function, items)
            return
        self._start()
        pickled = pickle.dumps(function)
        threads = ThreadPoolExecutor(self._count)  # one thread per process, which waits for its results
        pending: deque[Future[R]] = deque()
        try:
            for item in items:
                if len(pending) == ITEMS_AHEAD * self._count:
                    yield pending.popleft().result()
                pending.append(threads.submit(self._apply, pickled, item))
            while pending:
                yield pending.popleft().result()
        finally:
            threads.shutdown(cancel_futures=True)

    def _start(self) -> None:
        while len(self._processes) < self._count:
            self._processes.append(_Process())
            self._idle.put(self._processes[-1])

    def _apply(self, function: bytes, item: Any) -> Any:
        process = self._idle.get()
        try:
            return process.apply(function, item)
        finally:
            self._idle.put(process)

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        for process in self._processes:
            process.close()


class _Process:
    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _WORKER_SCRIPT],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"TOKENIZERS_PARALLELISM": "false"},  # the processes use all cores already
        )
        self._function = b""
        self._send(sys.path)

    def apply(self, function: bytes, item: Any) -> Any:
        try:
            self._send((None if function is self._function else function, item))
            self._function = function
            assert self._process.stdout is not None
            result = pickle.load(self._process.stdout)
        except (EOFError, BrokenPipeError, pickle.UnpicklingError):
            status = self._process.wait()
            raise RuntimeError(
                f"A worker process of data preparation ended with status {status}"
                f"{': the machine may be out of memory' if status == -signal.SIGKILL else ''}."
            ) from None
        if isinstance(result, RemoteError):
            result.reraise()
        return result

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()

    def _send(self, value: Any) -> None:
        assert self._process.stdin is not None
        pickle.dump(value, self._process.stdin, pickle.HIGHEST_PROTOCOL)
        self._process.stdin.flush()


def run_worker() -> None:
    """Run a worker process: apply functions to the items from standard input until it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is sent to all processes; the caller ends this process
    requests, results = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # output of libraries must not be mixed with the results
    function: Callable[[Any], Any] | None = None
    while True:
        try:
            pickled, item = pickle.load(requests)
        except EOFError:
            return
        try:
            function = pickle.loads(pickled) if pickled is not None else function
            assert function is not None
            result = function(item)
        except Exception as error:
            result = RemoteError.from_error(error)
        pickle.dump(result, results, pickle.HIGHEST_PROTOCOL)
        results.flush()
