"""A tokenizer and an export format from outside."""

import json
from pathlib import Path

import pytest
from reference.tiny_runs import write_text

from .conftest import TABLE, Done, run_all


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bytes")
    write_text(folder, [f"zeile {number} \u00e9" for number in range(60)])
    return folder


@pytest.fixture(scope="module")
def used(folder: Path) -> dict[str, Done]:
    """Train and export with the plugin, help first."""
    text, run, other = folder / "text0.txt", folder / "run", folder / "other"
    train = ["train", "--data.train", text, "--model.family", "ngram_lm", "--model.order", "3"]
    saved = ["--data.tokenizer.kind", "saved", "--data.tokenizer.folder", run / "tokenizer"]
    commands = {
        "help": ["export", "--help"],
        "help of the format": ["export", "--format", "token_list", "--help"],
        "help of another": ["export", "--format", "arpa", "--help"],
        "bytes": [*train, "--data.tokenizer.kind", "bytes", "--run_dir", run],
        "saved": [*train, *saved, "--run_dir", other],
        "unknown key": [*train, "--data.tokenizer.kind", "bytes", "--data.tokenizer.tags", "true", "--run_dir", "no"],
        "export": ["export", run, "--format", "token_list", "--out", folder / "list", "--numbered"],
        "again": ["export", run, "--format", "token_list", "--out", folder / "list"],
        "option of another": ["export", run, "--format", "arpa", "--numbered"],
        "no such format": ["export", run, "--format", "token_lists"],
        "perplexity": ["perplexity", run, text],
    }
    return dict(zip(commands, run_all([*each, *TABLE] for each in commands.values()), strict=True))


def test_help_imports_no_torch_and_lists_the_format(used: dict[str, Done]) -> None:
    for name in ("help", "help of the format"):
        assert (used[name].status, used[name].torch, used[name].err) == (0, False, "")
    assert "  token_list     the tokens, one a line" in used["help"].out
    assert "--numbered" in used["help of the format"].out
    assert "--numbered" not in used["help"].out + used["help of another"].out


def test_trains_and_exports(used: dict[str, Done], folder: Path) -> None:
    for name in ("bytes", "saved", "export", "perplexity"):
        assert used[name].status == 0, used[name].err
    assert used["export"].out == f"{folder / 'list'}\n"
    lines = (folder / "list").read_text("utf-8").split("\n")
    assert lines[:5] == ["0\t<pad>", "1\t<s>", "2\t</s>", "3\t<unk>", "4\t<0x00>"]
    assert len(lines) == 4 + 256 + 1


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("unknown key", "There is no `data.tokenizer.tags` with `data.tokenizer.kind: bytes`"),
        ("again", "exists already: add `--overwrite`"),
        ("option of another", "there is no option `--numbered`"),
        ("no such format", "`--format` must be one of ctranslate2, arpa, token_list, but is `token_lists` instead"),
    ],
)
def test_mistakes(used: dict[str, Done], name: str, said: str) -> None:
    assert (used[name].status, used[name].out) == (2, "")
    assert said in used[name].err


@pytest.mark.usefixtures("used")
def test_runs_name_the_plugin_that_reads_them(folder: Path) -> None:
    """Also a run whose tokenizer was saved by another one."""
    for name in ("run", "other"):
        notes = json.loads((folder / name / "run.json").read_text("utf-8"))["plugins"]
        assert {(note["kind"], note["name"]) for note in notes} == {("tokenizer", "bytes")}
    found = run_all(["perplexity", folder / name, folder / "text0.txt"] for name in ("run", "other"))
    for done in found:
        assert done.status == 2
        assert "trained with the plugin 'seqlab_outside.table', which is not loaded" in done.err
