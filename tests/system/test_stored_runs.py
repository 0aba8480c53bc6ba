"""Runs that earlier versions began, as `tests/checkpoints/` stores them, are continued."""

import tarfile
from pathlib import Path

import pytest

from seqlab.runs.checkpoint import checkpoint_steps

from .conftest import seqlab

STORED = Path(__file__).parents[1] / "checkpoints"
NUMBER_WORDS = (
    *("train", "number_words", "--model.d_model", "8", "--model.d_ff", "8", "--model.num_heads", "1"),
    *("--model.num_encoder_layers", "1", "--model.num_decoder_layers", "1", "--training.max_steps", "40"),
    *("--training.save_every", "10", "--training.valid_every", "40", "--training.log_every", "10"),
    *("--optim.schedule.warmup_steps", "5", "--threads", "1"),
)
"""What began the stored run at commit 6187491, where it was killed after 10 steps."""


@pytest.mark.parametrize("options", [NUMBER_WORDS, ("train", "number_words", "--threads", "1")], ids=["same", "short"])
def test_a_run_with_data_of_the_first_generator_is_continued_with_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    """By the same command, and by one that leaves out what the run's config.yaml has."""
    with tarfile.open(STORED / "number_words_v1.tar.xz") as archive:
        archive.extractall(tmp_path / "runs", filter="data")
    run_dir = tmp_path / "runs" / "number_words"
    before = {path.name: path.read_bytes() for path in (run_dir / "data").iterdir()}
    monkeypatch.chdir(tmp_path)
    err = seqlab(*options).stderr.decode()
    assert "Continuing runs/number_words after step 10." in err
    assert checkpoint_steps(run_dir / "checkpoints")[-1] == 40
    assert {path.name: path.read_bytes() for path in (run_dir / "data").iterdir()} == before
    seqlab(*NUMBER_WORDS, "--overwrite")
    after = {path.name: path.read_bytes() for path in (run_dir / "data").iterdir()}
    assert "test_short.en" in after
    assert after["train.en"] != before["train.en"]
