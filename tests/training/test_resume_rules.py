"""Which runs may be continued, how others are refused, and what is left of both."""

import json
import logging
import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from reference.tiny_runs import (
    assert_equal_runs,
    checkpoints_of,
    journal_of,
    tiny_config,
    with_training,
    write_numbers,
)

from seqlab.optim.config import AdamConfig, OptimConfig, SgdConfig
from seqlab.runs.checkpoint import checkpoint_name, checkpoint_steps
from seqlab.runs.config import Config
from seqlab.runs.folder import RunFolder
from seqlab.runs.load import load_run, read_config
from seqlab.text import CharactersConfig, SentencePieceBpeConfig, train_tokenizer
from seqlab.training import train
from seqlab.training.begin import locked, set_aside, settle

from .conftest import train_until

Trained = tuple[Config, Path]


@pytest.fixture
def run_dir(trained: Trained, tmp_path: Path) -> Path:
    """Give a copy of the finished run of 12 steps: a run folder that was moved."""
    return Path(shutil.copytree(trained[1], tmp_path / "run"))


def longer(config: Config) -> Config:
    return with_training(config, max_steps=16)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_resumable_fields_may_change_and_are_journalled(trained: Trained, run_dir: Path) -> None:
    changed = with_training(trained[0], max_steps=14, log_every=1, save_every=7, patience=5, max_minutes=99.0)
    train(changed, run_dir)
    [event] = journal_of(run_dir, ["event"])
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
    assert [line["step"] for line in journal_of(run_dir, ["train"])][-3:] == [12, 13, 14]


