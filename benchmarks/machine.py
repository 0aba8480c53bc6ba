"""Description of the machine and its peak rate of matrix products."""

import argparse
import logging
import os

from benchmarks.options import refuse_missing_device
from benchmarks.processes import run_worker
from benchmarks.records import Json

logger = logging.getLogger(__name__)


def measure_machine(arguments: argparse.Namespace) -> Json:
    """Describe the machine, with `peak_gflops`: the best rate of matrix products of any kernel, by dtype."""
    refuse_missing_device(arguments.device)
    found = _measure(arguments)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {**found["machine"], "load": load, "peak_gflops": _best_rates(found), "kernels_gflops": found["peaks"]}


def measure_peak_again(machine: Json, arguments: argparse.Namespace) -> None:
    """Measure `peak_gflops` again and keep the higher value, since the speed of a shared machine varies."""
    again = _best_rates(_measure(arguments))
    machine["peak_gflops"] = {dtype: max(rate, again[dtype]) for dtype, rate in machine["peak_gflops"].items()}


def _measure(arguments: argparse.Namespace) -> Json:
    logger.info("measuring the machine's matrix products")
    job = {"threads": arguments.threads, "device": arguments.device, "seconds": 0.05 if arguments.quick else 1.0}
    return run_worker("peak", job, arguments.threads)


def _best_rates(found: Json) -> dict[str, float]:
    return {dtype: max(kernels.values()) for dtype, kernels in found["peaks"].items()}
