"""The folder in memory for temporary files of tests: writing them to a disk would take a third of the time."""

import os
import re
import shutil
from pathlib import Path

MEMORY_FOLDER = Path("/dev/shm")
BYTES_NEEDED = 8 * 2**30


def has_memory_folder() -> bool:
    """Return whether files of tests fit into memory and may be executed there."""
    if not os.access(MEMORY_FOLDER, os.W_OK) or os.statvfs(MEMORY_FOLDER).f_flag & os.ST_NOEXEC:
        return False
    available = re.search(r"MemAvailable: *([0-9]+) kB", Path("/proc/meminfo").read_text())
    free = int(available[1]) * 1024 if available else 0
    return min(free, shutil.disk_usage(MEMORY_FOLDER).free) >= BYTES_NEEDED
