"""Forked workers for inference: order of the results, balanced work, errors, and workers that die."""

import multiprocessing
import os
import signal
import struct
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
import torch
from reference.processes import FORKSERVER

import seqlab
from seqlab.base.world import ProgressCallback
from seqlab.inference.forks import CAN_FORK, MIN_ROWS_PER_WORKER, ForkedWorkers, default_num_workers

pytestmark = pytest.mark.skipif(not CAN_FORK, reason="only Linux copies processes")
LENGTHS = [(7 * i) % 31 for i in range(3 * MIN_ROWS_PER_WORKER + 5)]


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_values_are_in_the_order_of_the_rows_and_work_is_balanced(count: int) -> None:
    reported: list[int] = []

    def compute(indices: list[int], on_rows: ProgressCallback | None) -> list[tuple[int, int]]:
        assert on_rows is not None
        for _ in indices:
            on_rows(1)
        return [(i, os.getpid()) for i in indices]

    found = ForkedWorkers(count).map_rows(LENGTHS, compute, reported.append)
    assert [i for i, _ in found] == list(range(len(LENGTHS)))
    assert sum(reported) == len(LENGTHS)
    processes = {process for _, process in found}
    assert len(processes) == min(count, 3)  # LENGTHS has enough rows for three workers
    assert (os.getpid() in processes) == (count == 1)
    work = [sum(LENGTHS[i] for i, process in found if process == each) for each in processes]
    assert max(work) - min(work) <= max(LENGTHS)


def test_exceptions_of_a_worker_are_raised_in_the_parent() -> None:
    def compute(indices: list[int], on_rows: ProgressCallback | None) -> list[int]:
        if 0 in indices:
            raise ValueError("row 0 is wrong")
        return indices

    with pytest.raises(ValueError, match="row 0 is wrong") as raised:
        ForkedWorkers(2).map_rows(LENGTHS, compute)
    assert "in compute" in str(raised.value.__cause__)  # the worker's traceback
    assert multiprocessing.active_children() == []


def test_a_killed_worker_raises_runtime_error() -> None:
    def compute(indices: list[int], on_rows: ProgressCallback | None) -> list[int]:
        os.kill(os.getpid(), signal.SIGKILL)
        return indices

    with pytest.raises(RuntimeError, match=r"ended with status -9: it may have run out of memory; lower `processes`"):
        ForkedWorkers(2).map_rows(LENGTHS, compute)


def test_a_worker_killed_while_sending_raises_runtime_error() -> None:
    def compute(indices: list[int], on_rows: Any) -> list[int]:
        pipe = on_rows.__self__
        os.write(pipe.fileno(), struct.pack("!i", 1000) + b"the first of a thousand bytes")
        os.kill(os.getpid(), signal.SIGKILL)
        return indices

    with pytest.raises(RuntimeError, match=r"ended with status -9: it may have run out of memory; lower `processes`"):
        ForkedWorkers(2).map_rows(LENGTHS, compute)


def test_translations_and_scores_do_not_depend_on_the_number_of_processes(run_folder: Path) -> None:
    words = ["the dog", "a red horse", "sees", "the woman on the street", "quickly", ""]
    lines = [" ".join(words[(i * k) % len(words)] for k in range(1, 2 + i % 4)) for i in range(2 * MIN_ROWS_PER_WORKER)]
    one_process, two_processes = (seqlab.load(run_folder, processes=count) for count in (1, 2))
    threads = torch.get_num_threads()
    options = {"beam_size": 3, "num_hypotheses": 2, "max_length": 8, "prefixes": [line[:3] for line in lines]}
    assert two_processes.translate_detailed(lines, **options) == one_process.translate_detailed(lines, **options)
    assert two_processes.score(lines, lines[::-1]) == one_process.score(lines, lines[::-1])
    assert torch.get_num_threads() == threads


def test_invalid_numbers_of_processes_are_refused(run_folder: Path) -> None:
    with pytest.raises(ValueError, match="`processes` must be at least 1, but is 0 instead"):
        seqlab.load(run_folder, processes=0)
    with pytest.raises(ValueError, match=r"`processes` \(2\) needs the engine `torch`"):
        seqlab.load(run_folder, engine="ctranslate2", processes=2)


def test_one_worker_on_a_gpu() -> None:
    assert default_num_workers(torch.device("cuda")) == 1


def translate_after_starting_threads(run_folder: Path, results: Connection) -> None:
    """Translate in one and in two processes, after OpenMP has started threads in this one."""
    torch.set_num_threads(4)
    (torch.randn(500, 500) @ torch.randn(500, 500)).sum()
    lines = ["the dog sees a cat.", "a man", "the red horse eats quickly on the street."] * MIN_ROWS_PER_WORKER
    runs = [seqlab.load(run_folder, processes=count) for count in (1, 2)]
    results.send([run.translate(lines, max_length=8) for run in runs])


def test_openmp_threads_started_before_the_fork_do_not_deadlock(run_folder: Path) -> None:
    received, sender = FORKSERVER.Pipe(duplex=False)
    process = FORKSERVER.Process(target=translate_after_starting_threads, args=(run_folder, sender))
    process.start()
    sender.close()
    has_ended = received.poll(120)
    process.kill() if not has_ended else process.join()
    assert has_ended
    one_process, two_processes = received.recv()
    assert one_process == two_processes


def sleep_in_workers(out: Path, errors: Path) -> None:
    """Write the process ids of two workers, which sleep for a minute, to a named pipe."""
    for path, descriptor in ((out, 1), (errors, 2)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), descriptor)
    signal.signal(signal.SIGINT, signal.default_int_handler)

    def compute(indices: list[int], on_rows: ProgressCallback | None) -> list[int]:
        os.write(1, f"{os.getpid()}\n".encode())  # one write: the workers share the pipe
        time.sleep(60)
        return indices

    ForkedWorkers(2).map_rows([1] * 2 * MIN_ROWS_PER_WORKER, compute)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition: Callable[[], bool]) -> None:
    for _ in range(1000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("the condition did not hold within 10 seconds")


@pytest.mark.parametrize("signal_number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_workers_end_with_their_parent(tmp_path: Path, signal_number: int) -> None:
    out, errors = tmp_path / "out", tmp_path / "errors"
    os.mkfifo(out)
    parent = FORKSERVER.Process(target=sleep_in_workers, args=(out, errors))
    parent.start()
    assert parent.pid is not None
    with out.open() as lines:
        workers = [int(lines.readline()) for _ in range(2)]
        os.kill(parent.pid, signal_number)
        parent.join()
        wait_until(lambda: not any(map(is_running, workers)))
        assert lines.read() == ""
    assert errors.read_text("utf-8").count("KeyboardInterrupt") == (signal_number == signal.SIGINT)
