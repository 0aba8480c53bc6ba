"""Resuming runs of earlier versions, which are stored in `tests/checkpoints/`."""

import json
import tarfile
from pathlib import Path

import pytest
import torch

from seqlab.runs import folder as seqlab_folder
from seqlab.runs.checkpoint import checkpoint_steps, read_tensors

from .conftest import run_command

LABELER = ("train", "--data.train_src", "lines.txt", "--data.train_tgt", "labels.txt", "--threads", "1")
STORED = Path(__file__).parents[1] / "checkpoints"
NUMBER_WORDS = (
    *("train", "number_words", "--model.d_model", "8", "--model.d_ff", "8", "--model.num_heads", "1"),
    *("--model.num_encoder_layers", "1", "--model.num_decoder_layers", "1", "--training.max_steps", "40"),
    *("--training.save_every", "10", "--training.valid_every", "40", "--training.log_every", "10"),
    *("--optim.schedule.warmup_steps", "5", "--threads", "1"),
)
"""Command of the stored run, which was started at commit 6187491 and killed after 10 steps."""


@pytest.mark.parametrize(
    "options", [NUMBER_WORDS, ("train", "number_words", "--threads", "1")], ids=["same options", "no options"]
)
def test_a_run_is_resumed_with_its_data_from_an_earlier_generator(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    """The run is resumed by the same command, and by one without the options, which are in config.yaml."""
    with tarfile.open(STORED / "number_words_v1.tar.xz") as archive:
        archive.extractall(tmp_path / "runs", filter="data")
    run_dir = tmp_path / "runs" / "number_words"
    original_data = {path.name: path.read_bytes() for path in (run_dir / "data").iterdir()}
    monkeypatch.chdir(tmp_path)
    err = run_command(*options).stderr.decode()
    assert "Continuing runs/number_words after step 10." in err
    assert checkpoint_steps(run_dir / "checkpoints")[-1] == 40
    assert {path.name: path.read_bytes() for path in (run_dir / "data").iterdir()} == original_data
    short = ("--training.max_steps", "1", "--training.valid_metric", "nll", "--threads", "1")
    run_command(*NUMBER_WORDS[:2], *short, "--overwrite")
    new_data = {path.name: path.read_bytes() for path in (run_dir / "data").iterdir()}
    assert "test_short.en" in new_data
    assert new_data["train.en"] != original_data["train.en"]


def test_a_labeler_with_float_ngram_ids_is_loaded_and_resumed_with_integer_ids(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run was stored at commit a112aa6 after 20 steps, in run format 1, with the expected labels."""
    with tarfile.open(STORED / "ngram_labeller_v1.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    monkeypatch.chdir(tmp_path)
    ngram_ids = "features.ngrams.0.known"
    stored = read_tensors(Path("ngram_labeller/checkpoints/step_00000020"), "averaged")["reader.ngrams.0.known"]
    assert stored.dtype == torch.float32
    monkeypatch.setattr(seqlab_folder, "_warned_folders", set())  # otherwise, the warning appears once per process
    done = run_command("label", "ngram_labeller", "--json", stdin=Path("lines.txt").read_bytes())
    assert done.stderr.decode().count("has run format 1") == 1
    expected_lines = Path("expected.jsonl").read_text().splitlines()
    for line, expected_line in zip(done.stdout.splitlines(), expected_lines, strict=True):
        [[actual]], [[expected]] = json.loads(line)["choices"], json.loads(expected_line)["choices"]
        assert actual["label"] == expected["label"]
        assert actual["log_prob"] == pytest.approx(expected["log_prob"], abs=1e-2)  # bf16, other machines
    run_command(*LABELER, "--run_dir", "ngram_labeller", "--training.max_steps", "40")
    resumed = read_tensors(Path("ngram_labeller/checkpoints/step_00000040"), "averaged")[ngram_ids]
    assert resumed.dtype == torch.int64
    assert torch.equal(resumed, stored.long())
    monkeypatch.setattr(seqlab_folder, "_warned_folders", set())
    assert "has run format 1" not in run_command("label", "ngram_labeller", stdin=b"the cat eats\n").stderr.decode()
