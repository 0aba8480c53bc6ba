"""Installed plugins that cannot be read disturb nothing but what asks for their parts."""

from pathlib import Path

import pytest
from reference.tiny_runs import assert_equal_runs

from .conftest import Done, run_all, write_distribution

TABLES = {
    "raises": "raise RuntimeError('no table here')\n",
    "misshapen": "PARTS = {'model': ['convolutional']}\n",
    "takes": "PARTS = {'metric': {'fresh': ('takes:fresh', ''), 'bleu': ('takes:bleu', '')}}\n",
    "unusable": "PARTS = {'model': {'unusable': ('nowhere:Config', 'a model')},"
    " 'command': {'stuck': ('unusable:STUCK', 'a command')}}\n",
}


@pytest.fixture(scope="module")
def path(installed: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Install plugins that are broken, beside the one that is not."""
    folder = tmp_path_factory.mktemp("broken")
    for name, text in TABLES.items():
        (folder / f"{name}_table.py").write_text(text)
        write_distribution(folder, name, f"{name}_table:PARTS")
    write_distribution(folder, "missing", "there_is_no_such_module:PARTS")
    return [*installed, folder]


@pytest.fixture(scope="module")
def listed(path: list[Path], tmp_path_factory: pytest.TempPathFactory, config_file: Path) -> list[Done]:
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
    return run_all(commands, path=path)


def test_one_warning_each_in_listings(listed: list[Done]) -> None:
    listing = listed[0]
    assert listing.status == 0
    warned = listing.err.splitlines()
    assert len(warned) == 4
    for name, reason in (
        ("raises", "RuntimeError: no table here"),
        ("misshapen", "must be a mapping kind -> name"),
        ("takes", "takes 1.0 registers the metric 'bleu', but that name is taken by seqlab"),
        ("missing", "No module named 'there_is_no_such_module'"),
    ):
        assert any(f"Left out: The parts of the plugin {name} 1.0" in line and reason in line for line in warned)
    assert "bigrams" in listing.out
    assert "stuck" in listing.out
    assert [(done.status, done.err) for done in listed[1:3]] == [(0, "")] * 2


def test_an_error_where_a_part_is_asked_for(listed: list[Done]) -> None:
    metric, command, model, fields, again = listed[3:]
    assert [done.status for done in (metric, command, model, fields, again)] == [2, 2, 2, 0, 2]
    assert "bleu, chrf" in metric.err
    assert "Plugins that cannot be read: The parts of the plugin" in metric.err
    assert "The command 'stuck' of unusable 1.0 cannot be imported (ModuleNotFoundError: " in command.err
    for done in (model, again):
        assert "The model 'unusable' of unusable 1.0 cannot be imported (ModuleNotFoundError: No module" in done.err
    assert fields.err.count("Left out") == 1
    assert "convolutional" in fields.out


def test_training_and_translating_go_on(path: list[Path], trained: Path, corpus: Path, tmp_path: Path) -> None:
    run, own = tmp_path / "run", trained.with_name("own.yaml")
    commands = [["train", own, "--run_dir", run], ["translate", run, "--input", corpus / "train.en"]]
    train, translate = run_all(commands, path=path)
    assert (train.status, translate.status) == (0, 0)
    assert train.err.count("Left out") <= 4
    assert "Left out" not in translate.err
    assert_equal_runs(run, trained.with_name("transformer"))
    [alone] = run_all([commands[1]], path=path)
    assert (alone.status, alone.out) == (0, translate.out)
