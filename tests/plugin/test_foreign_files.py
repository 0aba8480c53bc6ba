"""What a file names is not imported: run folders and configs of others run no code."""

import shutil
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml

from seqlab.runs.folder import RunFolder

from .conftest import HERE, TABLE, run_all, run_script

RED = "\x1b[31m"
NAMES = ["../../trap", "trap", "trap:Config", "trap.py", f"convolutional{RED}\x07\x9b2J", "", "convolutional\nseqlab"]


@pytest.fixture
def trap(tmp_path: Path) -> Path:
    """Write a module whose import leaves a mark, in a folder that is on the path; return the mark."""
    mark, folder = tmp_path / "mark", tmp_path / "path"
    folder.mkdir()
    (folder / "trap.py").write_text(f"open({str(mark)!r}, 'w').close()\n")
    return mark


def set_in(values: dict[str, Any], key: str, value: str) -> None:
    *sections, name = key.split(".")
    for section in sections:
        values = values.setdefault(section, {})
    values[name] = value


KEYS = [
    *("model.family", "objective.family", "optim.schedule.family", "optim.optimizer.family", "data.kind"),
    *("data.tokenizer.kind", "training.valid_metric", "{}", "model.{}"),
]


def test_names_in_a_config(config_file: Path, trap: Path, tmp_path: Path) -> None:
    commands = []
    for key, name in product(KEYS, NAMES):
        values = yaml.safe_load(config_file.read_text("utf-8"))
        set_in(values, key.format(name), name)
        path = tmp_path / f"{len(commands)}.yaml"
        path.write_text(yaml.safe_dump(values), "utf-8")
        commands.append(["train", path, "--run_dir", tmp_path / "run", *TABLE])
    for done in run_all(commands, path=[HERE, trap.with_name("path")], cwd=trap.parent):
        assert done.status == 2
        assert done.err.count("\n") == 1
        assert done.err[:-1].isprintable()
    assert not trap.exists()
    assert not (tmp_path / "run").exists()


@pytest.fixture
def foreign(trained: Path, tmp_path: Path) -> Callable[[Callable[[dict[str, Any], dict[str, Any]], None]], Path]:
    """Return what copies the run with another config and description."""

    def copy(change: Callable[[dict[str, Any], dict[str, Any]], None]) -> Path:
        run = RunFolder(shutil.copytree(trained, tmp_path / "foreign"))
        config, description = yaml.safe_load(run.read_config_text()), dict(run.read_description())
        change(config, description)
        run.replace_config(yaml.safe_dump(config), description)
        return run.path

    return copy


def test_a_missing_plugin_is_named(trained: Path, config_file: Path, corpus: Path) -> None:
    commands = [["translate", trained, "--input", corpus / "train.en"], ["info", trained]]
    commands += [["train", config_file, "--run_dir", trained]]
    for done in run_all(commands, path=[])[:2]:
        assert done.status == 2
        assert "The run was trained with the plugin 'seqlab_outside.table', " in done.err
        assert "A plugin runs code: load only what you trust." in done.err


def test_names_in_a_run(foreign: Any, trap: Path) -> None:
    def change(config: dict[str, Any], description: dict[str, Any]) -> None:
        config["model"]["family"] = "trap:Config"
        description["plugins"] = [
            {"kind": "model", "name": "trap:Config", "module": "trap"},
            {"kind": "../x", "name": ["trap"], "module": f"{RED}trap"},
            {"module": None},
            "trap",
        ]

    run = foreign(change)
    [done] = run_all([["translate", run, *TABLE]], path=[HERE, trap.with_name("path")], cwd=trap.parent)
    assert done.status == 2
    assert "the plugin '\\x1b[31mtrap', 'None', 'trap', which is not loaded" in done.err
    assert done.err[:-1].isprintable()
    script = f"import seqlab\ntry:\n    seqlab.load({str(run)!r})\nexcept ValueError as error:\n    print(error)\n"
    assert "'\\x1b[31mtrap'" in run_script(script, trap.with_name("path"))
    assert not trap.exists()


def test_notes_that_are_none_are_compared_with_nothing(foreign: Any, config_file: Path) -> None:
    def change(config: dict[str, Any], description: dict[str, Any]) -> None:
        description["plugins"] = [None, {"kind": "objective", "name": "focal", "module": "m", "sha256": f"{RED}0"}]

    run = foreign(change)
    [done] = run_all([["train", config_file, "--run_dir", run, *TABLE]])
    assert done.status == 0, done.err
    assert done.err.count("not bit for bit") == 4
    assert RED not in done.err
    assert "\\x1b[31m0" in done.err
