"""The frame around the commands: help without torch, exit statuses, what is an error message and what a traceback."""

import errno
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
from seqlab.data.readers import require_file
from seqlab.registry import Parts


def caught(action) -> BaseException:
    """Return what an action raises, with its traceback."""
    try:
        action()
    except BaseException as error:
        return error
    raise AssertionError("nothing was raised")


def late_for(arguments: list[str]) -> list[str]:
    """Name what help has no use for; the options of most commands are read from configs, which are pydantic's."""
    always = ["torch", "sacrebleu", "datasets", "sentencepiece", "tokenizers", "ctranslate2", "rich", "yaml"]
    reads_configs = arguments[0] not in ("--help", "--version", "recipes")
    return [*always, "numpy"] + ([] if reads_configs else ["pydantic"])


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], *([name, "--help"] for name in Parts("command"))])
def test_help_loads_no_torch(arguments: list[str]) -> None:
    code = (
        "import sys; from seqlab.cli.main import main\n"
        f"status = main({arguments!r})\n"
        "assert status == 0, status\n"
        f"loaded = [name for name in {late_for(arguments)!r} if name in sys.modules]\n"
        "assert not loaded, loaded"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "seqlab" in done.stdout


@pytest.mark.parametrize("name", Parts("command"))
def test_help_names_every_option(seqlab, name: str) -> None:
    result = seqlab(name, "--help")
    parser = entry.find_command(name).make_parser()
    assert all(option in result.out.decode() for action in parser._actions for option in action.option_strings)


def test_another_rank_says_only_what_is_its_own(seqlab, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    same = seqlab("train", "--nonsense")
    assert (same.status, same.err) == (2, "")
    own = seqlab("evaluate", "missing.txt", "--ref", "missing.txt")
    assert (own.status, own.err) == (2, "seqlab: rank 1: error: missing.txt: there is no such file.\n")


def test_no_command_and_unknown_commands(seqlab) -> None:
    nothing = seqlab()
    assert (nothing.status, nothing.out) == (2, b"")
    assert "translate" in nothing.err
    unknown = seqlab("trainslate", "run", "--beam_size", "3")
    assert unknown.status == 2
    assert (
        unknown.err
        == "seqlab: error: there is no command `trainslate`; the nearest is `translate` (see `seqlab --help`)\n"
    )


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
        if name != "train":  # whose fields of the config are no options of its parser
            entry.find_command(name).make_parser().parse(options)


def test_a_message_of_seqlab_is_no_traceback() -> None:
    missing = explain(caught(lambda: require_file(Path("nowhere"))))
    assert missing == ("error: nowhere: there is no such file.", 2)
    assert explain(caught(lambda: Parser("seqlab x", None).parse(["y"]))) == (
        "error: unexpected argument `y` (see `seqlab x --help`)",
        2,
    )


def test_errors_of_the_program_keep_their_traceback() -> None:
    def foreign() -> None:
        raise ValueError("not raised by seqlab")

    assert explain(caught(foreign)) is None
    assert explain(caught(lambda: int("x"))) is None
    assert explain(caught(lambda: Parser("seqlab x", None).parse(3))) is None  # a TypeError inside of seqlab
    assert explain(ValueError("never raised")) is None


def test_an_expression_inside_of_seqlab_is_an_error_of_the_program() -> None:
    code = compile("def convert(text):\n    return int(text)\n", entry.__file__, "exec")
    names: dict[str, object] = {}
    exec(code, names)
    convert = names["convert"]
    assert callable(convert)
    assert explain(caught(lambda: convert("x"))) is None


@pytest.mark.parametrize(
    ("statement", "status"),
    [("ValueError", 2), ("FileNotFoundError", 2), ("RuntimeError", 1), ("MemoryError", 1), ("ArithmeticError", 1)],
)
def test_what_seqlab_raises_by_type(statement: str, status: int) -> None:
    code = compile(f"def fail():\n    raise {statement}('a message')\n", entry.__file__, "exec")
    names: dict[str, object] = {}
    exec(code, names)
    fail = names["fail"]
    assert callable(fail)
    assert explain(caught(fail)) == ("error: a message", status)


def test_errors_of_the_system_name_the_file() -> None:
    assert explain(caught(lambda: Path("/nowhere/x").read_bytes())) == (
        "error: /nowhere/x: No such file or directory",
        2,
    )
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "model.safetensors")
    assert explain(full) == ("error: model.safetensors: No space left on device", 1)


def test_a_signal_is_no_error() -> None:
    assert explain(KeyboardInterrupt()) == ("interrupted", 130)
    from seqlab.training.stopping import Interrupted

    message, status = explain(Interrupted(signal.SIGTERM, 7)) or ("", 0)
    assert status == 143
    assert "after step 7" in message


def test_a_programming_error_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> int:
        raise KeyError("a bug")

    broken = SimpleNamespace(make_parser=lambda: Parser("seqlab broken", None), run=fail)
    monkeypatch.setitem(registry._parts["command"], "broken", registry.Entry("command", "broken", broken, ""))
    with pytest.raises(KeyError, match="a bug"):
        entry.main(["broken"])


def test_ctrl_c_is_one_line(run_dir: Path) -> None:
    command = [sys.executable, "-m", "seqlab", "translate", str(run_dir), "--beam_size", "1"]
    process = subprocess.Popen(
        [*command, "--buffer_lines", "1"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"abc\n")
    process.stdin.flush()
    process.stdout.readline()  # it is running, and waits for the next line
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 130
    assert process.stderr is not None
    assert process.stderr.read() == b"seqlab: interrupted\n"
