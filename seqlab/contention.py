"""Other programs on the same cores: how OpenMP's threads wait for each other, and how many there are, depends on them.

The threads spin while they wait. That is fastest on an idle machine; where a core is shared, a thread that spins keeps
the one that it waits for from running, and a training step takes many times as long.
"""

import functools
import os
import statistics
import sys
import time
from pathlib import Path

from seqlab.world import under_torchrun, usable_cores

PROC_STAT = Path("/proc/stat")
SAMPLES, SECONDS_BETWEEN = 9, 0.003
SPIN_COUNT = "100"
"""Rounds that a thread spins before it sleeps, instead of some 300,000."""
WAITING_VARIABLES = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")


@functools.cache
def other_tasks() -> int:
    """Count the threads of other programs that run or want a core: the median of some samples, 0 where none is told.

    To be asked before this program has threads of its own that work.
    """
    samples = []
    for _ in range(SAMPLES):
        samples.append(_running())
        time.sleep(SECONDS_BETWEEN)
    return max(0, int(statistics.median(samples)) - 1)  # this one runs, too


def _running() -> int:
    try:
        lines = PROC_STAT.read_text().splitlines()
    except OSError:  # not on Linux
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("procs_running ")), 0)


def choose_waiting() -> None:
    """Let OpenMP's threads sleep soon where other programs share the cores, unless the user has chosen.

    It has an effect before torch is imported alone. Under torchrun nothing is chosen: the others are its own ranks.
    """
    is_chosen = any(name in os.environ for name in WAITING_VARIABLES)
    if is_chosen or "torch" in sys.modules or under_torchrun():
        return
    if other_tasks() > (os.cpu_count() or 1) - usable_cores():
        os.environ["GOMP_SPINCOUNT"] = SPIN_COUNT


def fair_threads() -> int | None:
    """Return how many threads are this program's fair share of the cores, where others want at least twice as many.

    None where fewer are wanted, or the user has chosen: then all cores are taken.
    """
    cores, others = usable_cores(), other_tasks()
    if others < 2 * cores or "OMP_NUM_THREADS" in os.environ:
        return None
    return max(1, cores * cores // (cores + others))
