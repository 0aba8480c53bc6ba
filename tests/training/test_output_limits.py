"""Limits of the output length: measured on the training targets, given, or from older runs."""

import json
import logging
from dataclasses import replace
from pathlib import Path

import pytest
from reference.shared import SharedFolder
from reference.tiny_runs import comparable_metrics, tiny_config, with_training

import seqlab
from seqlab.optim import AdamConfig, LinearScheduleConfig, OptimConfig
from seqlab.runs.config import Config
from seqlab.runs.folder import RunFolder
from seqlab.runs.load import read_config
from seqlab.search.config import SearchConfig
from seqlab.text import WordsConfig
from seqlab.training import train

LETTERS = "abcdef"
NUM_WORDS = 30


def target_of(letter: str) -> str:
    """Return the 30 words that a letter is translated into: `a0 b1 c2 ...` for a."""
    first = LETTERS.index(letter)
    return " ".join(f"{LETTERS[(first + i) % len(LETTERS)]}{i}" for i in range(NUM_WORDS))


def write_letters(folder: Path) -> None:
    (folder / "train.en").write_text("".join(f"{letter}\n" for letter in LETTERS * 60))
    (folder / "train.de").write_text("".join(f"{target_of(letter)}\n" for letter in LETTERS * 60))


@pytest.fixture(scope="module")
def config(shared: SharedFolder) -> Config:
    """Write a corpus with targets 15 times as long as the sources; return the config of a model that fits it."""
    folder = shared.build("letters", write_letters)
    data = {
        "valid_src": str(folder / "train.en"),
        "valid_tgt": str(folder / "train.de"),
        "tokenizer": WordsConfig(),
        "subword_sampling": 0.0,
        "batch_tokens": 200,
        "max_length_ratio": 1e9,
    }
    model = {"d_model": 32, "dropout": 0.0}
    steps = {"max_steps": 200, "save_every": 200, "valid_every": 200, "log_every": 100}
    optim = OptimConfig(optimizer=AdamConfig(lr=1e-2), schedule=LinearScheduleConfig(warmup_steps=10))
    return tiny_config(folder, model=model, data=data, optim=optim, **steps)


@pytest.fixture(scope="module")
def run_dir(config: Config, shared: SharedFolder) -> Path:
    return shared.build("letters-run", lambda folder: train(config, folder / "run")) / "run"


def test_long_targets_are_output_completely(run_dir: Path, caplog: pytest.LogCaptureFixture) -> None:
    [validation] = comparable_metrics(run_dir, ["valid"])
    assert validation["exact_match"] == 100
    assert json.loads((run_dir / "run.json").read_text())["output_bound"] == {"ratio": 18.6, "offset": 0}
    run = seqlab.load(run_dir, precision="fp32")
    assert run.translate(list(LETTERS)) == [target_of(letter) for letter in LETTERS]
    assert not caplog.records
    cut = run.translate(["a", "b"], max_length_ratio=2, max_length_offset=10)
    assert cut == [" ".join(target_of(letter).split()[:14]) for letter in "ab"]
    assert "2 of 2 translations reached the length limit" in caplog.text


def test_given_limits_are_kept_with_a_warning_about_longer_targets(
    config: Config, run_dir: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    search = SearchConfig(beam_size=1, max_length_ratio=2.0, max_length_offset=10)
    caplog.set_level(logging.INFO)
    tuned = replace(with_training(config, valid_search=search, max_steps=1), init_from=str(run_dir))
    [validation] = comparable_metrics(train(tuned, tmp_path / "run"), ["valid"])
    assert validation["exact_match"] == 0
    for name in ("training", "validation"):
        assert f"360 of 360 {name} pairs have targets that are longer than the output limit" in caplog.text
    assert "validation: 360 of 360 outputs reached the length limit" in caplog.text


def test_runs_of_older_versions_keep_their_limits(config: Config, tmp_path: Path) -> None:
    """The config.yaml holds the old default, and the resuming config does not set the limits."""
    older = SearchConfig(beam_size=1, max_length_ratio=2.0, max_length_offset=10)
    run_dir = train(with_training(config, valid_search=older, max_steps=2), tmp_path / "run")
    train(with_training(config, max_steps=4), run_dir)
    assert read_config(RunFolder(run_dir)).training.valid_search == older
    with pytest.raises(ValueError, match=r"`training\.valid_search\.max_length_ratio` 2\.0 -> 3\.0"):
        train(with_training(config, valid_search=replace(older, max_length_ratio=3.0)), run_dir)


def test_runs_without_measured_limits_use_the_old_defaults(run_dir: Path, tmp_path: Path) -> None:
    for path in run_dir.iterdir():
        if path.name != "run.json":
            (tmp_path / path.name).symlink_to(path)
    description = RunFolder(run_dir).read_description()
    del description["output_bound"]
    RunFolder(tmp_path).write_description(description)
    assert len(seqlab.load(tmp_path, precision="fp32").translate(["a"])[0].split()) == 14


def test_limits_are_measured_again_for_another_corpus(config: Config, run_dir: Path, tmp_path: Path) -> None:
    short = tmp_path / "short"
    short.mkdir()
    (short / "train.en").write_text("a\nb\n" * 60)
    (short / "train.de").write_text("a0\nb0\n" * 60)
    data = replace(
        config.data,
        train_src=[str(short / "train.en")],
        train_tgt=[str(short / "train.de")],
        valid_src=None,
        valid_tgt=None,
        valid_fraction=0.1,
    )
    tuned = replace(with_training(config, max_steps=2), data=data, init_from=str(run_dir))
    found = json.loads((train(tuned, tmp_path / "tuned") / "run.json").read_text())
    assert found["output_bound"] == {"ratio": 1.2, "offset": 0}
