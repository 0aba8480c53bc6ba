"""OpenMP settings for cores that are shared with other programs: spinning and the number of threads.

OpenMP's threads spin while they wait. That is fastest on an idle machine. On a shared core, however, a spinning thread
keeps the thread that it waits for from running, and a training step takes many times as long.
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
"""Iterations that a thread spins before it sleeps; the default is about 300,000."""
SPIN_VARIABLES = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")


def count_competing_threads() -> int:
    """Return the number of running threads of other programs that compete for this process's cores.

    It is the median of several samples, less the cores that this process may not use, and 0 if the system does not
    report it. Call it before this process has working threads of its own.
    """
    samples = []
    for _ in range(LOAD_SAMPLES):
        samples.append(_count_running_threads())
        time.sleep(SECONDS_BETWEEN_SAMPLES)
    others = int(statistics.median(samples)) - 1  # one is this thread
    return max(0, others - ((os.cpu_count() or 1) - usable_cores()))


def _count_running_threads() -> int:
    try:
        lines = PROC_STAT.read_text().splitlines()
    except OSError:  # not on Linux
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("procs_running ")), 0)


def limit_spinning() -> None:
    """Limit the spinning of OpenMP's threads if other programs share the cores, unless the user has set it.

    Call it before torch is imported: OpenMP reads the setting only once. Under torchrun it does nothing, as the other
    programs are the ranks of the same job.
    """
    is_set_by_user = any(name in os.environ for name in SPIN_VARIABLES)
    if is_set_by_user or "torch" in sys.modules or is_under_torchrun():
        return
    if count_competing_threads() > 0:
        os.environ["GOMP_SPINCOUNT"] = SPIN_COUNT


def fair_thread_count() -> int | None:
    """Return this program's fair share of the cores if the others compete for at least twice as many as there are.

    None means all cores: there is less competition, or the user has set OMP_NUM_THREADS.
    """
    if "OMP_NUM_THREADS" in os.environ:
        return None
    cores, others = usable_cores(), count_competing_threads()
    return max(1, cores * cores // (cores + others)) if others >= 2 * cores else None
