"""Worker processes: each measurement has its own process, with its own peak memory and allocator settings."""

import json
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from benchmarks.records import Json, Unavailable

logger = logging.getLogger(__name__)
ROOT = Path(__file__).resolve().parents[1]

KEEP_PAGES = {"MALLOC_MMAP_THRESHOLD_": "4294967296", "MALLOC_TRIM_THRESHOLD_": "8589934592"}
"""Environment in which glibc keeps freed memory, which avoids page faults."""


def run_worker(name: str, job: Json, threads: int, environment: Mapping[str, str] | None = None) -> Json:
    """Run `benchmarks.workers.NAME` on a job in a separate process and return its result.

    Raises:
        Unavailable: the system of the worker is missing.
        RuntimeError: the process failed; the message has its last lines of standard error.
    """
    with tempfile.TemporaryDirectory() as folder:
        result_file = Path(folder) / "result.json"
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.workers", name, str(result_file)],
            cwd=ROOT,
            env={
                **os.environ,
                "OMP_NUM_THREADS": str(threads),
                "TOKENIZERS_PARALLELISM": "false",
                **(environment or {}),
            },
            input=json.dumps(job),
            capture_output=True,
            text=True,
        )
        if done.returncode or not result_file.exists():
            tail = "\n".join(done.stderr.strip().splitlines()[-15:])
            raise RuntimeError(f"The worker `{name}` ended with status {done.returncode}:\n{tail}")
        result: Json = json.loads(result_file.read_text(encoding="utf-8"))
    if "unavailable" in result:
        raise Unavailable(result["unavailable"])
    return result
