"""A stored run of each model family is loaded, used and continued."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from reference.stored_families import (
    COUNTED,
    FAMILIES,
    SPEECH_ARCHIVE,
    SPEECH_FAMILIES,
    USES,
    answers,
    assert_same,
    last_nll,
    read_expected,
    seqlab,
    unpack,
)


@pytest.fixture(scope="module")
def stored_speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Unpack the stored runs of the families that read recordings."""
    return unpack(tmp_path_factory.mktemp("stored"), SPEECH_ARCHIVE)


@pytest.fixture
def expected_of_speech(stored_speech: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Work in their folder; return what they answered, by family."""
    monkeypatch.chdir(stored_speech)
    return read_expected()


def test_every_family_is_stored(expected_of_families: dict[str, Any]) -> None:
    """A family that is added later has no stored run, those that were there have."""
    assert set(expected_of_families) == set(FAMILIES)


@pytest.mark.parametrize("family", USES)
def test_a_stored_run_answers_as_it_did(expected_of_families: dict[str, Any], family: str) -> None:
    """Texts and labels are the same, scores and perplexities within 1e-4."""
    assert expected_of_families[family]["uses"]
    check_uses(expected_of_families[family])


def check_uses(expected: dict[str, Any]) -> None:
    for what, use in expected["uses"].items():
        assert_same(answers(use["argv"]), use["lines"], what)


@pytest.mark.parametrize("family", [name for name in FAMILIES if name not in COUNTED])
def test_a_stored_run_is_continued(expected_of_families: dict[str, Any], family: str) -> None:
    """The steps that follow end in the loss that they ended in then."""
    check_continued(expected_of_families[family]["continued"], family)


def check_continued(continued: dict[str, Any], family: str) -> None:
    shutil.copytree(f"runs/{family}", f"continued/{family}")
    seqlab(*continued["argv"])
    step, loss = last_nll(f"continued/{family}")
    assert step == continued["step"]
    assert loss == pytest.approx(continued["nll"], abs=5e-3)  # rounding differs between machines, and grows


@pytest.mark.parametrize("family", SPEECH_FAMILIES)
def test_stored_runs_of_speech(expected_of_speech: dict[str, Any], family: str) -> None:
    """The same, of recordings."""
    assert set(expected_of_speech) == set(SPEECH_FAMILIES)
    check_uses(expected_of_speech[family])
    # With augmentation, differences of rounding between processors become another model within a hundred steps: two
    # steps must leave the loss about where it was.
    shutil.copytree(f"runs/{family}", f"continued/{family}")
    before, loss_before = last_nll(f"continued/{family}")
    steps = ("--training.max_steps", str(before + 2), "--training.valid_every", "2")
    seqlab("train", "--run_dir", f"continued/{family}", *steps)
    step, loss = last_nll(f"continued/{family}")
    assert (before, step) == (80, 82)
    assert loss == pytest.approx(loss_before, rel=0.1)


def test_a_stored_masked_model_is_one_to_start_from(expected_of_families: dict[str, Any]) -> None:
    """A labeller takes the weights that match, and labels each word."""
    corpus = ("--data.train_src", "corpora/lines.txt", "--data.train_tgt", "corpora/tags.txt")
    labels = ("--data.labels_of", "words", "--training.max_steps", "2")
    start = ("--init_from", "runs/transformer_mlm", "--init_parts", "matching")
    sizes = ("--model.d_model", "8", "--model.d_ff", "16")
    model = ("--model.family", "transformer_labeller", "--model.num_heads", "1")
    seqlab("train", *corpus, *labels, *start, *model, *sizes, "--run_dir", "runs/started", "--threads", "1")
    seqlab("label", "runs/started", "--input", "corpora/test_lines.txt", "--output", "labels.txt")
    words = [len(line.split()) for line in Path("corpora/test_lines.txt").read_text("utf-8").splitlines()]
    assert [len(line.split()) for line in Path("labels.txt").read_text("utf-8").splitlines()] == words
