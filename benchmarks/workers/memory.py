"""How much memory this process has needed so far."""

import resource
import sys
from pathlib import Path

STATUS = Path("/proc/self/status")


def peak_memory_mb(device: str = "cpu") -> float:
    """Return the largest resident set in MB (10^6 bytes), or on a GPU the most that torch has allocated."""
    if device.startswith("cuda"):
        import torch

        return torch.cuda.max_memory_allocated(device) / 1e6
    if STATUS.exists():
        # `ru_maxrss` begins with the size of the process that this one was forked from.
        line = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024 / 1e6
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
