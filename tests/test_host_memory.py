"""Preparing the heap, seen from outside: in a process of its own, since it lasts as long as the process."""

import platform
import subprocess
import sys

import pytest

REUSE = """
import resource, torch
from seqlab.host_memory import prepare_heap
if {prepared}:
    prepare_heap()
    prepare_heap()
torch.ones(2**24).sum()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    torch.ones(2**24).sum()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(*, prepared: bool) -> int:
    """Count the page faults of 20 tensors of 64 MiB, one after the other."""
    command = [sys.executable, "-c", REUSE.format(prepared=prepared)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="there is nothing to prepare")
def test_freed_memory_is_not_faulted_in_again() -> None:
    assert faults(prepared=False) > 20 * faults(prepared=True)
