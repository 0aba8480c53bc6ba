"""Fine-tuning: a run that starts from the weights and the vocabulary of another."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from reference.tiny_runs import (
    assert_equal_runs,
    tiny_config,
    with_training,
    write_numbers,
)

from seqlab.optim.config import AdamConfig, OptimConfig
from seqlab.runs.load import load_run
from seqlab.text import CharactersConfig
from seqlab.training import train

from .conftest import Trained, contents, edit_description, train_until


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
