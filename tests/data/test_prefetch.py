"""Prefetching in a thread: order, errors, closing, and the number of torch threads."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from seqlab.data.prefetch import Prefetch, use_one_torch_thread


def prefetch_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "seqlab-prefetch"]


@pytest.mark.parametrize("depth", [0, 1, 3, 100])
def test_items_are_yielded_in_order(depth: int) -> None:
    with Prefetch(iter(range(20)), depth) as items:
        assert list(items) == list(range(20))
        assert list(items) == []
    assert not prefetch_threads()


@pytest.mark.parametrize("depth", [0, 1, 3])
def test_an_error_is_raised_after_the_items_before_it(depth: int) -> None:
    def yield_two_and_fail() -> Iterator[int]:
        yield 1
        yield 2
        raise ValueError("line 3 is bad")

    with Prefetch(yield_two_and_fail(), depth) as items:
        assert next(items) == 1
        assert next(items) == 2
        with pytest.raises(ValueError, match="line 3 is bad"):
            next(items)
        with pytest.raises(StopIteration):
            next(items)
    assert not prefetch_threads()


@pytest.mark.parametrize("depth", [1, 3])
def test_closing_ends_a_thread_that_waits_for_space(depth: int) -> None:
    def endless() -> Iterator[int]:
        number = 0
        while True:
            yield number
            number += 1

    items = Prefetch(endless(), depth)
    assert next(items) == 0
    assert prefetch_threads()
    items.close()
    assert not prefetch_threads()
    items.close()  # closing twice is allowed
    with pytest.raises(StopIteration):
        next(items)


def test_at_most_depth_plus_one_items_are_prepared() -> None:
    produced = []

    def numbers() -> Iterator[int]:
        for number in range(100):
            produced.append(number)
            yield number

    with Prefetch(numbers(), 3) as items:
        for consumed in range(1, 6):
            next(items)
            time.sleep(0.02)
            assert len(produced) <= consumed + 4


def test_an_error_in_the_consumer_ends_the_thread() -> None:
    def fail() -> None:
        with Prefetch(iter(range(1000)), 2) as items:
            next(items)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert not prefetch_threads()


def test_a_negative_depth_is_refused() -> None:
    with pytest.raises(ValueError, match="`depth` must be at least 0, but is -1"):
        Prefetch(iter(()), -1)


@pytest.fixture
def three_threads() -> Iterator[None]:
    """Set the number of torch threads to three, and restore it afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def _torch_threads_in_new_thread() -> int:
    counts: list[int] = []
    thread = threading.Thread(target=lambda: counts.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    return counts[0]


@pytest.mark.usefixtures("three_threads")
def test_only_data_threads_are_limited_to_one_torch_thread() -> None:
    with ThreadPoolExecutor(4, initializer=use_one_torch_thread) as threads:
        barrier = threading.Barrier(4, timeout=30)

        def count(_: int) -> int:
            barrier.wait()
            return torch.get_num_threads()

        assert list(threads.map(count, range(4))) == [1] * 4
        assert torch.get_num_threads() == 3
        assert _torch_threads_in_new_thread() == 3


@pytest.mark.usefixtures("three_threads")
def test_prefetching_uses_one_torch_thread() -> None:
    items = (torch.get_num_threads() for _ in range(3))
    with Prefetch(items, depth=2) as prefetched:
        assert list(prefetched) == [1, 1, 1]
    assert torch.get_num_threads() == 3
