"""Heap settings: page faults and released memory, in separate processes, since the settings cannot be undone."""

import platform
import resource
import sys
from pathlib import Path

import pytest
import torch
from reference.processes import FORKSERVER

from seqlab.base.malloc import prepare_heap, release_heap


def count_page_faults(prepared: bool) -> int:
    """Count the page faults of 20 successive tensors of 64 MiB."""
    if prepared:
        prepare_heap()
        prepare_heap()
    torch.ones(2**24).sum()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        torch.ones(2**24).sum()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only for glibc")
def test_prepared_heap_reuses_freed_memory_without_page_faults() -> None:
    with FORKSERVER.Pool(2, maxtasksperchild=1) as pool:
        plain, prepared = pool.map(count_page_faults, [False, True], chunksize=1)
    assert plain > 20 * prepared


def resident_kilobytes() -> int:
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS:")]
    return int(line.split()[1])


def release_every_second_tensor() -> tuple[int, bool, int]:
    """Return the released kB, whether the other tensors are unchanged, and the kB of memory with huge pages."""
    prepare_heap()
    tensors = [torch.ones(2**18) for _ in range(200)]
    del tensors[::2]
    before = resident_kilobytes()
    release_heap()
    released, is_kept = before - resident_kilobytes(), all(bool((tensor == 1).all()) for tensor in tensors)
    huge, size = 0, 0
    for line in Path("/proc/self/smaps").read_text().splitlines():
        name, *values = line.split()
        if name == "Size:":
            size = int(values[0])
        if name == "VmFlags:" and "hg" in values:
            huge += size
    return released, is_kept, huge


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the resident memory is read from /proc")
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only for glibc")
def test_release_heap_frees_gaps_and_keeps_tensors() -> None:
    with FORKSERVER.Pool(1) as pool:
        released, is_kept, huge = pool.apply(release_every_second_tensor)
    assert released > 80 * 1024  # kB, of 100 MiB that were freed
    assert is_kept
    assert huge > 256 * 1024  # kB of the heap with huge pages
