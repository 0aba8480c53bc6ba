"""Untrusted run folders and configs: modules that they name are never imported."""

import shutil
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml

from seqlab.runs.folder import RunFolder

from .conftest import PLUGIN_OPTION, PLUGIN_PATH, run_commands, run_script

RED = "\x1b[31m"
NAMES = ["../../trap", "trap", "trap:Config", "trap.py", f"convolutional{RED}\x07\x9b2J", "", "convolutional\nseqlab"]


@pytest.fixture
def trap(tmp_path: Path) -> Path:
    """Write a module in the folder `path` that creates a file when it is imported; return the path of that file."""
    file, folder = tmp_path / "imported", tmp_path / "path"
    folder.mkdir()
    (folder / "trap.py").write_text(f"open({str(file)!r}, 'w').close()\n")
    return file


def set_nested(values: dict[str, Any], key: str, value: str) -> None:
    """Set a value by its dotted key."""
    *sections, name = key.split(".")
    for section in sections:
        values = values.setdefault(section, {})
    values[name] = value


KEYS = [
    *("model.family", "objective.family", "optim.schedule.family", "optim.optimizer.family", "data.kind"),
    *("data.tokenizer.kind", "training.valid_metric", "{}", "model.{}"),
]


def test_modules_named_in_a_config_are_not_imported(config_file: Path, trap: Path, tmp_path: Path) -> None:
    commands = []
    for key, name in product(KEYS, NAMES):
        values = yaml.safe_load(config_file.read_text("utf-8"))
        set_nested(values, key.format(name), name)
        path = tmp_path / f"{len(commands)}.yaml"
        path.write_text(yaml.safe_dump(values), "utf-8")
        commands.append(["train", path, "--run_dir", tmp_path / "run", *PLUGIN_OPTION])
    for done in run_commands(commands, path=[PLUGIN_PATH, trap.with_name("path")], cwd=trap.parent):
        assert done.status == 2
        assert done.err.count("\n") == 1
        assert done.err[:-1].isprintable()
    assert not trap.exists()
    assert not (tmp_path / "run").exists()


Change = Callable[[dict[str, Any], dict[str, Any]], None]
"""Function that changes the config and the description of a run in place."""


@pytest.fixture
def copy_run(trained: Path, tmp_path: Path) -> Callable[[Change], Path]:
    """Return a function that copies the trained run with a changed config and description."""

    def copy(change: Change) -> Path:
        run = RunFolder(shutil.copytree(trained, tmp_path / "copy"))
        config, description = yaml.safe_load(run.read_config_text()), dict(run.read_description())
        change(config, description)
        run.replace_config(yaml.safe_dump(config), description)
        return run.path

    return copy


def test_error_names_the_missing_plugin_of_a_run(trained: Path, config_file: Path, corpus: Path) -> None:
    commands = [["translate", trained, "--input", corpus / "train.en"], ["info", trained]]
    commands += [["train", config_file, "--run_dir", trained]]
    for done in run_commands(commands, path=[])[:2]:
        assert done.status == 2
        assert "The run was trained with the plugin 'seqlab_outside.table', " in done.err
        assert "A plugin runs code: load only what you trust." in done.err


def test_modules_named_in_a_run_are_not_imported(copy_run: Any, trap: Path) -> None:
    def change(config: dict[str, Any], description: dict[str, Any]) -> None:
        config["model"]["family"] = "trap:Config"
        description["plugins"] = [
            {"kind": "model", "name": "trap:Config", "module": "trap"},
            {"kind": "../x", "name": ["trap"], "module": f"{RED}trap"},
            {"module": None},
            "trap",
        ]

    run = copy_run(change)
    [done] = run_commands(
        [["translate", run, *PLUGIN_OPTION]], path=[PLUGIN_PATH, trap.with_name("path")], cwd=trap.parent
    )
    assert done.status == 2
    assert "the plugin '\\x1b[31mtrap', 'None', 'trap', which is not loaded" in done.err
    assert done.err[:-1].isprintable()
    script = f"import seqlab\ntry:\n    seqlab.load({str(run)!r})\nexcept ValueError as error:\n    print(error)\n"
    assert "'\\x1b[31mtrap'" in run_script(script, trap.with_name("path"))
    assert not trap.exists()


def test_invalid_plugin_entries_of_a_run_are_ignored_or_escaped(copy_run: Any, config_file: Path) -> None:
    def change(config: dict[str, Any], description: dict[str, Any]) -> None:
        description["plugins"] = [None, {"kind": "objective", "name": "focal", "module": "m", "sha256": f"{RED}0"}]

    run = copy_run(change)
    [done] = run_commands([["train", config_file, "--run_dir", run, *PLUGIN_OPTION]])
    assert done.status == 0, done.err
    assert done.err.count("not bit for bit") == 4
    assert RED not in done.err
    assert "\\x1b[31m0" in done.err
