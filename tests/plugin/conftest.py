"""Fixtures for tests of plugins: the package `seqlab_outside` is importable only in the processes that tests start."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from reference.tiny_runs import write_numbers

import seqlab

PLUGIN_PATH = Path(__file__).parent
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


def run_commands(
    commands: Iterable[Sequence[str | Path]],
    path: Sequence[str | Path] = (PLUGIN_PATH,),
    variables: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> list[CommandResult]:
    """Run commands one after the other in one new process."""
    lines = "".join(json.dumps([str(each) for each in command]) + "\n" for command in commands)
    driver = [sys.executable, "-P", str(PLUGIN_PATH / "driver.py")]  # -P: without the driver's folder on the path
    env = environment(*path, **(variables or {}))
    done = subprocess.run(driver, input=lines, capture_output=True, text=True, check=True, env=env, cwd=cwd)
    return [CommandResult(*json.loads(line)) for line in done.stdout.splitlines()]


def run_script(text: str, *path: str | Path, cwd: Path | None = None, **variables: str) -> str:
    """Run a script, which must succeed; return its standard output."""
    command = [sys.executable, "-c", text]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=environment(*path, **variables), cwd=cwd
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def write_distribution(folder: Path, name: str, target: str) -> Path:
    """Write the metadata of an installed package: its name, and an entry point to its table of parts."""
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(f"[seqlab.plugins]\n{name} = {target}\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("outside") / "corpus"
    write_numbers(folder, range(1, 130))
    return folder


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
            **{"max_steps": 96, "log_every": 3, "save_every": 4, "valid_every": 32, "valid_metric": "distinct"},
            **{"device": "cpu", "precision": "fp32", "threads": 1},
        },
    }
    for name, section in sections.items():
        values[name] = section if "family" in section else values[name] | section
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def config_file(corpus: Path) -> Path:
    return write_config(corpus.with_name("outside.yaml"), corpus)


@pytest.fixture(scope="session")
def trained(config_file: Path, corpus: Path) -> Path:
    """Train a run that uses all parts of the plugin, with `--plugin`, and return its folder.

    The folder `transformer` next to it is a run of built-in parts with the same vocabulary.
    """
    run = config_file.with_name("trained")
    built_in = write_config(
        run.with_name("built_in.yaml"),
        corpus,
        data={"tokenizer": {"kind": "saved", "folder": str(run / "tokenizer")}, "subword_sampling": 0.0},
        model={"family": "transformer", "d_model": 16, "d_ff": 16, "num_heads": 2, "max_length": 32},
        objective={"family": "cross_entropy"},
        optim={"schedule": {"family": "constant"}},
        training={"valid_metric": "bleu", "max_steps": 8},
    )
    commands = (
        ["train", config_file, "--run_dir", run, *PLUGIN_OPTION],
        ["train", built_in, "--run_dir", run.with_name("transformer")],
    )
    for done in run_commands(commands):
        assert done.status == 0, done.err
    return run
