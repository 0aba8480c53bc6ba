"""Contracts of diagnosis: checks of the code find nothing in the models and objectives of the package."""

from pathlib import Path

import pytest
from contracts.trained import Trained

from seqlab.diagnosis import changes, gradient_checks, invariance_checks
from seqlab.diagnosis.experiments import Experiments
from seqlab.diagnosis.finding import LeftOut
from seqlab.diagnosis.next_commands import changed_options
from seqlab.diagnosis.workbench import open_run
from seqlab.runs import RunFolder
from seqlab.runs.load import read_config
from seqlab.runs.overrides import override

CAN_DIFFER = {"do small updates lower the loss?", "what is the loss of an untrained model?"}
"""Questions about the settings of a row, whose rates are high and whose models are tiny."""
CHANGES = (
    changes.with_lr(1 / 3),
    changes.longer,
    changes.smaller_batches,
    changes.constant_rate,
    changes.with_clipping,
    changes.without_clipping,
    changes.less_regularized,
    changes.more_regularized,
    changes.larger,
    changes.another_seed,
    changes.random_validation_rows,
)


@pytest.mark.rows(lambda row: not row.is_count_based and row.data["kind"] != "control")
def test_no_model_or_objective_has_a_fault(trained: Trained, tmp_path: Path) -> None:
    lab = Experiments(open_run(trained.run, tmp_path), minutes=5)
    findings = []
    for question, ask in (*invariance_checks.QUESTIONS, *gradient_checks.QUESTIONS):
        try:
            findings += [] if question in CAN_DIFFER else list(ask(lab))
        except LeftOut:
            continue
    assert [finding for finding in findings if finding.level == "likely"] == []


@pytest.mark.rows(lambda row: not row.is_count_based and row.data["kind"] != "control")
def test_a_command_of_a_finding_gives_the_config_of_its_experiment(trained: Trained) -> None:
    config = read_config(RunFolder(trained.run))
    for change in CHANGES:
        try:
            changed = change(config)
        except LeftOut:
            continue
        options = changed_options(config, changed)
        assert override(config, options.items()) == changed
        assert bool(options) == (changed != config)
