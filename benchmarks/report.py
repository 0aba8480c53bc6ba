"""Reports of measurements as Markdown and JSON."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks.records import Json


@dataclass
class Row:
    """Measurements of one system in one setting; None where nothing was measured."""

    system: str
    task: str
    dtype: str
    setting: str
    tokens_per_second: float | None = None
    """Target tokens without padding, with ends of sentence; median of the repetitions."""
    min: float | None = None
    max: float | None = None
    ratio: float | None = None
    """Rate of seqlab in its best setting of the same dtype and task, divided by this rate."""
    share_of_peak: float | None = None
    """Share of the peak rate of matrix products on this machine in this dtype."""
    peak_memory_mb: float | None = None
    src_padding: float | None = None
    tgt_padding: float | None = None
    note: str = ""
    more: Json = field(default_factory=dict)
    """Values of columns that only some benchmarks have."""


@dataclass
class Report:
    """Results of one call of `python -m benchmarks`."""

    task: str
    machine: Json = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    checks: list[str] = field(default_factory=list)
    """Passed checks that all systems do the same work."""
    failed_checks: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """Remarks on all rows."""
    more: Json = field(default_factory=dict)

    def to_json(self) -> Json:
        """Convert to plain types; `more` of each row is merged into the row."""
        rows = []
        for row in self.rows:
            values = asdict(row)
            rows.append({**values, **values.pop("more")})
        return {**asdict(self), "rows": rows}

    def to_markdown(self) -> str:
        """Format the machine, the table and the checks."""
        lines = [f"## {self.task}", "", *(f"- {name}: {_cell(value)}" for name, value in self.machine.items()), ""]
        lines += _table(self.rows)
        lines += ["", *(f"- {note}" for note in self.notes)]
        lines += [*(f"- checked: {check}" for check in self.checks)]
        lines += [f"- **FAILED CHECK**: {check}" for check in self.failed_checks]
        return "\n".join(lines).rstrip() + "\n"


def write_report(report: Report, json_file: Path | None) -> None:
    """Print the report as Markdown, and write it as JSON if a file is given."""
    print(report.to_markdown(), flush=True)
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps(report.to_json(), indent=1) + "\n", encoding="utf-8")


PERCENT = ("share_of_peak", "src_padding", "tgt_padding")
TITLES = {
    "tokens_per_second": "tokens/s",
    "share_of_peak": "share of peak",
    "peak_memory_mb": "peak MB",
    "src_padding": "src padding",
    "tgt_padding": "tgt padding",
}


def _table(rows: Sequence[Row]) -> list[str]:
    """Format a table of the columns for which any row has a value."""
    plain = [{**{k: v for k, v in asdict(row).items() if k not in ("more", "task")}, **row.more} for row in rows]
    names = list(dict.fromkeys(name for row in plain for name, value in row.items() if value not in (None, "")))
    if "note" in names:
        names.append(names.pop(names.index("note")))
    body = [[_cell(row.get(name), name) for name in names] for row in plain]
    header = [TITLES.get(name, name.replace("_", " ")) for name in names]
    return [f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(names), *body)]


def _cell(value: object, name: str = "") -> str:
    if value is None:
        return ""
    if isinstance(value, dict):
        return ", ".join(f"{key} {_cell(entry)}" for key, entry in value.items())
    if isinstance(value, float):
        if name in PERCENT:
            return f"{100 * value:.1f}%"
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}" if abs(value) < 1 else f"{value:.2f}"
    return str(value)
