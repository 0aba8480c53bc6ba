"""Persistent buffers, as running statistics are, belong to checkpoints and are never averaged."""

from pathlib import Path
from typing import Any

import pytest
import torch
from reference.tiny_runs import assert_equal_runs, tiny_config

from seqlab.models import Transformer
from seqlab.optim.config import AdamConfig, OptimConfig
from seqlab.runs.checkpoint import AVERAGED, WEIGHTS, checkpoint_name, read_tensors
from seqlab.runs.load import load_run
from seqlab.training import train

from .conftest import longer, train_until


@pytest.fixture(autouse=True)
def running(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every Transformer count the batches it was trained on, keep a running mean, and add that to what it does."""
    begin, forward = Transformer.__init__, Transformer.forward

    def with_buffers(self: Transformer, *arguments: Any, **options: Any) -> None:
        begin(self, *arguments, **options)
        self.register_buffer("batches", torch.zeros((), dtype=torch.int64))
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("scratch", torch.zeros(3), persistent=False)

    def counted(self: Any, batch: Any) -> Any:
        if self.training:
            self.batches += 1
            self.mean.lerp_(batch.src.float().mean(), 0.1)
        output = forward(self, batch)
        return type(output)(output.hidden + 1e-3 * self.mean, *output[1:])

    monkeypatch.setattr(Transformer, "__init__", with_buffers)
    monkeypatch.setattr(Transformer, "forward", counted)


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
