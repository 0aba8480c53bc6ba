"""Warm start with all weights (`init_from`): the same model and codecs, its own resume, and refusals."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from reference.tiny_runs import (
    assert_equal_runs,
    tiny_config,
    with_training,
)

from seqlab.optim import AdamConfig, OptimConfig
from seqlab.runs.load import load_run
from seqlab.text import CharactersConfig
from seqlab.training import train

from .conftest import Trained, edit_description, read_files


def test_fine_tuning_starts_from_the_weights_and_the_tokenizer_of_another_run(
    translator: Trained, other_corpus: Path, tmp_path: Path
) -> None:
    origin = translator[1]
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
    assert read_files(run_dir / "tokenizer") == read_files(origin / "tokenizer")
    expected, found = load_run(origin), load_run(run_dir)
    for (name, value), tuned in zip(expected.model.named_parameters(), found.model.parameters(), strict=True):
        assert tuned.detach().numpy() == pytest.approx(value.detach().numpy(), abs=1e-6), name
    # The checkpoint holds the weights: the run resumes without its origin.
    resumed = replace(config, init_from=config.init_from)
    edit_description(run_dir)
    train(with_training(resumed, max_steps=2), run_dir)


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
def test_fine_tuning_with_another_architecture_or_tokenizer_is_refused(
    translator: Trained, other_corpus: Path, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    config = tiny_config(other_corpus, init_from=str(translator[1]), **changes)
    with pytest.raises(ValueError, match=rf"With `init_from` the model and the codecs .*{message}"):
        train(config, tmp_path / "tuned")
    assert not (tmp_path / "tuned").exists()


def test_fine_tuning_from_a_missing_run_or_from_itself_is_refused(
    translator: Trained, run_dir: Path, tmp_path: Path
) -> None:
    with pytest.raises(FileNotFoundError, match=r"no run folder .*nowhere \(`init_from`\)"):
        train(replace(translator[0], init_from=str(tmp_path / "nowhere")), tmp_path / "tuned")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty is not a run folder"):
        train(replace(translator[0], init_from=str(tmp_path / "empty")), tmp_path / "tuned")
    with pytest.raises(ValueError, match="`init_from` and `run_dir` are both"):
        train(replace(translator[0], init_from=str(run_dir)), run_dir, overwrite=True)
    assert_equal_runs(run_dir, translator[1])
