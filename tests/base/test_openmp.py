"""OpenMP settings by the load of the machine; settings of the user are kept."""

import multiprocessing
import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from reference.tiny_runs import tiny_config, with_training, write_numbers

from seqlab.base import openmp
from seqlab.runs.folder import RunFolder
from seqlab.training import train


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*openmp.SPIN_VARIABLES, "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(openmp, "sys", SimpleNamespace(modules={}))  # as if torch were not imported


def simulate_running_tasks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, running: int) -> None:
    """Simulate a number of running tasks on the machine, including this process."""
    (tmp_path / "stat").write_text(f"cpu 1 2 3\nprocs_running {running}\nprocs_blocked 0\n")
    monkeypatch.setattr(openmp, "PROC_STAT", tmp_path / "stat")


def use_cpu(_: int) -> None:
    """Use a core for 30 seconds."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        pass


@pytest.mark.skipif(sys.platform != "linux", reason="tasks are counted in /proc")
def test_running_threads_of_other_processes_are_counted() -> None:
    processes = [multiprocessing.get_context("fork").Process(target=use_cpu, args=(i,)) for i in range(3)]
    for process in processes:
        process.start()
    try:
        assert openmp.count_competing_threads() >= 2
    finally:
        for process in processes:
            process.kill()
            process.join()


@pytest.mark.parametrize(("running", "expected"), [(1, None), (2, openmp.SPIN_COUNT), (9, openmp.SPIN_COUNT)])
def test_spinning_is_limited_if_other_tasks_use_the_cores(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, running: int, expected: str | None
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monkeypatch.setattr(openmp, "usable_cores", lambda: 2)
    simulate_running_tasks(monkeypatch, tmp_path, running)
    monkeypatch.setenv("GOMP_SPINCOUNT", "")
    monkeypatch.delenv("GOMP_SPINCOUNT")
    openmp.limit_spinning()
    assert os.environ.get("GOMP_SPINCOUNT") == expected


def test_tasks_on_cores_that_this_process_may_not_use_are_not_counted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(openmp, "usable_cores", lambda: 2)
    simulate_running_tasks(monkeypatch, tmp_path, 7)
    openmp.limit_spinning()
    assert "GOMP_SPINCOUNT" not in os.environ


@pytest.mark.parametrize("variable", openmp.SPIN_VARIABLES)
def test_settings_of_the_user_are_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str) -> None:
    simulate_running_tasks(monkeypatch, tmp_path, 99)
    monkeypatch.setenv(variable, "5")
    before = dict(os.environ)
    openmp.limit_spinning()
    assert dict(os.environ) == before


@pytest.mark.parametrize("cores", [2, 64])
@pytest.mark.parametrize(("running", "threads"), [(1, None), (4, None), (5, 1), (17, 1)])
def test_fair_thread_count_of_two_cores(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, running: int, threads: int | None, cores: int
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    monkeypatch.setattr(openmp, "usable_cores", lambda: 2)
    simulate_running_tasks(monkeypatch, tmp_path, running + cores - 2)  # the others are busy and not usable
    assert openmp.fair_thread_count() == threads
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert openmp.fair_thread_count() is None


def test_a_resumed_run_keeps_its_number_of_threads(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    import seqlab.training.device_context as device_context

    write_numbers(tmp_path / "corpus", range(1, 130))
    config = tiny_config(tmp_path / "corpus", max_steps=2, threads=None)
    monkeypatch.setattr(device_context, "fair_thread_count", lambda: 1)
    monkeypatch.setattr(device_context, "usable_cores", lambda: 2)
    monkeypatch.setattr("seqlab.training.run_setup.usable_cores", lambda: 2)
    run_dir = train(config, tmp_path / "run")
    assert "Training uses 1 of the 2 cores, as other programs compete for them" in caplog.text
    assert RunFolder(run_dir).read_description_entry("machine")["threads"] == 1
    caplog.clear()
    monkeypatch.setattr(device_context, "fair_thread_count", lambda: None)
    train(with_training(config, max_steps=4), run_dir)
    assert "bit for bit" not in caplog.text
    assert "Training uses 1 of the 2 cores, as the run did when it started" in caplog.text
