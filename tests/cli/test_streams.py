"""Standard streams in a real process: closed, full, in other encodings; atomic replacement of files."""

import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from seqlab.cli.errors import STATUSES
from seqlab.cli.main import main

LINES = "abc\nd e\n"


def shell(command: str, folder: Path, **environment: str) -> tuple[int, str, str]:
    """Run a line of bash with this version of `seqlab`; return exit status, standard output and standard error."""
    done = subprocess.run(
        ["bash", "-c", command.replace("seqlab", f"{sys.executable} -m seqlab")],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), **environment},
        capture_output=True,
        check=False,
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


@pytest.fixture
def folder(tmp_path: Path, run_dir: Path) -> Path:
    """Return a folder with a run and an input file."""
    (tmp_path / "run").symlink_to(run_dir)
    (tmp_path / "in").write_text(LINES, encoding="utf-8")
    return tmp_path


def test_a_closed_standard_error_does_not_affect_the_output(folder: Path) -> None:
    status, _, _ = shell("seqlab translate run --input in --max_length 4 --output out 2>&-", folder)
    assert (status, len((folder / "out").read_text("utf-8").splitlines())) == (0, 2)


@pytest.mark.parametrize("command", ["info run", "translate run --input in --max_length 4", "--help"])
def test_a_closed_standard_output_is_an_error(folder: Path, command: str) -> None:
    status, _, err = shell(f"seqlab {command} >&-", folder)
    assert (status, err.count("\n")) == (1, 1)
    assert "standard output is closed" in err


@pytest.mark.parametrize("command", ["info run", "translate run --input in --max_length 4", "--help"])
def test_a_full_standard_output_is_an_error(folder: Path, command: str) -> None:
    status, _, err = shell(f"seqlab {command} > /dev/full", folder)
    assert (status, err) == (1, "seqlab: error: standard output: No space left on device\n")


def test_a_closed_standard_input_is_an_error(folder: Path) -> None:
    status, _, err = shell("seqlab translate run <&-", folder)
    assert (status, "standard input is closed" in err) == (2, True)


@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "C"},
        {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    ],
    ids=str,
)
def test_standard_output_is_utf_8_in_every_locale(folder: Path, environment: dict[str, str]) -> None:
    (folder / "größe").symlink_to(folder / "run")
    status, out, err = shell("seqlab info größe", folder, **environment)
    assert (status, "größe" in out) == (0, True), err


def test_the_file_size_limit_is_an_error_that_names_the_file(folder: Path) -> None:
    (folder / "in").write_text(LINES * 400, encoding="utf-8")
    command = "ulimit -f 1; seqlab translate run --input in --max_length 4 --json --output out --processes 1"
    status, _, err = shell(command, folder)
    assert (status, "seqlab: error: out: File too large" in err) == (1, True)
    assert not (folder / "out").exists()
    assert "the part written so far is in" in err
    assert (folder / ".out.seqlab-part").stat().st_size


def test_incomplete_files_are_overwritten_and_links_are_followed(folder: Path) -> None:
    (folder / "target").write_text("before", encoding="utf-8")
    (folder / "out").symlink_to("target")
    (folder / ".target.seqlab-part").write_text("incomplete", encoding="utf-8")
    status, _, err = shell("seqlab translate run --input in --max_length 4 --output out", folder)
    assert status == 0, err
    assert (folder / "out").is_symlink()
    assert len((folder / "target").read_text("utf-8").splitlines()) == 2
    assert sorted(path.name for path in folder.iterdir()) == ["in", "out", "run", "target"]


def test_tmp_files_of_users_are_not_changed(folder: Path) -> None:
    (folder / "in").rename(folder / "out.tmp")
    status, _, err = shell("seqlab translate run --input out.tmp --max_length 4 --output out", folder)
    assert status == 0, err
    assert (folder / "out.tmp").read_text("utf-8") == LINES
    assert len((folder / "out").read_text("utf-8").splitlines()) == 2


def test_a_log_file_that_is_another_file_of_the_command_is_refused(seqlab, folder: Path) -> None:
    before = (folder / "in").read_bytes()
    for path in (folder / "in", folder / "run" / "config.yaml", folder / "new"):
        result = seqlab(
            *("translate", folder / "run", "--input", folder / "in", "--output", folder / "new", "--log_file", path)
        )
        assert (result.status, f"--log_file {path} is " in result.err) == (2, True)
    assert (folder / "in").read_bytes() == before


