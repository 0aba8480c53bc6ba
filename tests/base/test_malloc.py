"""Heap settings: page faults and released memory, in subprocesses, since the settings cannot be undone."""

import platform
import subprocess
import sys

import pytest

PAGE_FAULT_SCRIPT = """
import resource, torch
from seqlab.base.malloc import prepare_heap
if {prepared}:
    prepare_heap()
    prepare_heap()
torch.ones(2**24).sum()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    torch.ones(2**24).sum()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""

RELEASE_SCRIPT = """
import torch
from pathlib import Path
from seqlab.base.malloc import prepare_heap, release_heap
def resident():
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1])
prepare_heap()
tensors = [torch.ones(2**18) for _ in range(200)]
del tensors[::2]
before = resident()
release_heap()
print(before - resident(), all(bool((each == 1).all()) for each in tensors))
huge, size = 0, 0
for line in Path("/proc/self/smaps").read_text().splitlines():
    name, *values = line.split()
    if name == "Size:":
        size = int(values[0])
    if name == "VmFlags:" and "hg" in values:
        huge += size
print(huge)
"""


def count_page_faults(*, prepared: bool) -> int:
    """Count the page faults of 20 successive tensors of 64 MiB."""
    command = [sys.executable, "-c", PAGE_FAULT_SCRIPT.format(prepared=prepared)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only for glibc")
def test_prepared_heap_reuses_freed_memory_without_page_faults() -> None:
    assert count_page_faults(prepared=False) > 20 * count_page_faults(prepared=True)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the resident memory is read from /proc")
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only for glibc")
def test_release_heap_frees_gaps_and_keeps_tensors() -> None:
    released, is_kept, huge = subprocess.run(
        [sys.executable, "-c", RELEASE_SCRIPT], check=True, capture_output=True, text=True
    ).stdout.split()
    assert int(released) > 80 * 1024  # kB, of 100 MiB that were freed
    assert is_kept == "True"
    assert int(huge) > 256 * 1024  # kB of the heap with huge pages
