"""Help of `seqlab train`: length, completeness, and values of the recipe or corpus."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from seqlab.cli.train_config import make_config
from seqlab.recipes import RECIPES
from seqlab.recipes.run_data import without_generating
from seqlab.runs.config import Config, to_dict, unused_fields
from seqlab.runs.fields import list_fields


def recipes_without_corpora() -> list[str]:
    """Return the recipes that need no corpora in `SEQLAB_DATA`; help shows the same defaults for all others."""
    found = []
    for name, recipe in RECIPES.items():
        with patch.dict(os.environ), without_generating(), suppress(FileNotFoundError):
            os.environ.pop("SEQLAB_DATA", None)
            recipe("run")
            found.append(name)
    return found


every_recipe = pytest.mark.parametrize("recipe", [*recipes_without_corpora(), "multi30k_en_de", "pos_tagging"])


@every_recipe
def test_help_all_prints_every_field(
    seqlab, calls: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, recipe: str
) -> None:
    monkeypatch.delenv("SEQLAB_DATA", raising=False)
    overrides = [] if recipe.endswith("_ngram") else ["--optim.optimizer.family", "sgd"]
    result = seqlab("train", recipe, "--help", "all", *overrides)
    assert (result.status, result.err, calls) == (0, "", [])
    lines = result.out.decode().splitlines()
    options = [line.split()[0] for line in lines if line.startswith("  --")]
    assert sorted(options) == sorted({f"--{field.key}" for field in list_fields(Config)})
    assert list(tmp_path.iterdir()) == []


@every_recipe
def test_help_of_a_recipe_is_short_and_names_all_fields_that_it_uses(
    seqlab, calls: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, recipe: str
) -> None:
    monkeypatch.delenv("SEQLAB_DATA", raising=False)
    lines = seqlab("train", recipe, "--help").out.decode().splitlines()
    assert len(lines) <= 120
    options, text = {line.split()[0] for line in lines if line.startswith("  --")}, "\n".join(lines)
    assert {"--run_dir", "--model.family"} <= options
    assert recipe.endswith("_ngram") or {"--optim.optimizer.lr", "--training.max_steps"} <= options
    try:
        with without_generating():
            config = make_config(recipe, [], tmp_path / "run")
    except FileNotFoundError:  # without the corpus, help shows the defaults
        return
    unused = unused_fields(config)
    for field in list_fields(Config, to_dict(config)):
        if field.is_chosen and not any(f"{field.key}.".startswith(f"{key}.") for key in unused):
            name = field.key.rpartition(".")[2]
            assert f"--{field.key}" in options or f" {name} " in text.replace("\n", " "), field.key


def test_help_shows_the_values_of_the_recipe(seqlab, calls: list[dict[str, Any]]) -> None:
    text = seqlab("train", "number_words", "--help", "all", "--optim.optimizer.family", "sgd").out.decode()
    config = make_config("number_words", [], Path("runs/number_words"))
    assert f"  --training.max_steps int | null = {config.training.max_steps}\n" in text
    assert '  --data.train_src list of str = ["runs/number_words/data/train.en"]\n' in text
    families = "sgd | adam | adamw | radam | muon | adagrad | rmsprop | sam | schedule_free"
    assert f'  --optim.optimizer.family {families} = "sgd"\n' in text
    assert "optim.optimizer:\n" in text
    assert "(adam, adamw, radam, muon" in text.partition("fields of other families:")[2]
    short = seqlab("train", "number_words", "--help").out.decode()
    assert f"  --training.max_steps {config.training.max_steps} " in short
    assert "  --data.train_src runs/number_words/data/train.en " in short
    assert seqlab("train", "--help", "number_words").out.decode() == short


def test_help_of_a_recipe_does_not_generate_its_data(
    seqlab, calls: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Synthesizing the speech of number_speech takes a minute."""
    monkeypatch.setattr("seqlab.recipes.speech.write_speech", lambda folder: pytest.fail(f"{folder} is generated"))
    result = seqlab("train", "number_speech", "--help")
    assert result.status == 0
    assert "  --data.train runs/number_speech/data/train.jsonl " in result.out.decode()


def test_help_of_a_section_shows_only_its_fields(seqlab, calls: list[dict[str, Any]]) -> None:
    text = seqlab("train", "number_words", "--help", "data.tokenizer").out.decode()
    keys = [line.split()[0] for line in text.splitlines() if line.startswith("  --")]
    assert "--data.tokenizer.vocab_size" in keys
    assert all(key.startswith("--data.tokenizer.") for key in keys)
    assert "--model.d_model int = " in seqlab("train", "--help", "model").out.decode()
    result = seqlab("train", "number_words", "--help", "modle")
    assert result.status == 2
    assert "there is no section `modle`; the nearest is `model`" in result.err


def test_help_shows_the_values_chosen_for_a_corpus(seqlab, calls: list[dict[str, Any]], tmp_path: Path) -> None:
    for name in ("a.en", "a.de"):
        (tmp_path / name).write_text("".join(f"{name} has a line {i} of words\n" for i in range(30)), encoding="utf-8")
    command = (
        "train",
        "--data.train_src",
        "a.en",
        "--data.train_tgt",
        "a.de",
        "--model.d_model",
        "96",
        "--help",
        "all",
    )
    text = seqlab(*command).out.decode()
    assert '  --data.train_src list of str = ["a.en"]\n' in text
    assert "  --model.d_model int = 96\n" in text
    assert "  --model.d_ff int = 192\n" in text
    (tmp_path / "a.de").write_bytes(b"\xff\n")
    result = seqlab(*command)
    assert result.status == 0
    assert "the defaults of the fields, not those of the corpus. a.de, line 1: not UTF-8" in result.out.decode()
    assert "  --model.d_ff int" in result.out.decode()


@pytest.mark.parametrize(
    ("arguments", "hidden", "shown"),
    [
        ("number_words", ["iterations", "revise", "activation_penalty", "copy_unknown"], ["coverage_penalty"]),
        ("digits_cnn", ["vocab_size", "beam_size"], ["augment_noise"]),
        (
            "--data.train a.txt --model.family lstm_lm",
            ["beam_size", "length_alpha", "guided_attention"],
            ["activation_penalty"],
        ),
        ("--data.train a.txt --model.family ngram_lm", ["label_smoothing", "max_grad_norm"], ["order"]),
    ],
)
def test_help_hides_fields_without_effect(
    seqlab, calls: list[dict[str, Any]], tmp_path: Path, arguments: str, hidden: list[str], shown: list[str]
) -> None:
    (tmp_path / "a.txt").write_text("one two three\n" * 40 + "two three\n" * 2)
    text = seqlab("train", *arguments.split(), "--help").out.decode().partition("most used fields:")[2]
    for name in hidden:
        assert f"{name} " not in text
    for name in shown:
        assert f"{name} " in text
    all_fields = seqlab("train", *arguments.split(), "--help", "all").out.decode()
    assert all(f".{name} " in all_fields for name in [*hidden, *shown])