def test_a_change_is_journalled_also_when_the_run_is_killed_before_its_next_checkpoint(
    trained: Trained, run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(sys.modules["seqlab.training.train"], "fit", lambda run: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            train(longer(trained[0]), run_dir)
    train(longer(trained[0]), run_dir)
    changes = [event["changes"] for event in journal_of(run_dir, ["event"])]
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
def test_any_other_change_is_refused_by_name(
    trained: Trained, run_dir: Path, change: Callable[[Config], Config], message: str
) -> None:
    before = contents(run_dir)
    with pytest.raises(ValueError, match=rf"holds a run with another config: .*{message}.*`--overwrite`"):
        train(change(trained[0]), run_dir)
    assert contents(run_dir) == before


def test_the_same_text_under_another_path_resumes(
    trained: Trained, run_dir: Path, corpus: Path, tmp_path: Path
) -> None:
    moved = tmp_path / "moved"
    moved.mkdir()
    data = trained[0].data
    for side in ("en", "de"):
        shutil.copy(corpus / f"train.{side}", moved / f"other_name.{side}")
    data = replace(data, train_src=[str(moved / "other_name.en")], train_tgt=[str(moved / "other_name.de")])
    train(replace(longer(trained[0]), data=data), run_dir)
    whole = train(longer(trained[0]), tmp_path / "whole")
    assert_equal_runs(run_dir, whole)


def test_other_text_under_the_same_path_is_refused(corpus: Path, tmp_path: Path) -> None:
    own = Path(shutil.copytree(corpus, tmp_path / "corpus"))
    config = tiny_config(own, max_steps=2)
    run_dir = train(config, tmp_path / "run")
    before, text = checkpoints_of(run_dir), (own / "train.de").read_text("utf-8")
    (own / "train.de").write_text(text.replace("eins", "zwei", 1), encoding="utf-8")
    with pytest.raises(
        ValueError, match=r"train\.de is not what the run in .* was begun with, .*train\.en and .*train\.de: restore"
    ):
        train(with_training(config, max_steps=4), run_dir)
    assert checkpoints_of(run_dir) == before
    (own / "train.de").write_text(text, encoding="utf-8")
    train(with_training(config, max_steps=4), run_dir)


def test_another_column_or_number_of_files_is_refused(corpus: Path, tmp_path: Path) -> None:
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
    apart = replace(columns, train_src=[f"{tmp_path}/a.tsv#0"], train_tgt=[f"{tmp_path}/b.tsv#1"])
    with pytest.raises(ValueError, match="begun with 1 data files, but the config names 2"):
        train(replace(config, data=apart), run_dir)


def test_overwrite_begins_anew(trained: Trained, run_dir: Path, tmp_path: Path) -> None:
    (run_dir / "data").mkdir()
    (run_dir / "data" / "kept").write_text("a recipe's")
    (run_dir / "failures").mkdir()
    config = replace(with_training(trained[0], max_steps=4), seed=5)
    train(config, run_dir, overwrite=True)
    assert_equal_runs(run_dir, train(config, tmp_path / "fresh"))
    assert (run_dir / "data" / "kept").exists()
    assert not (run_dir / "failures").exists()
    train(config, tmp_path / "none_yet", overwrite=True)


def test_an_overwrite_with_a_corpus_that_cannot_be_read_removes_nothing(
    trained: Trained, run_dir: Path, tmp_path: Path
) -> None:
    missing = replace(trained[0], data=replace(trained[0].data, train_src=[str(tmp_path / "missing.en")]))
    with pytest.raises(FileNotFoundError, match=r"missing\.en"):
        train(missing, run_dir, overwrite=True)
    assert_equal_runs(run_dir, trained[1])


def test_checkpoints_without_a_description_are_not_taken_for_those_of_a_new_run(
    trained: Trained, run_dir: Path
) -> None:
    (run_dir / "run.json").unlink()
    assert checkpoint_steps(run_dir / "checkpoints")
    with pytest.raises(ValueError, match=r"is not a run folder, but holds checkpoints: .* `--overwrite`"):
        train(trained[0], run_dir)
    train(trained[0], run_dir, overwrite=True)
    assert_equal_runs(run_dir, trained[1])


def test_a_set_up_that_was_killed_is_done_again(trained: Trained, tmp_path: Path) -> None:
    """Also where its tokenizer was that of another config."""
    run_dir = tmp_path / "run"
    for name in ("src_tokenizer", "tokenizer"):
        train_tokenizer(CharactersConfig(), ["abc"]).save(run_dir / name)
    (run_dir / "cache.tmp").mkdir()
    for name in ("run.json.tmp", "config.yaml.tmp", "metrics.jsonl"):
        (run_dir / name).write_text("half")
    train(trained[0], run_dir)
    assert_equal_runs(run_dir, trained[1])


@pytest.mark.parametrize("changes", [{"max_length": 1}, {"tokenizer": SentencePieceBpeConfig(vocab_size=262)}])
def test_a_run_is_overwritten_only_when_the_new_one_can_begin(
    trained: Trained, run_dir: Path, changes: dict[str, Any]
) -> None:
    before = contents(run_dir)
    impossible = replace(trained[0], data=replace(trained[0].data, **changes))
    with pytest.raises(ValueError, match=r"No pair is left|`vocab_size` must be at least"):
        train(impossible, run_dir, overwrite=True)
    assert contents(run_dir) == before


@pytest.mark.parametrize("point", range(12))
def test_an_overwriting_that_was_killed_is_undone(run_dir: Path, monkeypatch: pytest.MonkeyPatch, point: int) -> None:
    """At whichever rename, on the way there or back."""
    before, renames = contents(run_dir), iter(range(100))
    rename = Path.rename

    def killed(*arguments: Any) -> Any:
        if next(renames) >= point:
            raise KeyboardInterrupt
        return rename(*arguments)

    with monkeypatch.context() as patch, suppress(KeyboardInterrupt):
        patch.setattr(Path, "rename", killed)
        set_aside(RunFolder(run_dir))
        settle(RunFolder(run_dir))
    settle(RunFolder(run_dir))
    assert contents(run_dir) == before


def test_two_processes_do_not_train_in_one_folder(trained: Trained, run_dir: Path) -> None:
    with locked(RunFolder(run_dir)), pytest.raises(ValueError, match="another process is training there"):
        train(longer(trained[0]), run_dir)
    train(longer(trained[0]), run_dir)


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("name", ["notes.txt", "model.py", "src"])
def test_a_folder_that_is_no_run_is_refused_and_left_alone(
    trained: Trained, tmp_path: Path, name: str, overwrite: bool
) -> None:
    for part in (name, "cache/mine", "config.yaml"):
        (tmp_path / "mine" / part).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "mine" / part).write_text("mine")
    before = contents(tmp_path)
    with pytest.raises(ValueError, match=f"is not a run folder, but holds {name}: choose another"):
        train(trained[0], tmp_path / "mine", overwrite=overwrite)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_file_is_no_run_folder(trained: Trained, tmp_path: Path, overwrite: bool) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ValueError, match="file is a file: choose another name"):
        train(trained[0], tmp_path / "file", overwrite=overwrite)
    assert (tmp_path / "file").read_text() == "mine"


