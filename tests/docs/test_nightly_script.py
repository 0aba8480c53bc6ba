"""Shell script of docs/how_to/nightly_pipeline.md, run with a stub of the command `seqlab`."""

import fcntl
import os
import re
import subprocess
from pathlib import Path

import pytest

from seqlab.cli.logs import _refuse_other_file

PAGE = Path(__file__).parents[2] / "docs" / "how_to" / "nightly_pipeline.md"
STUB = """#!/usr/bin/env bash
# seqlab translate RUN --input IN --output OUT ...
case "$4" in
  *broken*) exit 2 ;;
  *stopped*) exit 143 ;;
  *long*) cat "$4" > "$6"; exit 3 ;;
  *shifted*) cat "$4" "$4" > "$6" ;;
  *) awk '{ print }' "$4" > "$6" ;;
esac
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with the script of the page, an inbox, and a stub in `bin/`."""
    [script] = re.findall(r"```bash\n(#!.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    (tmp_path / "nightly.sh").write_text(script)
    (tmp_path / "inbox").mkdir()
    (tmp_path / "bin").mkdir()
    stub = tmp_path / "bin" / "seqlab"
    stub.write_text(STUB)
    stub.chmod(0o755)
    return tmp_path


def run_script(folder: Path, **files: str) -> tuple[int, str, set[str]]:
    """Write files to the inbox and run the script; return its status, messages and the names of the outputs."""
    for name, text in files.items():
        (folder / "inbox" / f"{name}.de").write_text(text)
    environment = os.environ | {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "nightly.sh"], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.stdout == ""
    return done.returncode, done.stderr, {path.name for path in (folder / "outbox").iterdir()}


def test_an_empty_inbox_is_not_an_error(folder: Path) -> None:
    assert run_script(folder) == (0, "", set())


def test_complete_files_are_translated_once_and_silently(folder: Path) -> None:
    assert run_script(folder, a="one\ntwo", b="") == (0, "", {"a.en", "b.en"})  # a last line without a newline
    before = (folder / "outbox" / "a.en").stat().st_mtime_ns
    assert run_script(folder, a="one\ntwo", c="x\n") == (0, "", {"a.en", "b.en", "c.en"})
    assert (folder / "outbox" / "a.en").stat().st_mtime_ns == before


def test_a_failed_file_does_not_stop_the_others(folder: Path) -> None:
    status, messages, outputs = run_script(folder, broken="x\n", good="x\n")
    assert (status, outputs) == (2, {"good.en"})
    assert messages == "inbox/broken.de: status 2\n"
    status, _, outputs = run_script(folder, long="x\n")
    assert (status, outputs) == (3, {"good.en", "long.en"})


def test_an_interruption_stops_the_script(folder: Path) -> None:
    assert run_script(folder, a="x\n", stopped="x\n", z="x\n") == (143, "", {"a.en"})


def test_another_number_of_lines_is_reported(folder: Path) -> None:
    status, messages, _ = run_script(folder, shifted="x\n")
    assert status == 1
    assert messages == "outbox/shifted.en does not have as many lines as inbox/shifted.de\n"


def test_the_log_has_start_and_status_of_each_file_in_the_format_of_seqlab(folder: Path) -> None:
    run_script(folder, broken="x\n", good="x\ny")
    path = folder / "logs" / "translate.log"
    assert [re.sub(r"^[-\d]+ [:\d]+,\d{3} ", "", line) for line in path.read_text().splitlines()] == [
        "INFO inbox/broken.de: start, 1 lines",
        "ERROR inbox/broken.de: status 2",
        "INFO inbox/good.de: start, 2 lines",
        "INFO inbox/good.de: status 0",
    ]
    _refuse_other_file(path, [])  # raises if seqlab would not append to the log


def test_a_second_instance_exits_immediately(folder: Path) -> None:
    run_script(folder)
    with (folder / "logs" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert run_script(folder, a="x\n") == (0, "nightly.sh is already running\n", set())
