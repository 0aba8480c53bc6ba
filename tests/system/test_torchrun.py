"""Training and translation on two ranks under torchrun: kills, interrupts, equal outputs."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from reference.ranks import train_in_ranks
from reference.tiny_runs import assert_equal_runs, with_training

from seqlab.runs.checkpoint import checkpoint_steps
from seqlab.runs.overrides import config_from_yaml

from .conftest import run_command

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
MAX_STEPS = 60


class TorchrunJob:
    """A torchrun job with two ranks of `seqlab train`."""

    def __init__(self, config_file: Path, run_dir: Path, *options: str, max_restarts: int = 0) -> None:
        self.run_dir = run_dir
        command = [*TORCHRUN, f"--max_restarts={max_restarts}", "-m", "seqlab", "train", str(config_file)]
        command += ["--run_dir", str(run_dir), "--threads", "1", *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def wait_for_checkpoint(self, step: int) -> None:
        while max(checkpoint_steps(self.run_dir / "checkpoints"), default=0) < step:
            assert self.process.poll() is None, self.process.communicate()[1].decode()
            time.sleep(0.002)

    def pids_by_rank(self) -> dict[int, int]:
        """Find the process id of each rank."""
        pids = {}
        for child in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split():
            environment = dict(
                entry.split("=", 1) for entry in Path(f"/proc/{child}/environ").read_text().split("\0") if "=" in entry
            )
            if "RANK" in environment:
                pids[int(environment["RANK"])] = int(child)
        return pids

    def finish(self) -> tuple[int, str]:
        out, err = self.process.communicate()
        assert out == b""
        return self.process.returncode, err.decode()


def finish_on_two_ranks(config_file: Path, run_dir: Path, parallel: str = "ddp") -> Path:
    """Train to the end in two processes without torchrun, which takes longer to start than the training."""
    config = with_training(config_from_yaml(config_file), threads=1, parallel=parallel)
    return train_in_ranks(2, config, run_dir)


@pytest.fixture(scope="module")
def uninterrupted_run(config_file: Path) -> Path:
    """Train on two ranks without interruption; return the run folder."""
    return finish_on_two_ranks(config_file, config_file.with_name("two_ranks"))


@pytest.mark.parametrize(
    ("rank", "options"), [(1, ["--overwrite"]), pytest.param(0, [], marks=pytest.mark.learning)], ids=str
)
def test_a_killed_rank_is_restarted_by_torchrun(
    config_file: Path, uninterrupted_run: Path, tmp_path: Path, rank: int, options: list[str]
) -> None:
    """This also holds with `--overwrite`, which deletes only files from before the job."""
    job = TorchrunJob(config_file, tmp_path / "run", *options, max_restarts=1)
    job.wait_for_checkpoint(5)
    os.kill(job.pids_by_rank()[rank], signal.SIGKILL)
    status, err = job.finish()
    assert status == 0, err
    assert "Continuing" in err
    assert_equal_runs(job.run_dir, uninterrupted_run)


@pytest.mark.parametrize("parallel", ["ddp", pytest.param("fsdp", marks=pytest.mark.learning)])
def test_ctrl_c_stops_all_ranks_with_one_checkpoint(
    config_file: Path, uninterrupted_run: Path, tmp_path: Path, parallel: str
) -> None:
    expected = uninterrupted_run
    if parallel == "fsdp":
        expected = finish_on_two_ranks(config_file, tmp_path / "uninterrupted", parallel)
    job = TorchrunJob(config_file, tmp_path / "run", "--training.parallel", parallel)
    job.wait_for_checkpoint(5)
    job.process.send_signal(signal.SIGINT)
    status, err = job.finish()
    assert status != 0
    last = checkpoint_steps(job.run_dir / "checkpoints")[-1]
    assert err.count("stopped after") == 1
    assert f"seqlab: SIGINT: stopped after step {last} with a checkpoint; the same command continues." in err
    assert last < MAX_STEPS
    assert_equal_runs(finish_on_two_ranks(config_file, job.run_dir, parallel), expected)


def test_translations_equal_those_of_one_process(uninterrupted_run: Path, tmp_path: Path) -> None:
    lines = "".join(f"{line}\n" for line in ("one", "", "twenty-three", "seven hundred and four", "five", "ninety one"))
    source = tmp_path / "source.en"
    source.write_text(lines * 3, encoding="utf-8")
    options = [
        "translate",
        str(uninterrupted_run),
        "--buffer_lines",
        "7",
        "--beam_size",
        "2",
        "--json",
        "--threads",
        "1",
    ]
    expected = run_command(*options, stdin=source.read_bytes()).stdout
    assert expected.count(b"\n") == 18
    with source.open("rb") as stdin:
        command = [*TORCHRUN, "-m", "seqlab", *options]
        done = subprocess.run(command, stdin=stdin, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout == expected