def edit_description(run_dir: Path, **changes: Any) -> None:
    path = run_dir / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | changes), encoding="utf-8")


def test_another_format_version(trained: Trained, run_dir: Path) -> None:
    edit_description(run_dir, format_version=99)
    for use in (lambda: train(longer(trained[0]), run_dir), lambda: load_run(run_dir)):
        with pytest.raises(ValueError, match="has run format version 99, but this seqlab reads version 1"):
            use()


@pytest.mark.parametrize("key", ["data_sha256", "machine"])
def test_a_description_that_lacks_something(trained: Trained, run_dir: Path, key: str) -> None:
    path = run_dir / "run.json"
    description = json.loads(path.read_text("utf-8"))
    del description[key]
    path.write_text(json.dumps(description), encoding="utf-8")
    with pytest.raises(ValueError, match=rf"run\.json is damaged \(it has no `{key}`\)"):
        train(longer(trained[0]), run_dir)


def test_a_damaged_description(trained: Trained, run_dir: Path) -> None:
    (run_dir / "run.json").write_text('{"format_ver')
    with pytest.raises(ValueError, match=r"run\.json is damaged"):
        train(longer(trained[0]), run_dir)


def test_another_machine_warns(trained: Trained, run_dir: Path, caplog: pytest.LogCaptureFixture) -> None:
    machine = json.loads((run_dir / "run.json").read_text())["machine"]
    edit_description(run_dir, machine=machine | {"torch_version": "1.0", "threads": 64})
    with caplog.at_level(logging.WARNING):
        train(longer(trained[0]), run_dir)
    [warning] = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert "torch_version 1.0 -> " in warning
    assert "threads 64 -> 1" in warning
    assert "no longer bit for bit" in warning
    [event] = [line for line in RunFolder(run_dir).read_metrics() if line["kind"] == "event"]
    assert len(event["machine"]) == 2


