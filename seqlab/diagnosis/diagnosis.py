"""Diagnose a run: ask all questions in the given time, and rank what they find."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from seqlab.diagnosis import (
    baselines,
    critical_points,
    data_checks,
    gradient_checks,
    invariance_checks,
    pair_checks,
    training_checks,
)
from seqlab.diagnosis.experiments import Experiments
from seqlab.diagnosis.finding import CONSEQUENCES, Finding, LeftOut
from seqlab.diagnosis.measurement import Measurement, measurement_lines
from seqlab.diagnosis.next_commands import with_command
from seqlab.diagnosis.workbench import open_run
from seqlab.registry import describe_error

logger = logging.getLogger(__name__)
QUESTIONS = (
    *invariance_checks.QUESTIONS,
    *gradient_checks.QUESTIONS,
    *data_checks.QUESTIONS,
    *pair_checks.QUESTIONS,
    *training_checks.QUESTIONS,
    *baselines.QUESTIONS,
    *critical_points.QUESTIONS,
)


@dataclass(frozen=True)
class Diagnosis:
    """Findings of a diagnosis, most probable first, and the questions that were left out."""

    run: str
    findings: list[Finding]
    left_out: list[tuple[str, str]]
    """Questions without an answer, and the reasons."""
    minutes: float
    measurements: Sequence[Measurement] = ()

    def lines(self) -> list[str]:
        """Render for people."""
        lines = [] if self.findings else ["nothing found"]
        for finding in self.findings:
            lines += [f"{finding.level}: {finding.title} ({finding.cause}, {100 * finding.confidence:.0f}%)"]
            lines += [f"  {finding.evidence}"]
            lines += [f"  next: {finding.command}"] if finding.command else []
            lines += [f"  page: {finding.page}"]
        lines += measurement_lines(self.measurements)
        if self.left_out:
            lines += ["", "left out:", *(f"  {question} {reason}" for question, reason in self.left_out)]
        return lines

    def to_json(self) -> dict[str, Any]:
        """Render for JSON."""
        return {
            "run": self.run,
            "findings": [finding.to_json() for finding in self.findings],
            "measurements": [measurement.to_json() for measurement in self.measurements],
            "left_out": [{"question": question, "reason": reason} for question, reason in self.left_out],
            "minutes": round(self.minutes, 3),
        }


def diagnose(
    path: str | Path,
    minutes: float = 10.0,
    on_question: Callable[[str, int, int], None] = lambda *_: None,
    shortened: Sequence[str] | None = None,
) -> Diagnosis:
    """Run experiments that find out why a run does not learn; the run stays unchanged.

    Args:
        path: the run folder.
        minutes: time for all experiments.
        on_question: receives the text of each question, its number from 0, and their number.
        shortened: the arguments of `seqlab train` of which the run is a shortened training, whose length says nothing;
            None for a run of full length.

    Raises:
        FileNotFoundError: the run or its data does not exist.
        ValueError: the folder is not a run, or its data has changed.
    """
    started = time.monotonic()
    findings: list[Finding] = []
    measurements: list[Measurement] = []
    left_out: list[tuple[str, str]] = []
    with TemporaryDirectory() as scratch:
        lab = Experiments(open_run(path, Path(scratch)), minutes, shortened)
        for number, (question, ask) in enumerate(QUESTIONS):
            on_question(question, number, len(QUESTIONS))
            try:
                for answer in ask(lab):
                    if isinstance(answer, Measurement):
                        measurements.append(answer)
                    else:
                        findings.append(with_command(lab, answer))
            except LeftOut as reason:
                left_out.append((question, str(reason)))
            except Exception as error:  # code of plugins can raise anything; other questions may still have answers
                logger.debug("%s", question, exc_info=True)
                left_out.append((question, describe_error(error)))
    return Diagnosis(str(path), rank(findings), left_out, (time.monotonic() - started) / 60, measurements)


def rank(findings: list[Finding]) -> list[Finding]:
    """Sort findings by confidence, each cause once with its strongest evidence, and before what it explains."""
    best: dict[str, Finding] = {}
    for finding in sorted(findings, key=lambda finding: -finding.confidence):
        best.setdefault(finding.cause, finding)
    for explanation in list(best.values()):
        for name in CONSEQUENCES.get(explanation.cause, ()) if explanation.level == "likely" else ():
            if name in best and best[name].confidence >= explanation.confidence:
                evidence = f"{best[name].evidence}; `{explanation.cause}` explains this"
                best[name] = replace(best[name], confidence=explanation.confidence - 0.01, evidence=evidence)
    return sorted(best.values(), key=lambda finding: -finding.confidence)
