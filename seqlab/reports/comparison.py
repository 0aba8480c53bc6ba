"""Comparison of runs: whether it is fair, paired bootstrap of their scores, and differences of their configs."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from seqlab.base.json_text import json_text
from seqlab.base.number_text import short_text
from seqlab.evaluation.bootstrap import Comparison, compare_statistics
from seqlab.reports.run_contents import RunContents
from seqlab.runs.config import Config
from seqlab.runs.flat_config import differing_fields

MAX_DIFFERENT_ROWS = 20
"""Number of examples to show on which two runs differ."""
UNCOMPARED_FIELDS = ("training.max_minutes", "training.device", "training.threads", "training.logger")
"""Fields of the config that change neither the model nor its training, beside paths."""


@dataclass(frozen=True)
class RunComparison:
    """Comparison of a run with a baseline."""

    baseline: str
    run: str
    scores: dict[str, Comparison]
    """Paired bootstrap of each metric, over the same examples; empty if the task makes no predictions."""
    validations: list[tuple[str, float | None, float | None]]
    """Name, value of the baseline and value of the run, for each number of their best validations."""
    config: list[tuple[str, Any, Any]]
    """Key, value of the baseline and value of the run, for each difference of the configs."""
    notes: list[str]
    """What must be known to read the differences."""
    rows: list[dict[str, Any]]
    """Examples that one run predicts correctly and the other does not."""

    def as_dict(self) -> dict[str, Any]:
        """Render for JSON, with values unrounded."""
        return asdict(self) | {"scores": {name: score.as_dict() for name, score in self.scores.items()}}

    def lines(self) -> list[str]:
        """Render as text: scores, best validations, config."""
        return [f"baseline: {self.baseline}", f"system:   {self.run}", *self._lines()]

    def _lines(self) -> Iterator[str]:
        yield from (f"note: {note}" for note in self.notes)
        for score in self.scores.values():
            yield ""
            yield from score.as_lines()
        yield from ("", "best validation:")
        rows = [(name, *("-" if x is None else short_text(x) for x in values)) for name, *values in self.validations]
        yield from _table([("", "baseline", "system"), *rows])
        yield from ("", "config:")
        rows = [(key, *(json_text(value, ensure_ascii=False) for value in values)) for key, *values in self.config]
        yield from (
            _table([("", "baseline", "system"), *rows])
            if rows
            else ["  no difference but for paths, devices and threads"]
        )


def _table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [f"  {name:<{widths[0]}}  {a:>{widths[1]}}  {b:>{widths[2]}}" for name, a, b in rows]


def reason_not_to_compare(baseline: RunContents, run: RunContents) -> str | None:
    """Return why the scores of two runs cannot be compared; None if they can.

    Scores are comparable on the same examples with the same references, whatever the runs were trained on. Without
    predictions, the hashes of the data in run.json must be equal.
    """
    kinds = [side.config.data.kind for side in (baseline, run)]
    if kinds[0] != kinds[1]:
        return f"its data are of another kind: `data.kind` is {kinds[1]}, not {kinds[0]}"
    if baseline.predictions is None or run.predictions is None:
        failures = [f"{side.name}: {side.failed_predictions}" for side in (baseline, run) if side.failed_predictions]
        return f"there are no predictions of {'; '.join(failures)}" if failures else _reason_of_data(baseline, run)
    references = [side.predictions.targets for side in (baseline, run) if side.predictions]
    if len(references[0]) != len(references[1]):
        return f"its validation set has {len(references[1]):,} examples, not {len(references[0]):,}"
    pairs = enumerate(zip(*references, strict=True), start=1)
    different = [row for row, (one, other) in pairs if one != other]
    if different:
        return f"its validation set has other references: {len(different):,} differ, the first in row {different[0]}"
    return None


def _reason_of_data(baseline: RunContents, run: RunContents) -> str | None:
    """Return why the data of two runs without predictions differ, by their hashes and identifying fields."""
    if sorted(baseline.description["data_sha256"]) != sorted(run.description["data_sha256"]):
        return "it was trained and validated on other data: the hashes of the data in run.json differ"
    for name in type(baseline.config.data).identifying_fields:
        values = [getattr(side.config.data, name) for side in (baseline, run)]
        if values[0] != values[1]:
            return f"its data are others: `data.{name}` is {values[1]}, not {values[0]}"
    return None


def compare_runs(baseline: RunContents, run: RunContents) -> RunComparison:
    """Compare a run with a baseline.

    Raises:
        ValueError: they cannot be compared; the message says why.
    """
    if reason := reason_not_to_compare(baseline, run):
        raise ValueError(f"{run.path} cannot be compared with {baseline.path}: {reason}.")
    scores: dict[str, Comparison] = {}
    if baseline.predictions and run.predictions:
        baseline_statistics = baseline.predictions.statistics
        scores = {
            name: compare_statistics(statistics, baseline_statistics[name])
            for name, statistics in run.predictions.statistics.items()
            if name in baseline_statistics
        }
    best = [side.summary.best.scores if side.summary.best else {} for side in (baseline, run)]
    names = dict.fromkeys([*best[0], *best[1]])
    return RunComparison(
        baseline.name,
        run.name,
        scores,
        [(name, best[0].get(name), best[1].get(name)) for name in names],
        config_differences(baseline.config, run.config),
        list(_notes(baseline, run)),
        different_rows(baseline, run),
    )


def _notes(baseline: RunContents, run: RunContents) -> Iterator[str]:
    first, second = baseline.description, run.description
    if sorted(first["data_sha256"]) != sorted(second["data_sha256"]):
        yield (
            "the runs were trained on other data (the hashes in run.json differ), but validated on the same "
            "examples: a difference may come from the data"
        )
    if first.get("tokenizer_sha256") != second.get("tokenizer_sha256"):
        yield "the tokenizers differ: losses per token cannot be compared, scores of the outputs can"
    if first.get("seed") == second.get("seed"):
        return
    yield f"the seeds differ ({first.get('seed')} and {second.get('seed')})"


def config_differences(baseline: Config, run: Config) -> list[tuple[str, Any, Any]]:
    """List the fields that differ, by dotted key: value of the baseline, value of the run; None for a missing field.

    Paths and fields without influence on the model are left out.
    """
    ignored = {*UNCOMPARED_FIELDS, *(f"data.{name}" for side in (baseline, run) for name in side.data.path_fields)}
    return [(key, *pair) for key, pair in differing_fields(baseline, run).items() if key not in ignored]


def different_rows(baseline: RunContents, run: RunContents) -> list[dict[str, Any]]:
    """List the first examples that exactly one of two runs predicts correctly, for JSON."""
    if not baseline.predictions or not run.predictions:
        return []
    rows = []
    triples = zip(run.predictions.targets, baseline.predictions.predicted, run.predictions.predicted, strict=True)
    for row, (target, one, other) in enumerate(triples):
        if (one == target) != (other == target):
            source = run.predictions.input_of(row)
            rows.append({"row": row + 1, "input": source, "target": target, "baseline": one, "run": other})
    return rows[:MAX_DIFFERENT_ROWS]
