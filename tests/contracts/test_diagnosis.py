"""Contracts of diagnosis: checks of the code find nothing in the models and objectives of the package."""

from pathlib import Path

import pytest
from contracts.trained import Trained

from seqlab.diagnosis import code_checks
from seqlab.diagnosis.experiments import Experiments
from seqlab.diagnosis.finding import LeftOut
from seqlab.diagnosis.workbench import open_run

CAN_DIFFER = {"do small updates lower the loss?", "what is the loss of an untrained model?"}
"""Questions about the settings of a row, whose rates are high and whose models are tiny."""


@pytest.mark.rows(lambda row: not row.is_count_based and row.data["kind"] != "control")
def test_no_model_or_objective_has_a_fault(trained: Trained, tmp_path: Path) -> None:
    lab = Experiments(open_run(trained.run, tmp_path), minutes=5)
    findings = []
    for question, ask in code_checks.QUESTIONS:
        try:
            findings += [] if question in CAN_DIFFER else list(ask(lab))
        except LeftOut:
            continue
    assert [finding for finding in findings if finding.level == "likely"] == []
