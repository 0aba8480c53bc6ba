"""Standard streams in a real process: closed, full, in other encodings; atomic replacement of files."""

import json
import os
import pty
import re
import resource
import select
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from seqlab.cli.errors import STATUSES
from seqlab.cli.main import main

from .conftest import start_command

LINES = "abc\nd e\n"
TRANSLATE = ("translate", "run", "--max_length", "4")
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}


def shell(command: str, folder: Path, **environment: str) -> tuple[int, str, str]:
    """Run a line of bash with this version of `seqlab`; return exit status, standard output and standard error."""
    done = subprocess.run(
        ["bash", "-c", command.replace("seqlab", f"{sys.executable} -m seqlab")],
        cwd=folder,
        env={**ENVIRONMENT, **environment},
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


FORKS_WITH_STREAMS = """
import gc, json, os, sys
import seqlab.runs.summary, seqlab.tasks.translation.commands.translate, seqlab.tasks.translation.load_translator
from seqlab.__main__ import run

DESCRIPTORS = {"stdin": 0, "stdout": 1, "stderr": 2}
gc.freeze()  # for forks that end faster
statuses = []
for number, (stream, file, argv) in enumerate(json.loads(sys.argv[1])):
    if os.fork() == 0:
        os.dup2(os.open(f"errors{number}", os.O_WRONLY | os.O_CREAT), 2)
        os.close(DESCRIPTORS[stream])
        if file is None:  # as when Python starts with a closed stream
            setattr(sys, stream, None)
            setattr(sys, f"__{stream}__", None)
        else:
            assert os.open(file, os.O_WRONLY) == DESCRIPTORS[stream]
        sys.argv[1:] = argv
        sys.exit(run())
    statuses.append(os.waitstatus_to_exitcode(os.wait()[1]))
with open("statuses", "w") as out:
    json.dump(statuses, out)
"""
"""Run commands in forks of one new interpreter, with one stream closed or replaced; forks end like other programs."""


def run_with_streams(folder: Path, *commands: tuple[str, str | None, str]) -> list[tuple[int, str]]:
    """Run commands, each with a stream and the file that replaces it (None: closed); return statuses and errors."""
    arguments = json.dumps([(stream, file, command.split()) for stream, file, command in commands])
    subprocess.run([sys.executable, "-c", FORKS_WITH_STREAMS, arguments], cwd=folder, env=ENVIRONMENT, check=True)
    statuses = json.loads((folder / "statuses").read_text())
    return [(status, (folder / f"errors{number}").read_text("utf-8")) for number, status in enumerate(statuses)]


def test_closed_and_full_streams(folder: Path) -> None:
    translate = "translate run --input in --max_length 4"
    outputs = [(file, command) for file in (None, "/dev/full") for command in ("info run", translate, "--help")]
    *written, read, reported = run_with_streams(
        folder,
        *(("stdout", file, command) for file, command in outputs),
        ("stdin", None, "translate run"),
        ("stderr", None, f"{translate} --output out"),
    )
    for (status, err), (file, command) in zip(written, outputs, strict=True):
        if file is None:
            assert (status, err.count("\n"), "standard output is closed" in err) == (1, 1, True), command
        else:
            assert (status, err) == (1, "seqlab: error: standard output: No space left on device\n"), command
    assert (read[0], "standard input is closed" in read[1]) == (2, True)
    assert reported == (0, "")
    assert len((folder / "out").read_text("utf-8").splitlines()) == 2


@pytest.mark.parametrize(
    ("redirection", "message"),
    [(">&-", "standard output is closed"), ("> /dev/full", "standard output: No space left on device")],
)
def test_a_standard_output_that_the_shell_closes_is_an_error(folder: Path, redirection: str, message: str) -> None:
    status, _, err = shell(f"seqlab --help {redirection}", folder)
    assert (status, err.count("\n"), message in err) == (1, 1, True)


def test_standard_output_is_utf_8_in_every_locale(folder: Path) -> None:
    (folder / "größe").symlink_to(folder / "run")
    environment = {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}
    status, out, err = shell("seqlab info größe", folder, **environment)
    assert (status, "größe" in out) == (0, True), err


def test_the_file_size_limit_is_an_error_that_names_the_file(
    seqlab, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    Path("in").write_text(LINES * 400, encoding="utf-8")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, limits[1]))
    try:
        result = seqlab(*TRANSLATE, "--input", "in", "--json", "--output", "out", "--processes", "1")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (result.status, "seqlab: error: out: File too large" in result.err) == (1, True)
    assert not Path("out").exists()
    assert "the part written so far is in" in result.err
    assert Path(".out.seqlab-part").stat().st_size


def test_incomplete_files_are_overwritten_and_links_are_followed(
    seqlab, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    Path("target").write_text("before", encoding="utf-8")
    Path("out").symlink_to("target")
    Path(".target.seqlab-part").write_text("incomplete", encoding="utf-8")
    result = seqlab(*TRANSLATE, "--input", "in", "--output", "out")
    assert result.status == 0, result.err
    assert Path("out").is_symlink()
    assert len(Path("target").read_text("utf-8").splitlines()) == 2
    assert sorted(path.name for path in folder.iterdir()) == ["in", "out", "run", "target"]


def test_tmp_files_of_users_are_not_changed(seqlab, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    Path("in").rename("out.tmp")
    result = seqlab(*TRANSLATE, "--input", "out.tmp", "--output", "out")
    assert result.status == 0, result.err
    assert Path("out.tmp").read_text("utf-8") == LINES
    assert len(Path("out").read_text("utf-8").splitlines()) == 2


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


def test_terminal_input_has_a_prompt_for_each_line(folder: Path) -> None:
    """Type lines at a terminal, one after each prompt."""
    terminal, process_end = pty.openpty()
    name, shown = Path(os.ttyname(process_end)), b""
    process = start_command(["translate", folder / "run", "--max_length", "4"], name, folder / "out", name)
    for line in (b"abc\n", b"d e\n", b"\x04"):
        while not shown.endswith(b"> "):
            assert select.select([terminal], [], [], 60)[0], shown
            shown += os.read(terminal, 1000)
        os.write(terminal, line)
        shown += b"\n"
    os.close(process_end)
    with suppress(OSError):  # the process has ended
        while True:
            shown += os.read(terminal, 1000)
    process.join()
    os.close(terminal)
    assert process.exitcode == 0
    assert (folder / "out").read_bytes().count(b"\n") == 2
    assert b"Type a line and press Enter; Ctrl-D ends." in shown
    assert shown.count(b"> ") == 3