def test_a_deleted_working_directory_is_an_error(folder: Path) -> None:
    (folder / "gone").mkdir()
    status, _, err = shell("cd gone && rmdir ../gone && seqlab recipes", folder)
    assert (status, err) == (2, "seqlab: error: the working directory was deleted: change to another\n")


def test_ctrl_c_during_imports_prints_one_line(folder: Path) -> None:
    code = (
        "import os, signal, sys\n"
        "import seqlab.cli.main\n"
        "seqlab.cli.main.limit_spinning = lambda: os.kill(os.getpid(), signal.SIGINT)\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from seqlab.__main__ import run\n"
        "sys.argv[1:] = ['info', 'run']\n"
        "sys.exit(run())"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (128 + signal.SIGINT, "seqlab: interrupted\n")


def test_the_text_of_sys_exit_is_printed(tmp_path: Path, seqlab) -> None:
    plugin = tmp_path / "leaves.py"
    plugin.write_text(
        "import sys, seqlab\n"
        "from pydantic.dataclasses import dataclass\n"
        "from seqlab.commands import Command\n"
        "@dataclass(frozen=True)\n"
        "class Options:\n"
        '    """Leave."""\n'
        "def run(options):\n"
        "    sys.exit('nothing to do')\n"
        "PARTS = {'command': {'leave': ('leaves:LEAVE', 'leave')}}\n"
        "LEAVE = Command(Options, run)\n"
    )
    result = seqlab("--plugin", plugin, "leave")
    assert (result.status, result.err) == (1, "seqlab: nothing to do\n")


def test_quiet_hides_progress_and_the_log_file_has_all_messages(seqlab, run_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "in").write_text("a\x00b\n" * 2)
    log = tmp_path / "log.txt"
    common = ("--src", tmp_path / "in", "--max_length", "3", "--buffer_lines", "1", "--log_file", log, "--json")
    loud = seqlab("distill", run_dir, "--out", tmp_path / "one", *common)
    quiet = seqlab("distill", run_dir, "--out", tmp_path / "two", *common, "--quiet")
    assert (loud.status, quiet.status, loud.out) == (0, 0, quiet.out)
    assert seqlab("info", tmp_path / "nothing", "--log_file", log, "--quiet").err.startswith("seqlab: error: There is")
    last = log.read_text("utf-8").splitlines()[-1]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} ERROR seqlab: error: There is no run folder .*", last)
    assert main(["info", str(tmp_path / "nothing"), "--log_file", str(tmp_path)]) == 2


def test_documented_exit_statuses_match_the_code() -> None:
    page = (Path(__file__).parents[2] / "docs" / "how_to" / "pipelines.md").read_text("utf-8")
    table = page.split("## Exit statuses")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (\d+) \| (.+) \|$", table, re.M)
    assert {int(status): meaning for status, meaning in rows} == STATUSES


def run_on_terminal(arguments: list[str], typed: list[bytes], folder: Path) -> tuple[bytes, bytes]:
    """Type lines at a terminal, one after each prompt; return the terminal's content and the standard output."""
    terminal, process_end = pty.openpty()
    shown, out = b"", folder / "typed.out"
    with out.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "seqlab", *arguments],
            **{"cwd": folder, "stdin": process_end, "stdout": file, "stderr": process_end},
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )
        os.close(process_end)
        for line in typed:
            while not shown.endswith(b"> "):
                shown += os.read(terminal, 1000)
            os.write(terminal, line)
            shown += b"\n"
        while True:
            try:
                received = os.read(terminal, 1000)
            except OSError:  # the process has ended
                break
            shown += received
        assert process.wait() == 0
    os.close(terminal)
    return shown, out.read_bytes()


def test_terminal_input_has_a_prompt_for_each_line(folder: Path) -> None:
    shown, out = run_on_terminal(["translate", "run", "--max_length", "4"], [b"abc\n", b"d e\n", b"\x04"], folder)
    assert out.count(b"\n") == 2
    assert b"Type a line and press Enter; Ctrl-D ends." in shown
    assert shown.count(b"> ") == 3
