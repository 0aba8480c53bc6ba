"""Runs of earlier versions, stored in `tests/checkpoints/`, are resumed."""

import json
import tarfile
from pathlib import Path

import pytest
import torch

from seqlab.runs import folder as seqlab_folder
from seqlab.runs.checkpoint import checkpoint_steps, read_tensors

from .conftest import seqlab

LABELLER = ("train", "--data.train_src", "lines.txt", "--data.train_tgt", "labels.txt", "--threads", "1")
STORED = Path(__file__).parents[1] / "checkpoints"
NUMBER_WORDS = (
    *("train", "number_words", "--model.d_model", "8", "--model.d_ff", "8", "--model.num_heads", "1"),
    *("--model.num_encoder_layers", "1", "--model.num_decoder_layers", "1", "--training.max_steps", "40"),
    *("--training.save_every", "10", "--training.valid_every", "40", "--training.log_every", "10"),
    *("--optim.schedule.warmup_steps", "5", "--threads", "1"),
)
"""Options that started the stored run at commit 6187491, which was killed after 10 steps."""


@pytest.mark.parametrize("options", [NUMBER_WORDS, ("train", "number_words", "--threads", "1")], ids=["same", "short"])
def test_a_run_with_data_of_the_first_generator_is_resumed_with_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    """By the same command, and by one without the options that are in config.yaml."""
    with tarfile.open(STORED / "number_words_v1.tar.xz") as archive:
        archive.extractall(tmp_path / "runs", filter="data")
    run_dir = tmp_path / "runs" / "number_words"
    before = {path.name: path.read_bytes() for path in (run_dir / "data").iterdir()}
    monkeypatch.chdir(tmp_path)
    err = seqlab(*options).stderr.decode()
    assert "Continuing runs/number_words after step 10." in err
    assert checkpoint_steps(run_dir / "checkpoints")[-1] == 40
    assert {path.name: path.read_bytes() for path in (run_dir / "data").iterdir()} == before
    shortest = ("--training.max_steps", "1", "--training.valid_metric", "nll", "--threads", "1")
    seqlab(*NUMBER_WORDS[:2], *shortest, "--overwrite")
    after = {path.name: path.read_bytes() for path in (run_dir / "data").iterdir()}
    assert "test_short.en" in after
    assert after["train.en"] != before["train.en"]


def test_a_labeller_with_ngram_ids_as_a_parameter_labels_and_is_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stored at commit a112aa6 after 20 steps, in run format 1, with its labels."""
    with tarfile.open(STORED / "ngram_labeller_v1.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    monkeypatch.chdir(tmp_path)
    known = "reader.ngrams.0.known"
    stored = read_tensors(Path("ngram_labeller/checkpoints/step_00000020"), "averaged")[known]
    assert stored.dtype == torch.float32
    monkeypatch.setattr(seqlab_folder, "_warned_folders", set())  # it warns once in a process
    done = seqlab("label", "ngram_labeller", "--json", stdin=Path("lines.txt").read_bytes())
    assert done.stderr.decode().count("has run format 1") == 1
    for line, expected in zip(done.stdout.splitlines(), Path("expected.jsonl").read_text().splitlines(), strict=True):
        [[found]], [[wanted]] = json.loads(line)["choices"], json.loads(expected)["choices"]
        assert found["label"] == wanted["label"]
        assert found["log_prob"] == pytest.approx(wanted["log_prob"], abs=1e-2)  # bf16, perhaps on another machine
    seqlab(*LABELLER, "--run_dir", "ngram_labeller", "--training.max_steps", "40")
    continued = read_tensors(Path("ngram_labeller/checkpoints/step_00000040"), "averaged")[known]
    assert continued.dtype == torch.int64
    assert torch.equal(continued, stored.long())
    monkeypatch.setattr(seqlab_folder, "_warned_folders", set())
    assert "has run format 1" not in seqlab("label", "ngram_labeller", stdin=b"the cat eats\n").stderr.decode()
