"""Rows of figures to Markdown and JSON."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks.records import Json


@dataclass
class Row:
    """One system at one setting; what was not measured is None."""

    system: str
    task: str
    dtype: str
    setting: str
    tokens_per_second: float | None = None
    """Median over the repetitions; target tokens, padding not counted, ends of sentence counted."""
    min: float | None = None
    max: float | None = None
    ratio: float | None = None
    """How many times as fast seqlab is, at its own best setting of the same dtype and task."""
    share_of_peak: float | None = None
    """Of the best rate of matrix products that was measured on this machine in this dtype."""
    peak_memory_mb: float | None = None
    src_padding: float | None = None
    tgt_padding: float | None = None
    note: str = ""
    more: Json = field(default_factory=dict)
    """Figures of one task only."""


@dataclass
class Report:
    """All that one call of `python -m benchmarks` found."""

    task: str
    machine: Json = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    checks: list[str] = field(default_factory=list)
    """What was verified to be the same for all systems, and how closely."""
    failed_checks: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What the rows together say."""
    more: Json = field(default_factory=dict)

    def to_json(self) -> Json:
        """Give plain types; each row's own figures stand beside the common ones."""
        rows = []
        for row in self.rows:
            values = asdict(row)
            rows.append({**values, **values.pop("more")})
        return {**asdict(self), "rows": rows}

    def to_markdown(self) -> str:
        """Write the machine, the table and the checks."""
        lines = [f"## {self.task}", "", *(f"- {name}: {_cell(value)}" for name, value in self.machine.items()), ""]
        lines += _table(self.rows)
        lines += ["", *(f"- {note}" for note in self.notes)]
        lines += [*(f"- checked: {check}" for check in self.checks)]
        lines += [f"- **FAILED CHECK**: {check}" for check in self.failed_checks]
        return "\n".join(lines).rstrip() + "\n"


def write_report(report: Report, json_file: Path | None) -> None:
    """Print the Markdown, and write the JSON where a file is named."""
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
    """Lay out the columns that any row has a value for."""
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
