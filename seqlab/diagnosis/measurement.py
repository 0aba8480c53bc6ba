"""Measurements of a diagnosis: figures that help to understand a run without being a finding."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any


@dataclass(frozen=True)
class Measurement:
    """A figure about a run."""

    topic: str
    """What was measured, with the unit; figures of one topic can be compared with each other."""
    name: str
    value: float
    standard_error: float

    def __str__(self) -> str:
        return f"{self.value:.3g} ± {self.standard_error:.1g}"

    def to_json(self) -> dict[str, Any]:
        """Return the fields for JSON."""
        return asdict(self)


def measurement_lines(measurements: Sequence[Measurement]) -> list[str]:
    """Render measurements as a table for each topic."""
    lines = []
    for topic, group in groupby(measurements, key=lambda item: item.topic):
        figures = list(group)
        width = max(len(figure.name) for figure in figures)
        lines += ["", f"{topic}:", *(f"  {figure.name:{width}}  {figure}" for figure in figures)]
    return lines
