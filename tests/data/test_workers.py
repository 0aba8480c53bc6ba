"""Worker processes: order of results, errors and termination."""

import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import seqlab
from seqlab.data.columns import parse_column
from seqlab.data.workers import Workers, worker_count

ROOT = Path(seqlab.__file__).parents[1]


def test_results_are_in_order_for_any_run_times() -> None:
    with Workers(2) as workers:
        sleeps = [0.1, 0.0, 0.05, 0.0, 0.0, 0.02]
        list(workers.map(time.sleep, sleeps))
        # The same processes run another function.
        assert list(workers.map(math.factorial, range(30))) == [math.factorial(number) for number in range(30)]
        assert list(workers.map(math.factorial, [])) == []


def test_only_a_few_items_are_read_ahead() -> None:
    read = 0

    def items() -> Iterator[int]:
        nonlocal read
        for item in range(100):
            read += 1
            yield item

    with Workers(2) as workers:
        results = workers.map(math.sqrt, items())
        next(results)
        assert read <= 6
        results.close()


@pytest.mark.parametrize("count", [1, 2])
def test_errors_keep_their_type_and_the_workers_stay_usable(count: int) -> None:
    with Workers(count) as workers:
        with pytest.raises(ValueError, match="factorial"):
            list(workers.map(math.factorial, [3, 2, -1, 5, 6, 7, 8]))
        assert list(workers.map(math.factorial, [4, 5])) == [24, 120]


def test_printed_output_of_workers_does_not_mix_with_results() -> None:
    with Workers(2) as workers:
        assert list(workers.map(print, ["a", "b", "c"])) == [None] * 3


def test_a_worker_that_exits_is_reported() -> None:
    with Workers(2) as workers, pytest.raises(RuntimeError, match="ended with status 3"):
        list(workers.map(os._exit, [3, 3, 3]))


def test_zero_workers_are_refused() -> None:
    with pytest.raises(ValueError, match=r"`workers` must be at least 1, but is 0 instead\."):
        Workers(0)


def test_small_files_use_one_worker(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text("line\n")
    assert worker_count([parse_column(str(tmp_path / "a")), parse_column(str(tmp_path / "b"))]) == 1


def test_workers_end_when_their_parent_process_is_killed() -> None:
    code = """
import os, time
from seqlab.data.workers import Workers
with Workers(2) as workers:
    print(*workers.map(eval, ["__import__('os').getpid()"] * 8), flush=True)
    time.sleep(60)
"""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    caller = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment)
    assert caller.stdout is not None
    pids = {int(pid) for pid in caller.stdout.readline().split()}
    assert pids
    caller.send_signal(signal.SIGKILL)
    caller.communicate()
    deadline = time.monotonic() + 30
    while any(is_running(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(is_running(pid) for pid in pids)


def is_running(pid: int) -> bool:
    try:
        # An ended process whose parent has not waited for it is a zombie (Z).
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_script_without_a_main_guard_is_not_run_by_the_workers(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from seqlab.data.workers import Workers\nimport math\nprint('once')\n"
        "with Workers(2) as workers:\n    print(*workers.map(math.sqrt, [4, 9]))\n"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout == "once\n2.0 3.0\n"
