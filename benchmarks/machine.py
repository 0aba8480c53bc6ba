"""What the figures were measured on, and its limit."""

import argparse
import logging
import os

from benchmarks.processes import run_worker
from benchmarks.records import Json

logger = logging.getLogger(__name__)


def measure_machine(arguments: argparse.Namespace) -> Json:
    """Describe the machine with `peak_gflops` by dtype: the best rate of matrix products that any kernel reached."""
    logger.info("measuring the machine's matrix products")
    job = {"threads": arguments.threads, "device": arguments.device, "seconds": 0.05 if arguments.quick else 1.0}
    found = run_worker("peak", job, arguments.threads)
    peaks = {dtype: max(kernels.values()) for dtype, kernels in found["peaks"].items()}
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {**found["machine"], "load": load, "peak_gflops": peaks, "kernels_gflops": found["peaks"]}
