"""Zero config of tables and images: the objective fits the target, and the model the inputs."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from .conftest import run


@pytest.mark.parametrize(
    ("target", "chosen"),
    [("price", "squared_error"), ("class", "softmax"), ("age", "squared_error")],
)
def test_zero_config_for_a_table(target: str, chosen: str, table: str, tmp_path: Path) -> None:
    options = ("--data.train", table, "--data.target", target, "--training.max_steps", "10")
    status, _, err = run("train", *options, "--run_dir", tmp_path / "run", "--threads", "1")
    assert status == 0, err
    config = (tmp_path / "run" / "config.yaml").read_text("utf-8")
    assert f"family: {chosen}" in config
    assert "family: mlp" in config


def test_zero_config_for_images(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    np.savez(tmp_path / "images.npz", x=rng.normal(size=(80, 8, 8)), y=rng.integers(0, 3, 80))
    options: tuple[Any, ...] = ("--data.kind", "prediction", "--data.train", tmp_path / "images.npz")
    status, _, err = run("train", *options, "--run_dir", tmp_path / "run", "--training.max_steps", "5")
    assert status == 0, err
    config = (tmp_path / "run" / "config.yaml").read_text("utf-8")
    assert "family: cnn" in config
    assert "family: softmax" in config
