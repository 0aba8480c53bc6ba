"""`training.max_epochs`: a number of epochs, which becomes `max_steps` when training starts."""

from pathlib import Path

import pytest
from reference.tiny_runs import (
    assert_equal_runs,
    comparable_metrics,
    tiny_config,
    tiny_text_config,
    with_training,
    write_text,
)

from seqlab.models import NgramConfig
from seqlab.optim import OptimConfig
from seqlab.recipes.find import config_for, recipe
from seqlab.runs.config import Config, TrainingConfig
from seqlab.runs.folder import RunFolder
from seqlab.runs.load import read_config
from seqlab.runs.overrides import override
from seqlab.training import train


def with_epochs(config: Config, epochs: float) -> Config:
    """Set `max_epochs` instead of `max_steps`."""
    return with_training(config, max_steps=None, max_epochs=epochs)


def test_max_epochs_is_converted_to_max_steps(corpus: Path, tmp_path: Path) -> None:
    """The corpus is a single chunk, so the number of steps is exact."""
    epochs = 2.5
    config = with_epochs(tiny_config(corpus, data={"chunk_pairs": 10_000}, log_every=1), epochs)
    run_dir = train(config, tmp_path / "run")
    lines = comparable_metrics(run_dir, ["train"])
    assert lines[-1]["epoch"] == pytest.approx(epochs, abs=0.5 * lines[0]["epoch"])
    resolved = read_config(RunFolder(run_dir)).training
    assert (resolved.max_steps, resolved.max_epochs) == (len(lines), None)
    by_steps = train(with_training(config, max_steps=len(lines), max_epochs=None), tmp_path / "by_steps")
    assert_equal_runs(run_dir, by_steps)


def test_raising_max_epochs_resumes_a_run(corpus: Path, tmp_path: Path) -> None:
    config = tiny_config(corpus, data={"chunk_pairs": 10_000}, log_every=1)
    run_dir = train(with_epochs(config, 1), tmp_path / "run")
    steps = read_config(RunFolder(run_dir)).training.num_steps
    train(with_epochs(config, 1), run_dir)  # no effect: the same length
    train(with_epochs(config, 2), run_dir)
    [event] = [line for line in RunFolder(run_dir).read_metrics() if line["kind"] == "event" and line["changes"]]
    assert event["changes"] == {"training.max_steps": [steps, 2 * steps]}
    assert_equal_runs(run_dir, train(with_epochs(config, 2), tmp_path / "uninterrupted"))


def test_ngram_training_takes_one_pass(tmp_path: Path) -> None:
    text = write_text(tmp_path, ["one two three", "two three"] * 20)
    run_dir = train(with_epochs(tiny_text_config(text, model=NgramConfig(), optim=OptimConfig()), 3), tmp_path / "run")
    assert read_config(RunFolder(run_dir)).training.max_epochs is None


def test_max_steps_and_max_epochs_exclude_each_other(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="`max_steps` and `max_epochs` both set the length of the training"):
        TrainingConfig(max_steps=10_000, max_epochs=3)
    with pytest.raises(ValueError, match="`training`: `max_steps` and `max_epochs` both set"):
        recipe("number_words", tmp_path, {"training.max_steps": 5, "training.max_epochs": 3})
    assert TrainingConfig().max_steps == 10_000


def test_setting_steps_clears_epochs_and_vice_versa(corpus: Path, tmp_path: Path) -> None:
    config = recipe("number_words", tmp_path, {"training.max_epochs": 3})
    assert (config.training.max_steps, config.training.max_epochs) == (None, 3)
    in_steps = override(config, [("training.max_steps", "7")])
    assert (in_steps.training.max_steps, in_steps.training.max_epochs) == (7, None)
    files = {"data.train_src": str(corpus / "train.en"), "data.train_tgt": str(corpus / "train.de")}
    few, many = (config_for({**files, "training.max_epochs": epochs}).training for epochs in (2, 20_000))
    assert (few.max_steps, few.max_epochs) == (None, 2)
    assert few.log_every < many.log_every  # intervals depend on the number of steps of these epochs
