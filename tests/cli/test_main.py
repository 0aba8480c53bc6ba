"""The `seqlab` command line: help without torch, exit statuses, error messages and tracebacks."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from seqlab import registry
from seqlab.built_in import COMMANDS
from seqlab.cli import main as entry
from seqlab.cli.errors import explain
from seqlab.cli.parser import Parser
from seqlab.commands import UsageError
from seqlab.data.readers import require_file
from seqlab.registry import Parts

from .conftest import start_command


def catch(action) -> BaseException:
    """Return the exception that an action raises, with its traceback."""
    try:
        action()
    except BaseException as error:
        return error
    raise AssertionError("nothing was raised")


def modules_not_needed_for_help(arguments: list[str]) -> list[str]:
    """Return the modules that help must not import. Most commands read their options from pydantic configs."""
    always = ["torch", "sacrebleu", "datasets", "sentencepiece", "tokenizers", "ctranslate2", "rich", "yaml"]
    reads_configs = arguments[0] not in ("--help", "--version", "recipes")
    return [*always, "numpy"] + ([] if reads_configs else ["pydantic"])


IMPORTS_OF_COMMANDS = """
import json, os, sys
from seqlab.cli.main import main

statuses = []
for arguments, modules in json.loads(sys.argv[1]):
    if os.fork() == 0:
        status = main(arguments)
        loaded = [name for name in modules if name in sys.modules]
        sys.exit(f"{arguments}: status {status}, loaded {loaded}" if status or loaded else 0)
    statuses.append(os.wait()[1])
