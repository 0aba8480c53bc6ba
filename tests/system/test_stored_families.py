"""Stored runs of all model families: loading, outputs and resuming."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from reference.stored_families import (
    COUNT_BASED_FAMILIES,
    DECODABLE_FAMILIES,
    FAMILIES,
    SPEECH_ARCHIVE,
    SPEECH_FAMILIES,
    assert_same,
    last_nll,
    read_expected,
    run_and_read_outputs,
    run_command,
    unpack,
)


@pytest.fixture(scope="module")
def stored_speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Unpack the stored runs of the speech families."""
    return unpack(tmp_path_factory.mktemp("stored"), SPEECH_ARCHIVE)


@pytest.fixture
def expected_of_speech(stored_speech: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Change to the folder of the stored runs; return their expected outputs by family."""
    monkeypatch.chdir(stored_speech)
    return read_expected()


def test_archive_has_all_families(expected_by_family: dict[str, Any]) -> None:
    """Families that were added later are not in `FAMILIES`."""
    assert set(expected_by_family) == set(FAMILIES)


@pytest.mark.parametrize("family", DECODABLE_FAMILIES)
def test_outputs_of_stored_runs_are_unchanged(expected_by_family: dict[str, Any], family: str) -> None:
    """Texts and labels must be equal, scores and perplexities equal within 1e-4."""
    assert expected_by_family[family]["uses"]
    check_outputs(expected_by_family[family])


def check_outputs(expected: dict[str, Any]) -> None:
    """Run all stored commands of a run and compare their outputs."""
    for name, use in expected["uses"].items():
        assert_same(run_and_read_outputs(use["argv"]), use["lines"], name)


@pytest.mark.parametrize("family", [name for name in FAMILIES if name not in COUNT_BASED_FAMILIES])
def test_resumed_stored_runs_have_the_stored_loss(expected_by_family: dict[str, Any], family: str) -> None:
    continued = expected_by_family[family]["continued"]
    shutil.copytree(f"runs/{family}", f"continued/{family}")
    run_command(*continued["argv"])
    step, loss = last_nll(f"continued/{family}")
    assert step == continued["step"]
    assert loss == pytest.approx(continued["nll"], abs=5e-3)  # rounding differences between machines accumulate


@pytest.mark.parametrize("family", SPEECH_FAMILIES)
def test_stored_runs_of_speech_families(expected_of_speech: dict[str, Any], family: str) -> None:
    """Outputs are unchanged, and the runs can be resumed."""
    assert set(expected_of_speech) == set(SPEECH_FAMILIES)
    check_outputs(expected_of_speech[family])
    # With augmentation, rounding differences between processors lead to different models within 100 steps. So only the
    # loss after two steps is compared.
    shutil.copytree(f"runs/{family}", f"continued/{family}")
    before, loss_before = last_nll(f"continued/{family}")
    steps = ("--training.max_steps", str(before + 2), "--training.valid_every", "2")
    run_command("train", "--run_dir", f"continued/{family}", *steps)
    step, loss = last_nll(f"continued/{family}")
    assert (before, step) == (80, 82)
    assert loss == pytest.approx(loss_before, rel=0.1)


def test_a_labeler_is_initialized_from_a_stored_masked_model(expected_by_family: dict[str, Any]) -> None:
    """The labeler copies the matching weights, is trained for two steps and labels each word."""
    corpus = ("--data.train_src", "corpora/lines.txt", "--data.train_tgt", "corpora/tags.txt")
    labels = ("--data.labels_of", "words", "--training.max_steps", "2")
    start = ("--init_from", "runs/transformer_mlm", "--init_parts", "matching")
    sizes = ("--model.d_model", "8", "--model.d_ff", "16")
    model = ("--model.family", "transformer_labeller", "--model.num_heads", "1")
    run_command("train", *corpus, *labels, *start, *model, *sizes, "--run_dir", "runs/labeller", "--threads", "1")
    run_command("label", "runs/labeller", "--input", "corpora/test_lines.txt", "--output", "labels.txt")
    words = [len(line.split()) for line in Path("corpora/test_lines.txt").read_text("utf-8").splitlines()]
    assert [len(line.split()) for line in Path("labels.txt").read_text("utf-8").splitlines()] == words