def test_the_same_machine_does_not_warn(trained: Trained, run_dir: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        train(longer(trained[0]), run_dir)
    assert [record for record in caplog.records if "bit for bit" in record.getMessage()] == []


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


@pytest.mark.parametrize("name", ["model.safetensors", "state.safetensors", "state.json"])
def test_a_damaged_checkpoint_is_named_and_without_it_the_one_before_goes_on(
    trained: Trained, run_dir: Path, tmp_path: Path, name: str
) -> None:
    last = run_dir / "checkpoints" / checkpoint_name(12)
    cut_short(last / name)
    with pytest.raises(ValueError, match=rf"{name} is missing or damaged .*Delete the folder .*step_00000012 "):
        train(longer(trained[0]), run_dir)
    shutil.rmtree(last)
    train(longer(trained[0]), run_dir)
    assert_equal_runs(run_dir, train(longer(trained[0]), tmp_path / "whole"))


def test_a_state_of_something_else_is_named(trained: Trained, run_dir: Path) -> None:
    path = run_dir / "checkpoints" / checkpoint_name(12) / "state.json"
    path.write_text('{"progress": {"step": 3}}')
    with pytest.raises(ValueError, match=r"state\.json is not a state of training"):
        train(longer(trained[0]), run_dir)


@pytest.mark.parametrize("vocab_size", [280, 300])
def test_a_tokenizer_that_does_not_fit_the_model(
    trained: Trained, run_dir: Path, corpus: Path, vocab_size: int
) -> None:
    """Another one is named even where it has as many ids."""
    lines = (corpus / "train.en").read_text("utf-8").splitlines()
    train_tokenizer(replace(trained[0].data.tokenizer, vocab_size=vocab_size), lines).save(run_dir / "tokenizer")
    for use in (lambda: train(longer(trained[0]), run_dir), lambda: load_run(run_dir)):
        with pytest.raises(ValueError, match=r"tokenizer is not the src tokenizer that .* was trained with"):
            use()


def test_leftovers_of_killed_writes_go_when_the_run_goes_on(trained: Trained, run_dir: Path) -> None:
    checkpoints = run_dir / "checkpoints"
    for name in ("step_00000014.tmp", "step_00000006.deleted"):
        shutil.copytree(checkpoints / checkpoint_name(12), checkpoints / name)
    train(trained[0], run_dir)
    assert_equal_runs(run_dir, trained[1])
    assert {path.name for path in checkpoints.iterdir()} == {
        path.name for path in (trained[1] / "checkpoints").iterdir()
    }


@pytest.fixture
def other_corpus(tmp_path: Path) -> Path:
    write_numbers(tmp_path / "other", range(200, 260))
    return tmp_path / "other"


def test_fine_tuning_begins_with_the_weights_and_the_vocabulary_of_another_run(
    trained: Trained, other_corpus: Path, tmp_path: Path
) -> None:
    origin = trained[1]
    optim = OptimConfig(optimizer=AdamConfig(lr=1e-9), average_last=0)
    config = tiny_config(
        other_corpus,
        init_from=str(origin),
        model={"dropout": 0.3},
        optim=optim,
        max_steps=1,
        valid_every=1,
    )
    run_dir = train(config, tmp_path / "tuned")
    assert contents(run_dir / "tokenizer") == contents(origin / "tokenizer")
    expected, found = load_run(origin), load_run(run_dir)
    for (name, value), other in zip(expected.model.named_parameters(), found.model.parameters(), strict=True):
        assert other.detach().numpy() == pytest.approx(value.detach().numpy(), abs=1e-6), name
    # The weights are in the checkpoint now: the run goes on where the origin is gone.
    gone = replace(config, init_from=config.init_from)
    edit_description(run_dir)
    train(with_training(gone, max_steps=2), run_dir)


def test_a_fine_tuned_run_needs_its_origin_only_until_its_first_checkpoint(
    trained: Trained, other_corpus: Path, tmp_path: Path
) -> None:
    origin = Path(shutil.copytree(trained[1], tmp_path / "origin"))
    config = tiny_config(other_corpus, init_from=str(origin), max_steps=8)
    whole = train(config, tmp_path / "whole")
    train_until(config, tmp_path / "parts", 3)
    shutil.rmtree(origin)
    train(config, tmp_path / "parts")
    assert_equal_runs(tmp_path / "parts", whole)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": {"d_ff": 64}}, r"`model\.d_ff` is 64, but 32 in .*run.*config\.yaml"),
        ({"model": {"activation": "gelu"}}, r"`model\.activation` is 'gelu', but 'relu'"),
        ({"model": {"num_encoder_layers": 2}}, r"`model\.num_encoder_layers` is 2, but 1"),
        ({"data": {"joint_vocabulary": False}, "model": {"tied_embeddings": "none"}}, r"`data\.joint_vocabulary`"),
        ({"data": {"tokenizer": CharactersConfig(), "subword_sampling": 0.0}}, r"`data\.tokenizer\.kind`"),
    ],
)
def test_fine_tuning_another_model_is_refused_by_name(
    trained: Trained, other_corpus: Path, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    config = tiny_config(other_corpus, init_from=str(trained[1]), **changes)
    with pytest.raises(ValueError, match=rf"With `init_from` the model and the vocabulary .*{message}"):
        train(config, tmp_path / "tuned")
    assert not (tmp_path / "tuned").exists()


def test_fine_tuning_from_nothing_or_from_itself(trained: Trained, run_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no run folder .*nowhere \(`init_from`\)"):
        train(replace(trained[0], init_from=str(tmp_path / "nowhere")), tmp_path / "tuned")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty is not a run folder"):
        train(replace(trained[0], init_from=str(tmp_path / "empty")), tmp_path / "tuned")
    with pytest.raises(ValueError, match="`init_from` and `run_dir` are both"):
        train(replace(trained[0], init_from=str(run_dir)), run_dir, overwrite=True)
    assert_equal_runs(run_dir, trained[1])


@pytest.mark.parametrize("joint", [True, False])
def test_a_vocabulary_that_the_text_cannot_fill_is_reported_once_for_each(
    corpus: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, joint: bool
) -> None:
    data = {"tokenizer": SentencePieceBpeConfig(vocab_size=9000), "joint_vocabulary": joint}
    model = {"tied_embeddings": "all" if joint else "decoder"}
    with caplog.at_level(logging.WARNING):
        train(tiny_config(corpus, data=data, model=model, max_steps=1), tmp_path / "run")
    assert caplog.text.count("fewer than the `vocab_size` of 9000") == (1 if joint else 2)
