"""A tokenizer and an export format of a plugin."""

import json
from pathlib import Path

import pytest
from reference.tiny_runs import write_text

from .conftest import PLUGIN_OPTION, CommandResult, run_commands, run_commands_without_torch


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bytes")
    write_text(folder, [f"zeile {number} \u00e9" for number in range(60)])
    return folder


@pytest.fixture(scope="module")
def results(folder: Path) -> dict[str, CommandResult]:
    """Print help, train and export with the plugin; help needs no torch."""
    text, run, other = folder / "text0.txt", folder / "run", folder / "other"
    train = ["train", "--data.train", text, "--model.family", "ngram_lm", "--model.order", "3"]
    saved = ["--data.tokenizer.kind", "saved", "--data.tokenizer.folder", run / "tokenizer"]
    listings = {
        "help": ["export", "--help"],
        "help of the format": ["export", "--format", "token_list", "--help"],
        "help of another": ["export", "--format", "arpa", "--help"],
    }
    commands = {
        "bytes": [*train, "--data.tokenizer.kind", "bytes", "--run_dir", run],
        "saved": [*train, *saved, "--run_dir", other],
        "unknown key": [*train, "--data.tokenizer.kind", "bytes", "--data.tokenizer.tags", "true", "--run_dir", "no"],
        "export": ["export", run, "--format", "token_list", "--out", folder / "list", "--numbered"],
        "again": ["export", run, "--format", "token_list", "--out", folder / "list"],
        "option of another": ["export", run, "--format", "arpa", "--numbered"],
        "no such format": ["export", run, "--format", "token_lists"],
        "perplexity": ["perplexity", run, text],
    }
    results = run_commands_without_torch([*command, *PLUGIN_OPTION] for command in listings.values())
    results += run_commands([*command, *PLUGIN_OPTION] for command in commands.values())
    return dict(zip(listings | commands, results, strict=True))


def test_help_lists_the_format_and_does_not_import_torch(results: dict[str, CommandResult]) -> None:
    for name in ("help", "help of the format"):
        assert (results[name].status, results[name].has_torch, results[name].err) == (0, False, "")
    assert "  token_list     the target tokens, one per line" in results["help"].out
    assert "--numbered" in results["help of the format"].out
    assert "--numbered" not in results["help"].out + results["help of another"].out


def test_training_and_export(results: dict[str, CommandResult], folder: Path) -> None:
    for name in ("bytes", "saved", "export", "perplexity"):
        assert results[name].status == 0, results[name].err
    assert results["export"].out == f"{folder / 'list'}\n"
    lines = (folder / "list").read_text("utf-8").split("\n")
    assert lines[:5] == ["0\t<pad>", "1\t<s>", "2\t</s>", "3\t<unk>", "4\t<0x00>"]
    assert len(lines) == 4 + 256 + 1


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("unknown key", "There is no `data.tokenizer.tags` with `data.tokenizer.kind: bytes`"),
        ("again", "exists already: add `--overwrite`"),
        ("option of another", "there is no option `--numbered`"),
        ("no such format", "`--format` must be one of ctranslate2, arpa, token_list, but is `token_lists` instead"),
    ],
)
def test_invalid_options_are_refused(results: dict[str, CommandResult], name: str, message: str) -> None:
    assert (results[name].status, results[name].out) == (2, "")
    assert message in results[name].err


@pytest.mark.usefixtures("results")
def test_runs_require_the_plugin_of_their_tokenizer(folder: Path) -> None:
    """This includes a run with a tokenizer that another run has saved."""
    for name in ("run", "other"):
        plugins = json.loads((folder / name / "run.json").read_text("utf-8"))["plugins"]
        assert {(plugin["kind"], plugin["name"]) for plugin in plugins} == {("tokenizer", "bytes")}
    for done in run_commands(["perplexity", folder / name, folder / "text0.txt"] for name in ("run", "other")):
        assert done.status == 2
        assert "trained with the plugin 'seqlab_outside.table', which is not loaded" in done.err