sys.exit(any(statuses))
"""


def test_help_does_not_import_torch() -> None:
    """Each command runs in a fork of one new interpreter."""
    commands = [["--help"], ["--version"], *([name, "--help"] for group in COMMANDS.values() for name in group)]
    arguments = json.dumps([(command, modules_not_needed_for_help(command)) for command in commands])
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS_OF_COMMANDS, arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("usage: seqlab") == len(commands) - 1


@pytest.mark.parametrize("name", Parts("command"))
def test_help_names_every_option(seqlab, name: str) -> None:
    result = seqlab(name, "--help")
    parser = entry.find_command(name).make_parser()
    assert all(option in result.out.decode() for action in parser._actions for option in action.option_strings)


def test_ranks_above_0_report_only_errors_of_their_own_files(seqlab, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    usage_error = seqlab("train", "--nonsense")
    assert (usage_error.status, usage_error.err) == (2, "")
    file_error = seqlab("evaluate", "missing.txt", "--ref", "missing.txt")
    assert (file_error.status, file_error.err) == (2, "seqlab: rank 1: error: missing.txt: there is no such file.\n")


def test_missing_and_unknown_commands_are_reported(seqlab) -> None:
    nothing = seqlab()
    assert (nothing.status, nothing.out) == (2, b"")
    assert "translate" in nothing.err
    unknown = seqlab("trainslate", "run", "--beam_size", "3")
    assert unknown.status == 2
    assert (
        unknown.err
        == "seqlab: error: there is no command `trainslate`; the nearest is `translate` (see `seqlab --help`)\n"
    )


@pytest.mark.parametrize(
    ("command", "hint"),
    [("serve", ""), ("infer", ""), ("sort", ""), ("trian", "train"), ("eval", "evaluate"), ("gen", "generate")],
)
def test_only_near_names_of_commands_are_suggested(command: str, hint: str) -> None:
    with pytest.raises(UsageError) as error:
        entry._run([command])
    assert str(error.value).partition(" (see")[0] == (
        f"there is no command `{command}`" + (f"; the nearest is `{hint}`" if hint else "")
    )


@pytest.mark.parametrize("name", ["a" * 5000, "a\0b", "b/" * 2500])
def test_names_that_the_system_refuses_are_one_short_line(name: str) -> None:
    message, status = explain(catch(lambda: open(name))) or ("", 0)  # noqa: SIM115
    assert status == 2
    assert message.startswith("error: ")
    assert len(message) < 300


def test_a_null_character_in_a_name_is_the_reason(seqlab) -> None:
    result = seqlab("info", "a\0b")
    assert (result.status, result.out) == (2, b"")
    reason = "Its name contains a null character, which no file name can have."
    assert result.err == f"seqlab: error: There is no run folder a\\x00b. {reason}\n"


def test_help_lists_every_command_in_groups_with_examples(seqlab) -> None:
    text = seqlab("--help").out.decode()
    for heading, commands in COMMANDS.items():
        group = text.split(f"\n{heading}:\n")[1].split("\n\n")[0]
        assert [line.split()[0] for line in group.splitlines()] == list(commands)
    examples = text.split("examples:\n")[1].splitlines()
    assert len(examples) == 4
    for example in examples:
        name, *options = example.split("#")[0].split("<")[0].split(">")[0].split()[1:]
        assert name in Parts("command")
        if name != "train":  # the parser of `train` does not have the config fields as options
            entry.find_command(name).make_parser().parse(options)


def test_errors_for_users_have_no_traceback() -> None:
    missing = explain(catch(lambda: require_file(Path("nowhere"))))
    assert missing == ("error: nowhere: there is no such file.", 2)
    assert explain(catch(lambda: Parser("seqlab x", None).parse(["y"]))) == (
        "error: unexpected argument `y` (see `seqlab x --help`)",
        2,
    )


def test_errors_that_seqlab_does_not_raise_keep_their_traceback() -> None:
    def fail() -> None:
        raise ValueError("not raised by seqlab")

    assert explain(catch(fail)) is None
    assert explain(catch(lambda: int("x"))) is None
    assert explain(catch(lambda: Parser("seqlab x", None).parse(3))) is None  # a TypeError within seqlab
    assert explain(ValueError("never raised")) is None


def test_errors_of_expressions_within_seqlab_keep_their_traceback() -> None:
    code = compile("def convert(text):\n    return int(text)\n", entry.__file__, "exec")
    names: dict[str, object] = {}
    exec(code, names)
    convert = names["convert"]
    assert callable(convert)
    assert explain(catch(lambda: convert("x"))) is None


@pytest.mark.parametrize(
    ("statement", "status"),
    [("ValueError", 2), ("FileNotFoundError", 2), ("RuntimeError", 1), ("MemoryError", 1), ("ArithmeticError", 1)],
)
def test_exit_status_depends_on_the_exception_type(statement: str, status: int) -> None:
    code = compile(f"def fail():\n    raise {statement}('a message')\n", entry.__file__, "exec")
    names: dict[str, object] = {}
    exec(code, names)
    fail = names["fail"]
    assert callable(fail)
    assert explain(catch(fail)) == ("error: a message", status)


def test_operating_system_errors_name_the_file() -> None:
    assert explain(catch(lambda: Path("/nowhere/x").read_bytes())) == (
        "error: /nowhere/x: No such file or directory",
        2,
    )
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "model.safetensors")
    assert explain(full) == ("error: model.safetensors: No space left on device", 1)


def test_signals_have_their_own_exit_status() -> None:
    assert explain(KeyboardInterrupt()) == ("interrupted", 130)
    from seqlab.training.stopping import Interrupted

    message, status = explain(Interrupted(signal.SIGTERM, 7)) or ("", 0)
    assert status == 143
    assert "after step 7" in message


def test_programming_errors_are_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> int:
        raise KeyError("a bug")

    broken = SimpleNamespace(make_parser=lambda: Parser("seqlab broken", None), run=fail)
    monkeypatch.setitem(registry._parts["command"], "broken", registry.Entry("command", "broken", broken, ""))
    with pytest.raises(KeyError, match="a bug"):
        entry.main(["broken"])


def test_ctrl_c_prints_one_line(run_dir: Path, tmp_path: Path) -> None:
    stdin, out, errors = (tmp_path / name for name in ("in", "out", "errors"))
    os.mkfifo(stdin)
    os.mkfifo(out)
    process = start_command(["translate", run_dir, "--beam_size", "1", "--buffer_lines", "1"], stdin, out, errors)
    assert process.pid is not None
    with stdin.open("wb", buffering=0) as lines, out.open("rb") as translations:
        lines.write(b"abc\n")
        translations.readline()  # it is running, and waits for the next line
        time.sleep(0.2)
        os.kill(process.pid, signal.SIGINT)
        process.join(60)
    assert (process.exitcode, errors.read_text("utf-8")) == (130, "seqlab: interrupted\n")


def test_sigterm_outside_training_is_one_line_also_in_the_log_file(tmp_path: Path, run_dir: Path) -> None:
    text, log, out, errors = (tmp_path / name for name in ("text", "log", "out", "errors"))
    os.mkfifo(text)
    arguments = ["translate", run_dir, "--quiet", "--log_file", log]
    process = start_command(arguments, text, out, errors)
    with text.open("w"):  # the command waits for its input
        while not log.exists():
            time.sleep(0.01)
        assert process.pid is not None
        os.kill(process.pid, signal.SIGTERM)
        process.join()
    assert process.exitcode == 128 + signal.SIGTERM
    assert errors.read_text("utf-8") == "seqlab: SIGTERM: stopped\n"
    assert log.read_text("utf-8").endswith(" ERROR seqlab: SIGTERM: stopped\n")
