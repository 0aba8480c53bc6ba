"""Broken installed plugins: only commands that use their parts fail."""

from pathlib import Path

import pytest
from reference.tiny_runs import assert_equal_runs

from .conftest import CommandResult, run_commands, write_distribution

TABLES = {
    "raises": "raise RuntimeError('no table here')\n",
    "misshapen": "PARTS = {'model': ['convolutional']}\n",
    "takes": "PARTS = {'metric': {'fresh': ('takes:fresh', ''), 'bleu': ('takes:bleu', '')}}\n",
    "unusable": "PARTS = {'model': {'unusable': ('nowhere:Config', 'a model')},"
    " 'command': {'stuck': ('unusable:STUCK', 'a command')}}\n",
}


@pytest.fixture(scope="module")
def path(installed: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Install broken plugins and one that works."""
    folder = tmp_path_factory.mktemp("broken")
    for name, text in TABLES.items():
        (folder / f"{name}_table.py").write_text(text)
        write_distribution(folder, name, f"{name}_table:PARTS")
    write_distribution(folder, "missing", "there_is_no_such_module:PARTS")
    return [*installed, folder]


@pytest.fixture(scope="module")
def results(path: list[Path], tmp_path_factory: pytest.TempPathFactory, config_file: Path) -> list[CommandResult]:
    lines = tmp_path_factory.mktemp("listed") / "lines"
    lines.write_text("a b\n", "utf-8")
    commands = [
        ["--help"],
        ["recipes"],
        ["bigrams", lines],
        ["evaluate", lines, "--ref", lines, "--metrics", "fresh"],
        ["stuck"],
        ["train", config_file, "--model.family", "unusable"],
        ["train", config_file, "--help"],
        ["train", config_file, "--model.family", "unusable"],
    ]
    return run_commands(commands, path=path)


def test_listings_warn_once_of_each_broken_plugin(results: list[CommandResult]) -> None:
    listing = results[0]
    assert listing.status == 0
    warnings = listing.err.splitlines()
    assert len(warnings) == 4
    for name, reason in (
        ("raises", "RuntimeError: no table here"),
        ("misshapen", "must be a mapping kind -> name"),
        ("takes", "takes 1.0 registers the metric 'bleu', but that name is taken by seqlab"),
        ("missing", "No module named 'there_is_no_such_module'"),
    ):
        assert any(f"Left out: The parts of the plugin {name} 1.0" in line and reason in line for line in warnings)
    assert "bigrams" in listing.out
    assert "stuck" in listing.out
    assert [(done.status, done.err) for done in results[1:3]] == [(0, "")] * 2


def test_commands_that_use_a_broken_part_fail(results: list[CommandResult]) -> None:
    metric, command, model, fields, repeated = results[3:]
    assert [done.status for done in (metric, command, model, fields, repeated)] == [2, 2, 2, 0, 2]
    assert "bleu, chrf" in metric.err
    assert "Plugins that cannot be read: The parts of the plugin" in metric.err
    assert "The command 'stuck' of unusable 1.0 cannot be imported (ModuleNotFoundError: " in command.err
    for done in (model, repeated):
        assert "The model 'unusable' of unusable 1.0 cannot be imported (ModuleNotFoundError: No module" in done.err
    assert fields.err.count("Left out") == 1
    assert "convolutional" in fields.out


def test_other_commands_are_unaffected(path: list[Path], trained: Path, corpus: Path, tmp_path: Path) -> None:
    run, config = tmp_path / "run", trained.with_name("built_in.yaml")
    commands = [["train", config, "--run_dir", run], ["translate", run, "--input", corpus / "train.en"]]
    train, translate = run_commands(commands, path=path)
    assert (train.status, translate.status) == (0, 0)
    assert train.err.count("Left out") <= 4
    assert "Left out" not in translate.err
    assert_equal_runs(run, trained.with_name("transformer"))
    [translate_only] = run_commands([commands[1]], path=path)
    assert (translate_only.status, translate_only.out) == (0, translate.out)
