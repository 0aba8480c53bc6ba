"""Learning-rate range test (`seqlab lr-find`): geometric learning rates, and an early end when the loss diverges."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from seqlab.optim import OptimConfig, SgdConfig
from seqlab.runs.config import write_config
from seqlab.training import range_test
from seqlab.training.range_test import smooth_losses

from .conftest import run, tiny


def test_lr_rises_geometrically_until_the_loss_diverges(table: str, tmp_path: Path) -> None:
    write_config(tiny(table, "price"), tmp_path / "config.yaml")
    figure = tmp_path / "lr.svg"
    options = ("--threads", "1", "--seed", "3", "--lowest", "1e-5", "--highest", "10", "--steps", "60", "--out", figure)
    status, out, err = run("lr-find", tmp_path / "config.yaml", *options)
    assert status == 0, err
    assert "try " in out.splitlines()[-1]
    assert figure.stat().st_size > 1000
    found = json.loads(run("lr-find", tmp_path / "config.yaml", *options, "--json")[1])
    assert found["rates"] == pytest.approx([1e-5 * 10 ** (6 * step / 59) for step in range(len(found["rates"]))])
    assert 1e-4 < found["try"] < found["lowest"] / 5
    assert found["losses"][-1] > 2 * min(found["losses"])
    assert [each.name for each in tmp_path.iterdir() if "run" in each.name] == []


def test_a_nan_loss_ends_the_range_test(table: str) -> None:
    optim = OptimConfig(optimizer=SgdConfig(momentum=0.9), max_grad_norm=None)
    found = range_test(replace(tiny(table, "price"), optim=optim), 1e-3, 1e9, 100)
    assert 0 < len(found.rates) < 100
    assert found.rates[-1] < 1e9


def test_suggested_lr_for_given_losses() -> None:
    losses = [4.0] * 5 + [4 - 0.05 * step**2 for step in range(8)] + [2.0 * 2**step for step in range(30)]
    lrs = [1e-6 * 1.5**step for step in range(len(losses))]
    found = smooth_losses(lrs, losses)
    assert lrs[10] < found.lowest < lrs[16]
    assert len(found.rates) < len(lrs)
    assert found.smoothed[0] == pytest.approx(4.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [(("--lowest", "2"), "must be above 0 and below `highest`"), (("--steps", "3"), "`steps` must be at least 10")],
)
def test_invalid_ranges_are_refused(options: tuple[str, str], message: str, table: str, tmp_path: Path) -> None:
    write_config(tiny(table, "price"), tmp_path / "config.yaml")
    status, _, err = run("lr-find", tmp_path / "config.yaml", *options)
    assert status == 2
    assert message in err
