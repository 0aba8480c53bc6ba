"""OpenMP settings for cores that are shared with other programs: spinning and the number of threads.

OpenMP threads spin while they wait, which is fastest on an otherwise idle machine. On a shared core, however, a
spinning thread can block the thread that it waits for, and a training step takes many times as long.
"""

import os
import statistics
import sys
import time
from pathlib import Path

from seqlab.base.world import is_under_torchrun, usable_cores

PROC_STAT = Path("/proc/stat")
LOAD_SAMPLES, SECONDS_BETWEEN_SAMPLES = 9, 0.003
SPIN_COUNT = "1000"
"""Number of iterations that a thread spins before it sleeps; the default is about 300,000."""
SPIN_VARIABLES = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")


def count_competing_threads() -> int:
    """Return the number of running threads of other programs that compete for this process's cores.

    This is the median of several samples, minus the cores that this process may not use; 0 if the system does not
    report running threads. Call it before this process starts threads that compute.
    """
    samples = []
    for _ in range(LOAD_SAMPLES):
        samples.append(_count_running_threads())
        time.sleep(SECONDS_BETWEEN_SAMPLES)
    others = int(statistics.median(samples)) - 1  # one is this thread
    return max(0, others - ((os.cpu_count() or 1) - usable_cores()))


def _count_running_threads() -> int:
    """Return the number of running threads on this machine; 0 if the system does not report it."""
    try:
        lines = PROC_STAT.read_text().splitlines()
    except OSError:  # not on Linux
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("procs_running ")), 0)


def limit_spinning() -> None:
    """Limit the spinning of OpenMP threads if other programs share the cores, unless the user has set a limit.

    Call it before torch is imported: OpenMP reads the setting only once. It does nothing under torchrun, where the
    other programs are ranks of the same job.
    """
    is_set_by_user = any(name in os.environ for name in SPIN_VARIABLES)
    if is_set_by_user or "torch" in sys.modules or is_under_torchrun():
        return
    if count_competing_threads() > 0:
        os.environ["GOMP_SPINCOUNT"] = SPIN_COUNT


def fair_thread_count() -> int | None:
    """Return this process's fair share of the cores if at least two threads of other programs compete for each core.

    Returns None, for all cores, if fewer threads compete or the user has set OMP_NUM_THREADS.
    """
    if "OMP_NUM_THREADS" in os.environ:
        return None
    cores, competing = usable_cores(), count_competing_threads()
    return max(1, cores * cores // (cores + competing)) if competing >= 2 * cores else None
