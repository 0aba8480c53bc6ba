"""How much memory this process has needed so far, and how much it and those below it need at one time."""

import os
import resource
import sys
import threading
from pathlib import Path
from types import TracebackType

STATUS = Path("/proc/self/status")
SAMPLE_SECONDS = 0.05


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


class TreeMemory:
    """The largest sum of the memory of this process and all below it within a context, sampled; Linux only.

    It is the memory that belongs to no file. What processes share after a fork counts for each.
    """

    def __init__(self) -> None:
        self.tree_mb: float | None = None
        self.main_mb: float | None = None
        self.others_mb = 0.0
        """The largest sum of all but this process."""
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> "TreeMemory":
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._ended.set()
        self._thread.join()

    def _sample(self) -> None:
        while STATUS.exists():
            main, *others = (anonymous_mb(pid) for pid in [os.getpid(), *_descendants(os.getpid())])
            self.main_mb = max(self.main_mb or 0.0, main)
            self.tree_mb = max(self.tree_mb or 0.0, main + sum(others))
            self.others_mb = max(self.others_mb, sum(others))
            if self._ended.wait(SAMPLE_SECONDS):
                return


def anonymous_mb(pid: int) -> float:
    """Return the resident memory of a process that belongs to no file, in MB; 0 where it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("RssAnon:")) * 1024 / 1e6


def _descendants(pid: int) -> list[int]:
    try:
        files = [task / "children" for task in Path(f"/proc/{pid}/task").iterdir()]
        children = [int(child) for file in files for child in file.read_text().split()]
    except OSError:  # it has ended meanwhile
        return []
    return children + [each for child in children for each in _descendants(child)]
