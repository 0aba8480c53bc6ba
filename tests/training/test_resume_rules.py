"""Rules of resuming: changes that are allowed, refused with an error, or reported by a warning."""

import json
import logging
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from reference.tiny_runs import (
    assert_equal_runs,
    comparable_metrics,
    read_checkpoints,
    tiny_config,
    with_training,
)

from seqlab.base.atomic_io import with_checksum, write_json
from seqlab.nn import reference_kernels
from seqlab.optim import OptimConfig, SgdConfig
from seqlab.runs.checkpoint import checkpoint_name
from seqlab.runs.config import Config
from seqlab.runs.folder import RunFolder
from seqlab.runs.load import load_run, read_config
from seqlab.text import train_tokenizer
from seqlab.training import train
from seqlab.training.device_context import ARITHMETIC

from .conftest import Trained, edit_description, read_files, with_16_steps


def test_changes_of_resumable_fields_are_recorded_as_events(translator: Trained, run_dir: Path) -> None:
    changed = with_training(translator[0], max_steps=14, log_every=1, save_every=7, patience=5, max_minutes=99.0)
    train(changed, run_dir)
    [event] = comparable_metrics(run_dir, ["event"])
    assert event["event"] == "resumed"
    assert event["step"] == 12
    assert event["changes"] == {
        "training.max_steps": [12, 14],
        "training.max_minutes": [None, 99.0],
        "training.log_every": [3, 1],
        "training.save_every": [2, 7],
        "training.patience": [None, 5],
    }
    assert read_config(RunFolder(run_dir)) == changed
    assert [line["step"] for line in comparable_metrics(run_dir, ["train"])][-3:] == [12, 13, 14]


def test_changes_are_recorded_even_if_the_run_is_killed_before_a_checkpoint(
    translator: Trained, run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(sys.modules["seqlab.training.train"], "fit", lambda run: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            train(with_16_steps(translator[0]), run_dir)
    train(with_16_steps(translator[0]), run_dir)
    changes = [event["changes"] for event in comparable_metrics(run_dir, ["event"])]
    assert changes == [{"training.max_steps": [12, 16]}, {}]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: replace(c, seed=2), r"`seed` 1 -> 2"),
        (lambda c: replace(c, model=replace(c.model, dropout=0.2)), r"`model\.dropout` 0\.1 -> 0\.2"),
        (lambda c: with_training(c, valid_metric="bleu"), r"`training\.valid_metric` 'nll' -> 'bleu'"),
        (lambda c: with_training(c, precision="bf16"), r"`training\.precision` 'fp32' -> 'bf16'"),
        (
            lambda c: replace(c, optim=OptimConfig(optimizer=SgdConfig())),
            r"`optim\.optimizer\.family` 'adam' -> 'sgd'.*`optim\.optimizer\.momentum` None -> 0\.9",
        ),
        (lambda c: replace(c, data=replace(c.data, batch_tokens=90)), r"`data\.batch_tokens` 80 -> 90"),
        (lambda c: replace(c, init_from="elsewhere"), r"`init_from` None -> 'elsewhere'"),
    ],
)
def test_changes_of_other_fields_are_refused_by_name(
    translator: Trained, run_dir: Path, change: Callable[[Config], Config], message: str
) -> None:
    before = read_files(run_dir)
    with pytest.raises(ValueError, match=rf"holds a run with another config: .*{message}.*`--overwrite`"):
        train(change(translator[0]), run_dir)
    assert read_files(run_dir) == before


def test_a_run_resumes_with_moved_corpus_files(
    translator: Trained, run_dir: Path, corpus: Path, tmp_path: Path
) -> None:
    moved = tmp_path / "moved"
    moved.mkdir()
    data = translator[0].data
    for side in ("en", "de"):
        shutil.copy(corpus / f"train.{side}", moved / f"other_name.{side}")
    data = replace(data, train_src=[str(moved / "other_name.en")], train_tgt=[str(moved / "other_name.de")])
    train(replace(with_16_steps(translator[0]), data=data), run_dir)
    uninterrupted = train(with_16_steps(translator[0]), tmp_path / "uninterrupted")
    assert_equal_runs(run_dir, uninterrupted)


