"""Training of the prediction task: batch norm over ranks and micro-steps, changed and moved data."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from reference.ranks import run_in_ranks, train_in_ranks
from reference.tiny_runs import comparable_metrics
from torch import nn

from seqlab.models import (
    EncoderPredictorConfig,
    MlpEncoderConfig,
)
from seqlab.nn.feature_norm import BatchNorm
from seqlab.optim import SgdConfig
from seqlab.runs.load import load_run
from seqlab.training import train
from seqlab.training.data_parallel import SumOverRanks, mark_idle

from .conftest import tiny

SGD = SgdConfig(lr=0.05)
"""Not Adam: biases before a batch norm have gradients of 0, and Adam would amplify their rounding errors."""


def test_batch_norm_uses_statistics_of_all_ranks(table: str, tmp_path: Path) -> None:
    model = EncoderPredictorConfig(encoder=MlpEncoderConfig(hidden_sizes=(16, 16), norm="batch", residual=True))
    config = tiny(table, "price", model=model)
    config = replace(config, optim=replace(config.optim, optimizer=SGD, ema_decay=0.5))
    runs = train(config, tmp_path / "one"), train_in_ranks(2, config, tmp_path / "two")
    losses = [[line["loss"] for line in comparable_metrics(run, ["train", "valid"])] for run in runs]
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)
    one, two = (load_run(run, "last").model.state_dict() for run in runs)
    for name in one:
        torch.testing.assert_close(two[name], one[name], rtol=1e-2, atol=1e-3)


def test_idle_ranks_do_not_change_batch_norm_statistics() -> None:
    found = run_in_ranks(3, normalize_in_this_rank)
    expected = nn.BatchNorm1d(2)
    outputs = expected(torch.arange(8.0).view(4, 2))
    for rank, (normalized, mean, variance) in enumerate(found):
        if rank < 2:
            np.testing.assert_allclose(normalized, outputs.detach()[2 * rank : 2 * rank + 2], atol=1e-5)
        np.testing.assert_allclose(mean, expected.running_mean, atol=1e-5)
        np.testing.assert_allclose(variance, expected.running_var, atol=1e-5)


def normalize_in_this_rank() -> tuple[Any, Any, Any]:
    """Normalize two rows in ranks 0 and 1, and in the idle rank 2 a row that does not count."""
    rank, norm = dist.get_rank(), BatchNorm(2)
    norm.sum_over_ranks = SumOverRanks.apply
    mark_idle(norm, rank == 2)
    rows = torch.arange(8.0).view(4, 2)
    normalized = norm(rows[2 * rank : 2 * rank + 2] if rank < 2 else rows[:1])
    return normalized.detach().numpy(), norm.running_mean.numpy(), norm.running_var.numpy()


def test_batch_norm_over_ranks_is_accurate_for_large_numbers() -> None:
    [found, *_] = run_in_ranks(2, normalize_large_numbers)
    rows = 1000 + torch.arange(8.0).view(4, 2)
    np.testing.assert_allclose(found, nn.BatchNorm1d(2)(rows).detach()[:2], atol=1e-3)


def normalize_large_numbers() -> Any:
    norm = BatchNorm(2)
    norm.sum_over_ranks = SumOverRanks.apply
    rows = 1000 + torch.arange(8.0).view(4, 2)
    return norm(rows[2 * dist.get_rank() :][:2]).detach().numpy()


def test_batch_norm_with_several_micro_steps_warns(
    table: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for rows, is_warned in ((32, False), (8, True)):
        caplog.clear()
        model = EncoderPredictorConfig(encoder=MlpEncoderConfig(hidden_sizes=(8,), norm="batch"))
        train(tiny(table, "price", model=model, micro_batch_rows=rows, max_steps=3), tmp_path / str(rows))
        assert ("separately over each of the 4 micro-steps" in caplog.text) == is_warned


def test_changed_data_are_refused(table: str, tmp_path: Path) -> None:
    train(tiny(table, "price", max_steps=5), tmp_path / "run")
    Path(table).write_text(Path(table).read_text("utf-8").replace("Berlin", "Bonn"), "utf-8")
    with pytest.raises(ValueError, match=r"houses\.csv differs from the data that the run in .* started with"):
        train(tiny(table, "price"), tmp_path / "run")


def test_runs_resume_after_the_data_have_been_moved(table: str, tmp_path: Path) -> None:
    train(tiny(table, "price", max_steps=5), tmp_path / "run")
    moved = Path(table).rename(tmp_path / "moved.csv")
    assert train(tiny(str(moved), "price", max_steps=7), tmp_path / "run") == tmp_path / "run"
