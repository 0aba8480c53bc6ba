"""Fixtures for tests of plugins: the package `seqlab_outside` is importable only in the processes that tests start."""

import json
import os
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import redirect_stdout
from io import StringIO
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from reference.processes import FORKSERVER
from reference.shared import SharedFolder

import seqlab

from . import driver

PLUGIN_PATH = Path(__file__).parent
TESTS_PATH = PLUGIN_PATH.parent
PLUGIN_OPTION = ("--plugin", "seqlab_outside.table")


class CommandResult(NamedTuple):
    """Exit status and output of a command."""

    status: Any
    """The exit status, or the `repr` of the error that the command raised."""
    out: str
    err: str
    has_torch: bool
    """Whether torch was imported after the command."""


def environment(*path: str | Path, **variables: str) -> dict[str, str]:
    """Return the environment of a process with `seqlab` and other folders on PYTHONPATH."""
    folders = [*map(str, path), str(Path(seqlab.__file__).parents[1])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(folders), "PYTHONDONTWRITEBYTECODE": "1", **variables}


def call_in_process(
    function: Callable[..., Any],
    *arguments: Any,
    path: Sequence[str | Path] = (PLUGIN_PATH,),
    variables: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Any:
    """Call a function in a new process with the folders of `path` on its `sys.path`, and return its result.

    The process has imported torch and seqlab, but has discovered no plugins. The result is None if it was killed.
    """
    reader, writer = FORKSERVER.Pipe(duplex=False)
    call = (function, arguments, [*map(str, path)], environment(*path, **(variables or {})), cwd or Path.cwd())
    process = FORKSERVER.Process(target=_call, args=(writer, *call))
    process.start()
    writer.close()
    try:
        error, result = reader.recv()
    except EOFError:
        error, result = "", None
    process.join()
    assert not error, error
    return result


def _call(
    results: Connection,
    function: Callable[..., Any],
    arguments: Sequence[Any],
    path: Sequence[str],
    env: Mapping[str, str],
    cwd: Path,
) -> None:
    os.environ.update(env)
    os.chdir(cwd)
    sys.dont_write_bytecode = True
    sys.path[:] = [*path, *(folder for folder in sys.path if not Path(folder).is_relative_to(TESTS_PATH))]
    try:
        results.send(("", function(*arguments)))
    except BaseException:
        results.send((traceback.format_exc(), None))


def run_commands(commands: Iterable[Sequence[str | Path]], **options: Any) -> list[CommandResult]:
    """Run commands one after the other in one new process; `options` are those of `call_in_process`."""
    results: list[CommandResult] = call_in_process(_run_all, [*map(list, commands)], **options)
    return results


def _run_all(commands: Sequence[Sequence[str | Path]]) -> list[CommandResult]:
    return [CommandResult(*driver.run([str(argument) for argument in command])) for command in commands]


def run_commands_without_torch(
    commands: Iterable[Sequence[str | Path]], path: Sequence[str | Path] = (PLUGIN_PATH,)
) -> list[CommandResult]:
    """Run commands that do not need torch in one new interpreter, which has imported nothing."""
    lines = "".join(json.dumps([str(argument) for argument in command]) + "\n" for command in commands)
    command = [sys.executable, "-P", str(PLUGIN_PATH / "driver.py")]  # -P: without the driver's folder on the path
    done = subprocess.run(command, input=lines, capture_output=True, text=True, check=True, env=environment(*path))
    return [CommandResult(*json.loads(line)) for line in done.stdout.splitlines()]


def run_script(text: str, *path: str | Path) -> str:
    """Run a script in a new process, where it must succeed; return its standard output."""
    out: str = call_in_process(_run_text, text, path=path)
    return out


def _run_text(text: str) -> str:
    with redirect_stdout(StringIO()) as out:
        exec(compile(text, "<script>", "exec"), {"__name__": "__main__"})
    return out.getvalue()


def write_distribution(folder: Path, name: str, target: str) -> Path:
    """Write the metadata of an installed package: its name, and an entry point to its table of parts."""
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(f"[seqlab.plugins]\n{name} = {target}\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def corpus(numbers: Path) -> Path:
    return numbers


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return the folders that make the package installed when they are on PYTHONPATH."""
    return PLUGIN_PATH, write_distribution(
        tmp_path_factory.mktemp("site"), "seqlab_outside", "seqlab_outside.table:PARTS"
    )


def write_config(path: Path, corpus: Path, **sections: dict[str, Any]) -> Path:
    """Write the config of a small run that uses all parts of the plugin; `sections` are merged into it."""
    values: dict[str, Any] = {
        "data": {
            "train_src": str(corpus / "train.en"),
            "train_tgt": str(corpus / "train.de"),
            "tokenizer": {"kind": "sentencepiece_bpe", "vocab_size": 300},
            **{"subword_sampling": 0.1, "batch_tokens": 80, "micro_batch_tokens": 40, "chunk_pairs": 64},
            **{"valid_fraction": 0.1, "prefetch_steps": 2},
        },
        "model": {
            **{"family": "convolutional", "d_model": 16, "num_encoder_layers": 1, "num_decoder_layers": 2},
            **{"dropout": 0.1, "max_length": 32},
        },
        "objective": {"family": "focal", "gamma": 1.5},
        "optim": {"optimizer": {"lr": 3e-3}, "schedule": {"family": "triangle"}, "average_last": 3},
        "training": {
            **{"max_steps": 16, "log_every": 3, "save_every": 4, "valid_every": 8, "valid_metric": "distinct"},
            **{"device": "cpu", "precision": "fp32", "threads": 1},
        },
    }
    for name, section in sections.items():
        values[name] = section if "family" in section else values[name] | section
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def trained(corpus: Path, shared: SharedFolder) -> Path:
    """Train a run that uses all parts of the plugin, with `--plugin`, and return its folder.

    The folder `transformer` next to it is a run of built-in parts with the same vocabulary.
    """

    def build(folder: Path) -> None:
        run = folder / "trained"
        built_in = write_config(
            folder / "built_in.yaml",
            corpus,
            data={"tokenizer": {"kind": "saved", "folder": str(run / "tokenizer")}, "subword_sampling": 0.0},
            model={"family": "transformer", "d_model": 16, "d_ff": 16, "num_heads": 2, "max_length": 32},
            objective={"family": "cross_entropy"},
            optim={"schedule": {"family": "constant"}},
            training={"valid_metric": "bleu", "max_steps": 8},
        )
        commands = (
            ["train", write_config(folder / "outside.yaml", corpus), "--run_dir", run, *PLUGIN_OPTION],
            ["train", built_in, "--run_dir", folder / "transformer"],
        )
        for done in run_commands(commands):
            assert done.status == 0, done.err

    return shared.build("outside-trained", build) / "trained"


@pytest.fixture(scope="session")
def config_file(trained: Path) -> Path:
    """Return the config of the trained run."""
    return trained.with_name("outside.yaml")
