"""Prefetching of items in a background thread."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Generic, TypeVar

import torch

T = TypeVar("T")
_thread_count_lock = threading.Lock()


def use_one_torch_thread() -> None:
    """Limit torch to one core in the calling thread only.

    Otherwise, the first large operation of the thread starts another team of OpenMP threads. With more threads than
    cores, OpenMP threads sleep between operations, and training takes up to twice as long.
    """
    with _thread_count_lock:
        default = torch.get_num_threads()
        torch.set_num_threads(1)
        # This also sets the default of later threads. A temporary thread restores it without changing this thread.
        setter = threading.Thread(target=torch.set_num_threads, args=(default,))
        setter.start()
        setter.join()


@dataclass(frozen=True)
class _Failed:
    error: BaseException


class _Ended:
    pass


class Prefetch(Generic[T]):
    """Iterator that prepares up to `depth` items ahead; as a context manager, it ends its thread on exit.

    Items, order and exceptions are those of `items`. `close` discards prepared items. To resume afterwards, each item
    must contain its position.
    """

    def __init__(self, items: Iterator[T], depth: int) -> None:
        if depth < 0:
            raise ValueError(f"`depth` must be at least 0, but is {depth} instead.")
        self._items = items
        self._queue: queue.Queue[T | _Failed | _Ended] = queue.Queue(max(depth, 1))
        self._closed = threading.Event()
        self._done = False
        self._thread = threading.Thread(target=self._produce, name="seqlab-prefetch", daemon=True) if depth else None
        if self._thread is not None:
            self._thread.start()

    def __iter__(self) -> Prefetch[T]:
        return self

    def __next__(self) -> T:
        if self._done or self._closed.is_set():
            raise StopIteration
        if self._thread is None:
            return next(self._items)
        item = self._queue.get()
        if isinstance(item, _Ended):
            self._done = True
            raise StopIteration
        if isinstance(item, _Failed):
            self._done = True
            raise item.error
        return item

    def close(self) -> None:
        """End the thread after the item that it is preparing."""
        self._closed.set()
        if self._thread is None:
            return
        while self._thread.is_alive():
            self._drain()  # the thread may be waiting for space in the queue
            self._thread.join(timeout=0.01)
        self._drain()

    def __enter__(self) -> Prefetch[T]:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()

    def _produce(self) -> None:
        use_one_torch_thread()
        try:
            for item in self._items:
                self._queue.put(item)
                if self._closed.is_set():
                    return
            self._queue.put(_Ended())
        except BaseException as error:  # re-raised in `__next__`
            self._queue.put(_Failed(error))

    def _drain(self) -> None:
        try:
            while True:
                self._queue.get_nowait()
        except queue.Empty:
            pass
