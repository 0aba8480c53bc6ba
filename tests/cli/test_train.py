"""`seqlab train`: configs from command lines. Training itself is tested in other files."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from reference.tiny_runs import tiny_config, write_numbers

from seqlab.cli.config_options import split_overrides
from seqlab.cli.train_config import default_run_dir_of, make_config
from seqlab.models import RecurrentConfig
from seqlab.recipes import RECIPES, number_words
from seqlab.runs.config import Config, to_dict, write_config
from seqlab.runs.flat_config import flatten
from seqlab.runs.folder import RunFolder
from seqlab.runs.load import read_config
from seqlab.runs.overrides import override
from seqlab.tasks.translation import zero_config
from seqlab.training import train as seqlab_train


@pytest.mark.parametrize(
    ("arguments", "rest", "overrides"),
    [
        ("recipe --a.b 1", ["recipe"], [("a.b", ["1"])]),
        ("--a.b 1 2 --c.d 3", [], [("a.b", ["1", "2"]), ("c.d", ["3"])]),
        ("--a.b=1 recipe --seed 2", ["recipe", "--seed", "2"], [("a.b", ["1"])]),
        ("--a.b -1 -.5 --seed 2", ["--seed", "2"], [("a.b", ["-1", "-.5"])]),
        ("--a.b -h", ["-h"], [("a.b", [])]),
        ("--a.b --overwrite x", ["--overwrite", "x"], [("a.b", [])]),
        ("--run_dir x.y --a.b.c_d -", ["--run_dir", "x.y"], [("a.b.c_d", ["-"])]),
        ("--a.b=c=d --a.b=", [], [("a.b", ["c=d"]), ("a.b", [""])]),
    ],
)
def test_options_with_a_dot_are_separated_as_overrides(arguments: str, rest: list[str], overrides: list[Any]) -> None:
    assert split_overrides(arguments.split()) == (rest, overrides)


def test_options_override_fields_of_a_recipe(seqlab, calls: list[dict[str, Any]], tmp_path: Path) -> None:
    options = ("--seed", "5", "--threads", "1", "--optim.optimizer.lr", "0.5", "--model.d_ff=32", "--overwrite")
    result = seqlab("train", "number_words", *options)
    assert (result.status, result.out) == (0, b"")
    [call] = calls
    base = number_words(Path("runs/number_words"))
    config = call["config"]
    assert (config.seed, config.training.threads, config.optim.optimizer.lr, config.model.d_ff) == (5, 1, 0.5, 32)
    assert config.data == base.data
    assert config.optim.schedule == base.optim.schedule
    assert (call["run_dir"], call["overwrite"]) == (Path("runs/number_words"), True)
    assert call["command"] == ["seqlab", "train", "number_words", *options]


def test_values_that_another_family_resets_are_reported(seqlab, calls: list[dict[str, Any]], tmp_path: Path) -> None:
    result = seqlab("train", "number_words", "--model.family", "lstm", "--model.dropout", "0.5", "--seed", "5")
    config, base = calls[0]["config"], number_words(Path("runs/number_words"))
    assert config.model == RecurrentConfig(family="lstm", dropout=0.5)
    changed = {name: value for name, value in vars(base.model).items() if getattr(config.model, name, value) != value}
    expected = " ".join(
        f"--model.{name} {value}" for name, value in changed.items() if name not in ("family", "dropout")
    )
    assert f"model.family has its own defaults; reset values of the recipe or file: {expected}" in result.err
    assert "has its own defaults" not in seqlab("train", "number_words", "--model.dropout", "0.5").err


def test_a_config_file_is_trained(seqlab, calls: list[dict[str, Any]], tmp_path: Path) -> None:
    config = number_words(tmp_path / "data")
    write_config(config, tmp_path / "custom.yaml")
    assert seqlab("train", "custom.yaml").status == 0
    assert seqlab("train", "custom.yaml", "--run_dir", "elsewhere", "--init_from", "origin").status == 0
    assert seqlab("train", "custom.yaml", "--init_from", "origin", "--init_parts", "matching").status == 0
    assert calls[0]["config"] == config
    assert calls[0]["run_dir"] == Path("runs/custom")
    assert calls[1]["config"].init_from == "origin"
    assert [call["config"].init_parts for call in calls] == ["all", "all", "matching"]
    assert calls[1]["run_dir"] == Path("elsewhere")


def test_a_partial_config_file_reports_the_number_of_default_fields(
    seqlab: Any, calls: list[dict[str, Any]], tmp_path: Path
) -> None:
    (tmp_path / "partial.yaml").write_text("data: {train_src: a, train_tgt: b}\nmodel: {d_model: 64}\n")
    result = seqlab("train", "partial.yaml")
    num_fields = len(flatten(to_dict(calls[0]["config"])))
    assert f"partial.yaml leaves {num_fields - 3} of {num_fields} fields to their defaults" in result.err
    write_config(calls[0]["config"], tmp_path / "complete.yaml")
    assert "to their defaults" not in seqlab("train", "complete.yaml").err


def test_without_a_recipe_settings_are_chosen_from_the_corpus_and_options_override_them(
    seqlab, calls: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    requested = []

    def from_corpus(overrides: list[Any]) -> Config:
        requested.append(list(overrides))
        return override(number_words(Path("unused")), overrides)

    monkeypatch.setattr(zero_config, "from_corpus", from_corpus)
    corpus = ("--data.train_src", "a.en", "--data.train_tgt", "a.de")
    assert seqlab("train", *corpus, "--model.d_model", "64", "--seed", "9").status == 0
    [call] = calls
    assert call["run_dir"] == Path("runs/en-de")
    assert (call["config"].data.train_src, call["config"].model.d_model, call["config"].seed) == (["a.en"], 64, 9)
    assert requested == [
        [("seed", ["9"]), ("data.train_src", ["a.en"]), ("data.train_tgt", ["a.de"]), ("model.d_model", ["64"])]
    ]


@pytest.mark.parametrize(
    "corpus",
    [
        ("--data.train", "a.txt"),
        ("--data.kind", "language_modelling", "--data.train", "a.txt"),
        ("--data.train", "a.txt", "b.txt"),
    ],
)
def test_settings_of_language_models_are_chosen_from_the_text(
    seqlab, calls: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, corpus: tuple[str, ...]
) -> None:
    for name in ("a.txt", "b.txt"):
        Path(name).write_text("one two three\n" * 40 + "two three\n" * 2)
    assert seqlab("train", *corpus, "--model.d_model", "64", "--seed", "9").status == 0
    [call] = calls
    assert call["run_dir"] == Path("runs/a")
    config = call["config"]
    assert (config.data.kind, config.data.train, config.seed) == (
        "language_modelling",
        [*corpus[corpus.index("a.txt") :]],
        9,
    )
    assert (config.model.family, config.model.d_model, config.data.tokenizer.kind) == ("transformer_lm", 64, "words")
    result = seqlab("train", *corpus, "--help", "data")
    assert result.status == 0
    assert b'--data.train list of str = ["a.txt"' in result.out


@pytest.mark.parametrize(
    ("src", "tgt", "name"),
    [
        ("a.en", "a.de", "en-de"),
        ("a.en.gz", "b.tok.de.gz", "en-de"),
        ("a.tsv#0", "a.tsv#1", "0-1"),
        ("a.jsonl#translation.en", "a.jsonl#translation.de", "translation.en-translation.de"),
        ("source", "dir.d/target", "source-target"),
        (["a.en", "b.fr"], "[a.de, b.de]", "en-de"),
        ("a.e n", "a./d", "e_n-d"),
    ],
)
def test_a_run_without_a_recipe_is_named_by_its_corpus(src: Any, tgt: Any, name: str) -> None:
    assert default_run_dir_of(None, [("data.train_src", src), ("data.train_tgt", tgt)]) == Path("runs") / name


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("", "name a recipe, a config file, or a corpus"),
        ("--data.trian text.txt", "There is no `data.trian`; the nearest is `data.train"),
        ("--data.train_src a.en", "'data.train_tgt' is missing"),
        ("--data.kind language_modelling", "or a text by --data.train: 'data.train' is missing"),
        ("--data.train none.txt", "none.txt: there is no such file."),
        ("--data.train a.txt --data.train_src b.txt", "There is no `data.train_src`"),
        ("numberwords", "there is no recipe `numberwords`; the nearest: `number_words`"),
        ("numberwords", "(`seqlab recipes` lists all); a config file ends in .yaml"),
        ("NUMBER_WORDS", "the nearest: `number_words`"),
        ("ptb", "the nearest: `ptb_lstm`"),
        ("none.yaml", "none.yaml: there is no such file."),
        (".", "is not a run folder: it has no run.json."),
        ("number_words extra", "unexpected argument `extra`"),
        ("number_words --lr 3", "there is no option `--lr`; the nearest is `--optim.optimizer.lr`"),
        ("number_words --rundir x", "there is no option `--rundir`; the nearest is `--run_dir`"),
        ("number_words --seed x", "`seed` must be a valid integer, but is 'x' instead."),
        ("number_words --model.d_modle 3", "There is no `model.d_modle`; the nearest is `model.d_model`."),
        (
            "--model.d_model 64 number_words",
            "`--model.d_model` takes one value, but has 64 number_words: put a recipe or config file first, "
            "`seqlab train number_words --model.d_model 64`",
        ),
        ("--data.train_src a.en b.en", "'data.train_tgt' is missing"),
        (
            "--data.train_src a.en --data.train_src b.en --data.train_tgt a.de b.de",
            "`--data.train_src` is given twice: a list is given as `--data.train_src A B`",
        ),
        ("number_words --seed 1 --seed=2", "`--seed` is given twice (see"),
        ("number_words --model.d_model 64 128", "`model.d_model` takes one value, but is given 2: 64 128."),
        ("number_words --model.d_model", "`model.d_model` takes one value, but is given none."),
        ("number_words --optim.optimizer.momentum 1", "`muon` and `rmsprop` and `sgd` have it"),
        ("multi30k_en_de", "SEQLAB_DATA is not set"),
    ],
)
def test_invalid_arguments_are_reported(
    seqlab, calls: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, arguments: str, message: str
) -> None:
    monkeypatch.delenv("SEQLAB_DATA", raising=False)
    result = seqlab("train", *arguments.split())
    assert (result.status, result.out, calls) == (2, b"", [])
    assert result.err.startswith("seqlab: error: ")
    assert message in result.err
    assert result.err.count("\n") == 1


def test_values_that_another_tokenizer_kind_resets_are_reported(
    seqlab, calls: list[dict[str, Any]], tmp_path: Path
) -> None:
    config = make_config(
        "number_words", [("data.tokenizer.kind", ["characters"]), ("data.tokenizer.tags", ["true"])], tmp_path
    )
    write_config(config, tmp_path / "tags.yaml")
    for kind, is_reset in (("sentencepiece_bpe", True), ("words", False)):
        result = seqlab("train", tmp_path / "tags.yaml", "--data.tokenizer.kind", kind)
        assert (f"data.tokenizer.kind {kind} has no data.tokenizer.tags, which was true" in result.err) == is_reset
    assert (
        "data.tokenizer.kind has its own defaults; reset values of the recipe or file: --data.tokenizer.tags true"
        in result.err
    )


def test_training_a_run_folder_resumes_it(
    seqlab: Any, calls: list[dict[str, Any]], run_dir: Path, tmp_path: Path
) -> None:
    run_dir = shutil.copytree(run_dir, tmp_path / "copy")
    before = read_config(RunFolder(run_dir))
    assert seqlab("train", run_dir, "--training.max_steps", "99999").status == 0
    [call] = calls
    assert (call["run_dir"], call["overwrite"]) == (run_dir, False)
    assert call["config"] == replace(before, training=replace(before.training, max_steps=99999))
    assert seqlab("train", run_dir, "--overwrite", "--seed", "7").status == 0
    assert (calls[1]["run_dir"], calls[1]["overwrite"], calls[1]["config"].seed) == (run_dir, True, 7)
    result = seqlab("train", run_dir, "--run_dir", tmp_path / "other")
    assert result.status == 2
    assert f"{run_dir} is a run, which continues in its folder: leave `--run_dir` out" in result.err
    (run_dir / "run.json").unlink()  # a run that was killed before its first step starts again with its config
    shutil.rmtree(run_dir / "checkpoints")
    assert seqlab("train", run_dir).status == 0
    assert calls[2]["run_dir"] == run_dir


@pytest.mark.parametrize(
    ("option", "suggestion"),
    [
        ("--lr", "--optim.optimizer.lr"),
        ("--batch_size", "--data.batch_tokens"),
        ("--src", "--data.train_src"),
        ("--learning_rate", "--optim.optimizer.lr"),
        ("--dropuot", "--model.dropout"),
        ("--data.trainsrc", "data.train_src"),
        ("--optim.learning_rate", "optim.optimizer.lr"),
        ("--device_name", "--device"),
        ("--gpu", "--training.device"),
        ("--foo", None),
        ("--qqqq", None),
        ("--model.qqqq", None),
    ],
)
def test_the_nearest_option_is_suggested_also_for_names_of_other_toolkits(
    seqlab: Any, calls: list[dict[str, Any]], option: str, suggestion: str | None
) -> None:
    error = seqlab("train", "number_words", option, "3").err
    assert error.rstrip().count("\n") == 0
    assert (f"; the nearest is `{suggestion}`" in error) if suggestion else ("nearest" not in error)


def test_a_resumed_run_keeps_its_automatic_settings(
    seqlab: Any, monkeypatch: pytest.MonkeyPatch, calls: list[dict[str, Any]], run_dir: Path, tmp_path: Path
) -> None:
    """More steps, or the same family as an option, do not change the other settings."""
    run_dir = shutil.copytree(run_dir, tmp_path / "copy")
    monkeypatch.setattr(zero_config, "from_corpus", lambda overrides: pytest.fail("settings are chosen again"))
    corpus = ("--run_dir", run_dir, "--data.train_src", "a.en", "--data.train_tgt", "a.de")
    before = read_config(RunFolder(run_dir))
    options = ("--training.max_steps", "99999", "--model.family", "transformer")
    assert seqlab("train", *corpus, *options).status == 0
    [call] = calls
    assert call["config"] == replace(before, training=replace(before.training, max_steps=99999))


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--model.num_heads 7", "`d_model` 128 must be divisible by `num_heads` 7"),
        ("--device cuda:9", "`device` is `cuda:9`"),
        ("--init_from nowhere", "There is no run folder nowhere"),
        ("--data.train_src missing.en", "missing.en: there is no such file"),
    ],
)
def test_a_refused_command_leaves_no_files(seqlab: Any, tmp_path: Path, option: str, message: str) -> None:
    result = seqlab("train", "number_words", "--run_dir", tmp_path / "runs" / "new", *option.split())
    assert result.status == 2
    assert message in result.err
    assert list(tmp_path.iterdir()) == []


def test_a_recipe_with_changed_defaults_resumes_an_older_run(
    seqlab: Any, monkeypatch: pytest.MonkeyPatch, calls: list[dict[str, Any]], run_dir: Path, tmp_path: Path
) -> None:
    """Fields that are not given have the values of the run, even if the recipe has another family."""
    run_dir, before = shutil.copytree(run_dir, tmp_path / "run"), read_config(RunFolder(run_dir))

    def changed(run_dir: str | Path) -> Config:
        return replace(before, model=RecurrentConfig(family="lstm"), data=replace(before.data, train_src=["moved.en"]))

    monkeypatch.setitem(RECIPES, "number_words", changed)
    assert seqlab("train", "number_words", "--run_dir", run_dir, "--model.num_heads", "1").status == 0
    config = calls[0]["config"]
    assert config.data == replace(before.data, train_src=["moved.en"])
    assert config.model == replace(before.model, num_heads=1)
    assert seqlab("train", "number_words", "--run_dir", tmp_path / "new").status == 0
    assert calls[1]["config"].model == RecurrentConfig(family="lstm")


@pytest.mark.parametrize("option", ["--model.d_modle 3", "--model.num_heads 7", "--device cuda:9"])
def test_a_refused_overwrite_changes_no_files(seqlab: Any, tmp_path: Path, run_dir: Path, option: str) -> None:
    run_dir = shutil.copytree(run_dir, tmp_path / "run")
    for name in ("run.json", None):  # a run, and a run without run.json
        before = {path: path.read_bytes() for path in run_dir.rglob("*") if path.is_file()}
        assert seqlab("train", "number_words", "--run_dir", run_dir, "--overwrite", *option.split()).status == 2
        assert {path: path.read_bytes() for path in run_dir.rglob("*") if path.is_file()} == before
        if name is not None:
            (run_dir / name).unlink()


def test_a_run_can_be_overwritten_with_its_own_config_file(seqlab: Any, tmp_path: Path) -> None:
    write_numbers(tmp_path / "corpus", range(1, 40))
    run_dir = seqlab_train(tiny_config(tmp_path / "corpus", max_steps=2), tmp_path / "run")
    before = (run_dir / "run.json").read_bytes()
    result = seqlab("train", run_dir / "config.yaml", "--run_dir", run_dir, "--overwrite", "--seed", "9")
    assert result.status == 0, result.err
    assert (run_dir / "run.json").read_bytes() != before


def test_a_recipe_refuses_a_folder_with_other_data(seqlab: Any, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train.en").write_text("mine\n", encoding="utf-8")
    result = seqlab("train", "number_words", "--run_dir", tmp_path)
    assert result.status == 2
    assert (tmp_path / "data" / "train.en").read_text(encoding="utf-8") == "mine\n"
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["train.en"]
