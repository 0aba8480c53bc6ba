"""Threads in the background leave the cores to the main thread."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from seqlab.data.background import use_one_core
from seqlab.data.prefetch import Prefetch


@pytest.fixture(autouse=True)
def three_threads():
    """Give torch three threads, whatever the machine has."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def _in_new_thread() -> int:
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    return found[0]


def test_threads_that_prepare_data_use_one_core_and_no_other_thread_does():
    with ThreadPoolExecutor(4, initializer=use_one_core) as threads:
        barrier = threading.Barrier(4, timeout=30)

        def count(_):
            barrier.wait()
            return torch.get_num_threads()

        assert list(threads.map(count, range(4))) == [1] * 4
        assert torch.get_num_threads() == 3
        assert _in_new_thread() == 3


def test_what_is_prefetched_is_prepared_on_one_core():
    items = (torch.get_num_threads() for _ in range(3))
    with Prefetch(items, depth=2) as prefetched:
        assert list(prefetched) == [1, 1, 1]
    assert torch.get_num_threads() == 3
