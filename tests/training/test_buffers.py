"""Persistent buffers, as running statistics are, belong to checkpoints and are never averaged."""

from pathlib import Path
from typing import Any

import pytest
import torch
from reference.buffers import add_buffers, train_with_buffers
from reference.ranks import in_ranks
from reference.tiny_runs import assert_equal_runs, tiny_config, with_training

from seqlab.models import Transformer
from seqlab.optim import AdamConfig, OptimConfig
from seqlab.runs.checkpoint import AVERAGED, WEIGHTS, checkpoint_name, read_tensors
from seqlab.runs.load import load_run
from seqlab.training import train

from .conftest import longer, train_until


@pytest.fixture(autouse=True)
def running(monkeypatch: pytest.MonkeyPatch) -> None:
    add_buffers(monkeypatch.setattr)


@pytest.mark.parametrize("average", [{"average_last": 3}, {"ema_decay": 0.9}, {}], ids=str)
def test_a_run_that_is_continued_has_the_buffers_of_one_that_was_not_stopped(
    corpus: Path, tmp_path: Path, average: dict[str, Any]
) -> None:
    optim = OptimConfig(optimizer=AdamConfig(lr=3e-3), **average)
    config = tiny_config(corpus, max_steps=12, save_every=2, valid_every=4, optim=optim)
    train_until(config, tmp_path / "stopped", 7)
    train(config, tmp_path / "stopped")
    whole = train(config, tmp_path / "whole")
    assert_equal_runs(tmp_path / "stopped", whole)
    last = whole / "checkpoints" / checkpoint_name(12)
    found = read_tensors(last, WEIGHTS)
    assert found["batches"] > 12
    assert found["mean"] > 0
    assert "scratch" not in found
    if average:
        of_average = read_tensors(last, AVERAGED)
        assert found.keys() == of_average.keys()
        assert torch.equal(of_average["batches"], found["batches"])
        assert torch.equal(of_average["mean"], found["mean"])
        assert any(not torch.equal(of_average[name], value) for name, value in found.items())
    loaded = load_run(whole, "12").model
    assert torch.equal(loaded.get_buffer("mean"), found["mean"])
    train(longer(config), tmp_path / "stopped")


def test_a_checkpoint_without_a_buffer_is_refused(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_dir = train(tiny_config(corpus, max_steps=2), tmp_path / "run")
    begin = Transformer.__init__

    def with_another(self: Transformer, *arguments: Any, **options: Any) -> None:
        begin(self, *arguments, **options)
        self.register_buffer("variance", torch.ones(()))

    monkeypatch.setattr(Transformer, "__init__", with_another)
    with pytest.raises(ValueError, match="only the model has `variance`"):
        load_run(run_dir)


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_ranks_go_on_from_the_buffers_of_the_main_one(corpus: Path, tmp_path: Path, parallel: str) -> None:
    """Each sees other batches, but there is one checkpoint: a run that is continued is one that was not stopped."""
    config = tiny_config(corpus, max_steps=12, save_every=2, valid_every=4, parallel=parallel)
    part = with_training(config, max_steps=6)
    for name, configs in (("whole", [config]), ("stopped", [part, config])):
        path = str(tmp_path / name)
        assert in_ranks(2, train_with_buffers, configs, tmp_path / name) == [path, path]
    last = checkpoint_name(12)
    whole, stopped = (read_tensors(tmp_path / name / "checkpoints" / last, WEIGHTS) for name in ("whole", "stopped"))
    assert whole["batches"] > 0
    assert all(torch.equal(whole[name], value) for name, value in stopped.items())
