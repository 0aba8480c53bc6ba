"""Peak memory of this process and its descendants."""

import os
import resource
import sys
import threading
from pathlib import Path
from types import TracebackType

STATUS_FILE = Path("/proc/self/status")
SECONDS_BETWEEN_SAMPLES = 0.05


def peak_memory_mb(device: str = "cpu") -> float:
    """Return the peak resident set in MB (10^6 bytes), or on a GPU the peak memory allocated by torch."""
    if device.startswith("cuda"):
        import torch

        return torch.cuda.max_memory_allocated(device) / 1e6
    if STATUS_FILE.exists():
        # `ru_maxrss` starts at the size of the parent process at the fork.
        line = next(line for line in STATUS_FILE.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024 / 1e6
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


class TreeMemory:
    """Context manager that samples the peak memory of this process and all its descendants; Linux only.

    Memory that belongs to files is not counted. Memory shared after a fork counts for each process.
    """

    def __init__(self) -> None:
        self.tree_mb: float | None = None
        self.main_mb: float | None = None
        self.others_mb = 0.0
        """Peak sum over all descendants, without this process."""
        self._is_finished = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> "TreeMemory":
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._is_finished.set()
        self._thread.join()

    def _sample(self) -> None:
        while STATUS_FILE.exists():
            main, *others = (anonymous_mb(pid) for pid in [os.getpid(), *_descendants(os.getpid())])
            self.main_mb = max(self.main_mb or 0.0, main)
            self.tree_mb = max(self.tree_mb or 0.0, main + sum(others))
            self.others_mb = max(self.others_mb, sum(others))
            if self._is_finished.wait(SECONDS_BETWEEN_SAMPLES):
                return


def anonymous_mb(pid: int) -> float:
    """Return the anonymous resident memory of a process in MB; 0 if it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("RssAnon:")) * 1024 / 1e6


def _descendants(pid: int) -> list[int]:
    try:
        files = [task / "children" for task in Path(f"/proc/{pid}/task").iterdir()]
        children = [int(child) for file in files for child in file.read_text().split()]
    except OSError:  # the process has ended
        return []
    return children + [each for child in children for each in _descendants(child)]