def test_changed_corpus_files_are_refused(corpus: Path, tmp_path: Path) -> None:
    copied = Path(shutil.copytree(corpus, tmp_path / "corpus"))
    config = tiny_config(copied, max_steps=2)
    run_dir = train(config, tmp_path / "run")
    before, text = read_checkpoints(run_dir), (copied / "train.de").read_text("utf-8")
    (copied / "train.de").write_text(text.replace("eins", "zwei", 1), encoding="utf-8")
    with pytest.raises(ValueError, match=r"train\.de differs from the data .* started with: restore the file"):
        train(with_training(config, max_steps=4), run_dir)
    assert read_checkpoints(run_dir) == before
    (copied / "train.de").write_text(text, encoding="utf-8")
    train(with_training(config, max_steps=4), run_dir)


def test_changed_columns_or_numbers_of_files_are_refused(corpus: Path, tmp_path: Path) -> None:
    sides = [(corpus / f"train.{side}").read_text("utf-8").splitlines() for side in ("en", "de")]
    table = tmp_path / "train.tsv"
    table.write_text("".join(f"{en}\t{de}\n" for en, de in zip(*sides, strict=True)), encoding="utf-8")
    config = tiny_config(corpus, max_steps=2)
    columns = replace(config.data, train_src=[f"{table}#0"], train_tgt=[f"{table}#1"])
    config = replace(config, data=columns)
    run_dir = train(config, tmp_path / "run")
    swapped = replace(columns, train_src=[f"{table}#1"], train_tgt=[f"{table}#0"])
    with pytest.raises(ValueError, match=r"`data\.train_src` .*#0'\] -> .*#1'\]"):
        train(replace(config, data=swapped), run_dir)
    for name in ("a", "b"):
        shutil.copy(table, tmp_path / f"{name}.tsv")
    separate_files = replace(columns, train_src=[f"{tmp_path}/a.tsv#0"], train_tgt=[f"{tmp_path}/b.tsv#1"])
    with pytest.raises(ValueError, match="started with 1 data files, but the config has 2"):
        train(replace(config, data=separate_files), run_dir)


def test_changed_additional_references_are_refused(corpus: Path, tmp_path: Path) -> None:
    copied = Path(shutil.copytree(corpus, tmp_path / "corpus"))
    for name in ("second.de", "third.de"):
        shutil.copy(copied / "train.de", copied / name)
    valid = {"valid_src": str(copied / "train.en"), "valid_tgt": [str(copied / "train.de"), str(copied / "second.de")]}
    config = tiny_config(copied, max_steps=2, data=valid)
    run_dir = train(config, tmp_path / "run")
    longer = with_training(config, max_steps=4)
    more = replace(longer.data, valid_tgt=[*valid["valid_tgt"], str(copied / "third.de")])
    with pytest.raises(ValueError, match=r"`data\.valid_tgt` .*second\.de'\] -> .*third\.de'\]"):
        train(replace(longer, data=more), run_dir)
    text = (copied / "second.de").read_text("utf-8")
    (copied / "second.de").write_text(text.replace("eins", "zwei", 1), encoding="utf-8")
    with pytest.raises(ValueError, match=r"second\.de differs from the data that the run in .* started with"):
        train(longer, run_dir)
    (copied / "second.de").rename(copied / "moved.de")
    (copied / "moved.de").write_text(text, encoding="utf-8")
    moved = replace(longer.data, valid_tgt=[*valid["valid_tgt"][:1], str(copied / "moved.de")])
    train(replace(longer, data=moved), run_dir)


