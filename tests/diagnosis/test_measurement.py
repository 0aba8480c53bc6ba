"""Measurements of a diagnosis are shown as tables, beside the findings."""

from collections.abc import Callable

import pytest
from contracts.trained import Trained

from seqlab.diagnosis.diagnosis import diagnose
from seqlab.diagnosis.experiments import Experiments
from seqlab.diagnosis.finding import Finding
from seqlab.diagnosis.measurement import Measurement


def test_measurements_are_shown_by_topic_and_are_no_findings(
    trained_row: Callable[[str], Trained], monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask(lab: Experiments) -> list[Finding | Measurement]:
        return [
            Measurement("loss in nats", "the run", 0.5, 0.01),
            Finding("clipping", "a", 0.9, "seqlab info"),
            Measurement("loss in nats", "another model", 1.25, 0.1),
            Measurement("norm", "gradient", 1e-5, 2e-6),
        ]

    monkeypatch.setattr("seqlab.diagnosis.diagnosis.QUESTIONS", (("?", ask),))
    diagnosis = diagnose(trained_row("transformer").run, 1)
    assert [finding.cause for finding in diagnosis.findings] == ["clipping"]
    assert diagnosis.lines()[4:] == [
        "",
        "loss in nats:",
        "  the run        0.5 ± 0.01",
        "  another model  1.25 ± 0.1",
        "",
        "norm:",
        "  gradient  1e-05 ± 2e-06",
    ]
    assert diagnosis.to_json()["measurements"][1] == {
        "topic": "loss in nats",
        "name": "another model",
        "value": 1.25,
        "standard_error": 0.1,
    }
