"""Heap settings, tested in a subprocess, as they last as long as the process."""

import platform
import subprocess
import sys

import pytest

REUSE = """
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

GAPS = """
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


def faults(*, prepared: bool) -> int:
    """Count the page faults of 20 successive tensors of 64 MiB."""
    command = [sys.executable, "-c", REUSE.format(prepared=prepared)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only for glibc")
def test_freed_memory_is_not_faulted_in_again() -> None:
    assert faults(prepared=False) > 20 * faults(prepared=True)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the resident memory is read from /proc")
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only for glibc")
def test_gaps_between_tensors_are_released_and_the_tensors_stay() -> None:
    printed = subprocess.run([sys.executable, "-c", GAPS], check=True, capture_output=True, text=True).stdout.split()
    assert int(printed[0]) > 80 * 1024  # kB of 100 MiB
    assert printed[1] == "True"
    assert int(printed[2]) > 256 * 1024  # kB: the rest of the heap, with huge pages