@pytest.mark.parametrize("is_given", [True, False])
def test_a_config_with_valid_tgt_as_in_older_versions_resumes(
    is_given: bool, corpus: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    valid = {"valid_src": str(corpus / "train.en"), "valid_tgt": str(corpus / "train.de")} if is_given else {}
    config = tiny_config(corpus, max_steps=2, data=valid)
    run_dir = train(config, tmp_path / "run")
    values = yaml.safe_load((run_dir / "config.yaml").read_text("utf-8"))
    values["data"]["valid_tgt"] = valid.get("valid_tgt")
    RunFolder(run_dir).replace_config(yaml.safe_dump(values), RunFolder(run_dir).read_description())
    caplog.clear()
    with caplog.at_level(logging.INFO):
        train(with_training(config, max_steps=4), run_dir)
    assert read_config(RunFolder(run_dir)) == with_training(config, max_steps=4)
    assert "Continuing" in caplog.text
    assert "Encoding" not in caplog.text


def test_unknown_format_versions_are_refused(translator: Trained, run_dir: Path) -> None:
    write_json(run_dir / "run.json", with_checksum(RunFolder(run_dir).read_description() | {"format_version": 99}))
    for use in (lambda: train(with_16_steps(translator[0]), run_dir), lambda: load_run(run_dir)):
        with pytest.raises(ValueError, match="has run format version 99, but this seqlab reads versions 1 and 2"):
            use()


@pytest.mark.parametrize("key", ["data_sha256", "machine"])
def test_missing_entries_of_run_json_are_named(translator: Trained, run_dir: Path, key: str) -> None:
    description = RunFolder(run_dir).read_description()
    del description[key]
    RunFolder(run_dir).write_description(description)
    with pytest.raises(ValueError, match=rf"run\.json is damaged \(it has no `{key}`\)"):
        train(with_16_steps(translator[0]), run_dir)


def test_a_damaged_run_json_is_refused(translator: Trained, run_dir: Path) -> None:
    (run_dir / "run.json").write_text('{"format_ver')
    with pytest.raises(ValueError, match=r"run\.json is damaged"):
        train(with_16_steps(translator[0]), run_dir)


def test_resuming_on_another_machine_warns(
    translator: Trained, run_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Runs of older versions have no `arithmetic` entry, which means version 1."""
    machine = json.loads((run_dir / "run.json").read_text())["machine"]
    assert machine.pop("arithmetic") > 1
    edit_description(run_dir, machine=machine | {"torch_version": "1.0", "threads": 64})
    with caplog.at_level(logging.WARNING), reference_kernels("dropout"):
        train(with_16_steps(translator[0]), run_dir)
    [warning] = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    changes = ("torch_version 1.0 -> ", "threads 64 -> 1", f"arithmetic 1 -> {ARITHMETIC}")
    for expected in (*changes, "reference_kernels  -> dropout", "it continues, but not bit for bit"):
        assert expected in warning
    [event] = [line for line in RunFolder(run_dir).read_metrics() if line["kind"] == "event"]
    assert len(event["machine"]) == 4


def test_compilation_on_a_cpu_is_refused(translator: Trained, run_dir: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ValueError, match=r"`training\.compile` needs a GPU: .* Set it to false\."):
        train(with_training(with_16_steps(translator[0]), compile=True), run_dir)
    train(with_16_steps(translator[0]), run_dir)
    assert "bit for bit" not in caplog.text, "the machine is the same"


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


@pytest.mark.parametrize("name", ["model.safetensors", "state.safetensors", "state.json"])
def test_a_damaged_checkpoint_is_named_and_training_resumes_from_the_one_before(
    translator: Trained, run_dir: Path, tmp_path: Path, name: str
) -> None:
    last = run_dir / "checkpoints" / checkpoint_name(12)
    truncate(last / name)
    with pytest.raises(ValueError, match=rf"{name} is missing or damaged .*Delete the folder .*step_00000012 "):
        train(with_16_steps(translator[0]), run_dir)
    shutil.rmtree(last)
    train(with_16_steps(translator[0]), run_dir)
    assert_equal_runs(run_dir, train(with_16_steps(translator[0]), tmp_path / "uninterrupted"))


def test_an_invalid_training_state_is_named(translator: Trained, run_dir: Path) -> None:
    path = run_dir / "checkpoints" / checkpoint_name(12) / "state.json"
    write_json(path, with_checksum({"progress": {"step": 3}}))
    with pytest.raises(ValueError, match=r"state\.json is damaged: it is not a training state"):
        train(with_16_steps(translator[0]), run_dir)


@pytest.mark.parametrize("vocab_size", [280, 300])
def test_a_replaced_tokenizer_is_refused(translator: Trained, run_dir: Path, corpus: Path, vocab_size: int) -> None:
    """Even one with the same vocabulary size."""
    lines = (corpus / "train.en").read_text("utf-8").splitlines()
    train_tokenizer(replace(translator[0].data.tokenizer, vocab_size=vocab_size), lines).save(run_dir / "tokenizer")
    for use in (lambda: train(with_16_steps(translator[0]), run_dir), lambda: load_run(run_dir)):
        with pytest.raises(ValueError, match=r"tokenizer is not the src tokenizer that .* was trained with"):
            use()
