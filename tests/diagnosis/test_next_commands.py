"""Commands after a finding: each can be typed, names the config or run that was diagnosed, and changes something."""

from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from shlex import split

import numpy as np
import pytest

from seqlab.cli.main import main
from seqlab.diagnosis import pair_checks
from seqlab.diagnosis.changes import random_validation_rows, with_lr
from seqlab.diagnosis.experiments import Experiments
from seqlab.diagnosis.finding import CAUSES, Finding
from seqlab.diagnosis.next_commands import retrain_command, with_command


def test_a_config_is_trained_first_and_its_commands_are_those_of_the_config(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask(lab: Experiments) -> list[Finding]:
        assert lab.bench.step > 0
        return [Finding("lr_too_low", "", 0.9, retrain_command(lab, with_lr(3)))]

    monkeypatch.setattr("seqlab.diagnosis.diagnosis.QUESTIONS", (("?", ask),))
    options = ["--training.max_steps", "3", "--optim.optimizer.lr", "1e-6", "--quiet"]
    assert main(["diagnose", "digits_linear", *options, "--fail-on", "lr_too_low"]) == 4
    lines = capsys.readouterr().out.split("\n")
    assert "  next: seqlab train digits_linear --training.max_steps 3 --optim.optimizer.lr 3e-06" in lines


@pytest.mark.parametrize(
    "row", ["transformer", "cnn, batch norm, mean of the last", "transformer_lm, continuous, muon"]
)
@pytest.mark.parametrize("shortened", [None, ["digits_linear", "--training.max_steps", "3", "--seed", "2"]])
def test_each_cause_has_a_command_that_the_parser_accepts(
    lab_of: Callable[[str], Experiments], row: str, shortened: list[str] | None
) -> None:
    lab = replace(lab_of(row), shortened=shortened)
    for cause in CAUSES:
        program, name, *arguments = split(with_command(lab, Finding(cause, "", 1.0)).command)
        assert program == "seqlab"
        parser = import_module(f"seqlab.cli.{name.replace('-', '_')}").make_parser()
        assert parser.parse_args(arguments).target == (shortened or arguments)[0]


def test_a_command_does_not_repeat_a_training_without_a_change(lab_of: Callable[[str], Experiments]) -> None:
    lab = lab_of("cnn, batch norm, mean of the last")
    lab.bench.config = random_validation_rows(lab.bench.config)
    assert split(with_command(lab, Finding("mismatch", "", 1.0)).command)[:2] == ["seqlab", "diagnose"]
    for cause in ("model_too_small", "too_little_data"):
        assert split(with_command(lab, Finding(cause, "", 1.0)).command)[:2] == ["seqlab", "train"]


def test_wrong_targets_of_sources_lead_to_the_rows_with_the_highest_losses(
    lab_of: Callable[[str], Experiments], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`inspect-data --kinds label_noise` is for labels only, and `--kinds` leaves the losses out."""
    lab = lab_of("transformer")
    monkeypatch.setattr(pair_checks, "target_scores", lambda learner, rows: np.zeros((160, 4)))
    monkeypatch.setattr(pair_checks, "estimate_wrong_targets", lambda scores: (0.4, 0.01))
    (found,) = pair_checks.check_targets_of_sources(lab)
    assert split(with_command(lab, found).command) == ["seqlab", "inspect-data", str(lab.bench.folder.path)]
