"""Settings of glibc's memory allocator: keep freed memory, and use huge pages."""

import ctypes
import functools
import os
import platform
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

# <malloc.h> and <asm-generic/mman-common.h>
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
_MADV_HUGEPAGE = 14
_OVERCOMMIT_SETTING, _NEVER_OVERCOMMIT = Path("/proc/sys/vm/overcommit_memory"), "2"

BLOCKS_PER_RELEASE = 16
"""Number of blocks of input between two releases of the heap."""


@functools.cache
def prepare_heap() -> None:
    """Make glibc keep freed memory and use huge pages; does nothing with other C libraries.

    By default, each allocation of a large tensor maps new memory, which causes page faults, and its pages of 4 KiB are
    too many for the TLB. On Multi30k, keeping the memory made the training of a Transformer 25% faster, and huge pages
    another 2.5%. The settings apply to the entire process: freed memory is reused, but not returned to the system.
    Without huge pages or enough address space, only the first setting takes effect.
    """
    libc = _glibc()
    if libc is not None:
        libc.mallopt(_M_MMAP_MAX, 0)
        libc.mallopt(_M_TRIM_THRESHOLD, -1)
        _reserve_huge_pages(libc)


def release_heap() -> None:
    """Return the free memory of the heap to the system; does nothing with other C libraries.

    Call it between two kinds of work, such as training and validation: tensors of the second kind do not fit into the
    gaps that the first leaves in the heap. It reduced the memory of training a Transformer on Multi30k with validation
    from 1.44 GB to 1.25 GB.
    """
    libc = _glibc()
    if libc is not None:
        libc.malloc_trim(0)
        _reserve_huge_pages(libc)  # trimming also returned the part of the heap with the advice


def release_between(blocks: Iterable[T]) -> Iterator[T]:
    """Yield blocks of input, and call `release_heap` after every `BLOCKS_PER_RELEASE` blocks.

    Each block leaves gaps in the heap that are too small for tensors of the next one. Computing the perplexity of a
    Transformer over 2 million lines took 1.1 GB without releases, and 0.6 GB with them, as over 100,000 lines. A
    release after every block took 15% more time.
    """
    for number, block in enumerate(blocks, start=1):
        yield block
        if number % BLOCKS_PER_RELEASE == 0:
            release_heap()


def _glibc() -> ctypes.CDLL | None:
    """Load glibc and declare its functions; None with another C library."""
    if platform.libc_ver()[0] != "glibc":
        return None
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    libc.free.restype, libc.free.argtypes = None, [ctypes.c_void_p]
    libc.malloc_trim.argtypes = [ctypes.c_size_t]
    libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    return libc


def _reserve_huge_pages(libc: ctypes.CDLL) -> None:
    """Extend the heap by address space of half of the machine's memory, and advise huge pages for that part.

    Later extensions of the heap have no such advice: glibc requests huge pages itself only if the environment variable
    GLIBC_TUNABLES was set at the start of the process. Does nothing if the system forbids overcommitting memory.
    """
    if _OVERCOMMIT_SETTING.exists() and _OVERCOMMIT_SETTING.read_text().strip() == _NEVER_OVERCOMMIT:
        return
    page = os.sysconf("SC_PAGE_SIZE")
    pages = os.sysconf("SC_PHYS_PAGES") // 2
    start = libc.malloc(pages * page)
    if start is not None:
        first_page = -(-start // page) * page
        libc.madvise(first_page, (pages - 1) * page, _MADV_HUGEPAGE)
        libc.free(start)
