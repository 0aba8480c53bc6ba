"""Persistent buffers, such as running statistics: saved in checkpoints and never averaged."""

from pathlib import Path
from typing import Any

import pytest
import torch
from reference.buffers import add_buffers, train_with_buffers
from reference.ranks import run_in_ranks
from reference.tiny_runs import tiny_config, with_training

from seqlab.models import Transformer
from seqlab.optim import AdamConfig, OptimConfig
from seqlab.runs.checkpoint import AVERAGED, WEIGHTS, checkpoint_name, read_tensors
from seqlab.runs.load import load_run
from seqlab.training import train

from .conftest import with_16_steps


@pytest.fixture(autouse=True)
def _transformers_with_buffers(monkeypatch: pytest.MonkeyPatch) -> None:
    add_buffers(monkeypatch.setattr)


@pytest.mark.parametrize("average", [{"average_last": 3}, {"ema_decay": 0.9}, {}], ids=str)
def test_buffers_are_saved_without_averaging(corpus: Path, tmp_path: Path, average: dict[str, Any]) -> None:
    optim = OptimConfig(optimizer=AdamConfig(lr=3e-3), **average)
    config = tiny_config(corpus, max_steps=12, save_every=2, valid_every=4, optim=optim)
    run_dir = train(config, tmp_path / "run")
    last = run_dir / "checkpoints" / checkpoint_name(12)
    weights = read_tensors(last, WEIGHTS)
    assert weights["batches"] > 12
    assert weights["mean"] > 0
    assert "scratch" not in weights
    if average:
        averaged = read_tensors(last, AVERAGED)
        assert weights.keys() == averaged.keys()
        assert torch.equal(averaged["batches"], weights["batches"])
        assert torch.equal(averaged["mean"], weights["mean"])
        assert any(not torch.equal(averaged[name], value) for name, value in weights.items())
    loaded = load_run(run_dir, "12").model
    assert torch.equal(loaded.get_buffer("mean"), weights["mean"])
    train(with_16_steps(config), run_dir)


def test_a_checkpoint_without_a_buffer_is_refused(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_dir = train(tiny_config(corpus, max_steps=2), tmp_path / "run")
    init = Transformer.__init__

    def init_with_extra_buffer(self: Transformer, *arguments: Any, **options: Any) -> None:
        init(self, *arguments, **options)
        self.register_buffer("variance", torch.ones(()))

    monkeypatch.setattr(Transformer, "__init__", init_with_extra_buffer)
    with pytest.raises(ValueError, match="only the model has `variance`"):
        load_run(run_dir)


def test_ranks_resume_from_the_buffers_of_rank_0(corpus: Path, tmp_path: Path) -> None:
    """Ranks see different batches, but share one checkpoint: a resumed run equals an uninterrupted one."""
    config = tiny_config(corpus, max_steps=12, save_every=2, valid_every=4, parallel="fsdp")
    half = with_training(config, max_steps=6)
    for name, configs in (("uninterrupted", [config]), ("resumed", [half, config])):
        path = str(tmp_path / name)
        assert run_in_ranks(2, train_with_buffers, configs, tmp_path / name) == [path, path]
    last = checkpoint_name(12)
    uninterrupted, resumed = (
        read_tensors(tmp_path / name / "checkpoints" / last, WEIGHTS) for name in ("uninterrupted", "resumed")
    )
    assert uninterrupted["batches"] > 0
    assert all(torch.equal(uninterrupted[name], value) for name, value in resumed.items())
