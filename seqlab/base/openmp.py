"""Adapt OpenMP's waiting and the number of threads to other programs on the same cores.

The threads spin while they wait. That is fastest on an idle machine; where a core is shared, a thread that spins keeps
the one that it waits for from running, and a training step takes many times as long.
"""

import os
import statistics
import sys
import time
from pathlib import Path

from seqlab.base.world import under_torchrun, usable_cores

PROC_STAT = Path("/proc/stat")
SAMPLES, SECONDS_BETWEEN = 9, 0.003
SPIN_COUNT = "1000"
"""Rounds that a thread spins before it sleeps, instead of some 300,000."""
WAITING_VARIABLES = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")


def other_tasks() -> int:
    """Count the threads of other programs that compete for the cores of this one: the median of some samples.

    Those that have cores which this process may not use do not compete. 0 if the system does not report it. Ask before
    this program has threads of its own that work.
    """
    samples = []
    for _ in range(SAMPLES):
        samples.append(_running())
        time.sleep(SECONDS_BETWEEN)
    others = int(statistics.median(samples)) - 1  # this one runs, too
    return max(0, others - ((os.cpu_count() or 1) - usable_cores()))


def _running() -> int:
    try:
        lines = PROC_STAT.read_text().splitlines()
    except OSError:  # not on Linux
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("procs_running ")), 0)


def choose_waiting() -> None:
    """Let OpenMP's threads sleep soon where other programs share the cores, unless the user has chosen.

    Call it before torch is imported: OpenMP reads the setting only once. Under torchrun nothing is chosen, as the other
    programs are its own ranks.
    """
    is_chosen = any(name in os.environ for name in WAITING_VARIABLES)
    if is_chosen or "torch" in sys.modules or under_torchrun():
        return
    if other_tasks() > 0:
        os.environ["GOMP_SPINCOUNT"] = SPIN_COUNT


def fair_threads() -> int | None:
    """Return this program's fair share of the cores if others want at least twice as many as there are.

    None means all cores: fewer are wanted, or the user has set OMP_NUM_THREADS.
    """
    if "OMP_NUM_THREADS" in os.environ:
        return None
    cores, others = usable_cores(), other_tasks()
    return max(1, cores * cores // (cores + others)) if others >= 2 * cores else None
