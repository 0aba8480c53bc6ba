"""Where a system errs: its scores by group (the lines of each speaker), and the lines with the most errors, aligned."""

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .edits import ERROR_RATES, Edits, ErrorRate, align
from .metrics import check_metric_names, line_statistics
from .score import LineStatistics, Score, check_line_counts, without_empty_references

COUNTS = {"length": "N", "substitutions": "S", "deletions": "D", "insertions": "I"}
"""Columns of a table of error rates: the counts of a score, and how they are abbreviated."""
NO_GROUP = "(none)"
"""How a table names the group of lines whose group is empty."""
LINE_WIDTH = 100
"""Columns of a terminal that an alignment takes before it goes on below."""


@dataclass(frozen=True)
class GroupScore:
    """The score of some lines."""

    group: str
    num_lines: int
    score: Score

    def as_dict(self) -> dict[str, Any]:
        """Render for JSON, with the value unrounded."""
        return {"group": self.group, "lines": self.num_lines, "value": self.score.value, **self.score.extra}


@dataclass(frozen=True)
class ErrorTable:
    """The score of each group of lines, and of all."""

    groups: tuple[GroupScore, ...]
    """Ordered by name."""
    total: GroupScore

    def lines(self) -> list[str]:
        """Render as a table: group, lines, the score, and of error rates N, S, D and I; the last row is the total."""
        score = self.total.score
        counts = {key: title for key, title in COUNTS.items() if key in score.extra}
        rows = [["group", "lines", score.name, *counts.values()]]
        for each in (*self.groups, self.total):
            value = f"{each.score.value:.{score.decimals}f}"
            rows.append(
                [each.group or NO_GROUP, str(each.num_lines), value, *(str(each.score.extra[k]) for k in counts)]
            )
        widths = [max(map(_width, column)) for column in zip(*rows, strict=True)]
        return ["  ".join([_padded(name, widths[0]), *map(str.rjust, numbers, widths[1:])]) for name, *numbers in rows]

    def as_dict(self) -> dict[str, Any]:
        """Render for JSON, with values unrounded."""
        total = self.total.as_dict()
        del total["group"]
        return {"groups": [each.as_dict() for each in self.groups], "total": total}


def error_table(
    hypotheses: Sequence[str], references: Sequence[Sequence[str]], groups: Sequence[str], metric: str = "wer"
) -> ErrorTable:
    """Score each group of lines on its own: `error_table(transcripts, [truth], speakers).lines()`.

    Args:
        hypotheses: the system's lines.
        references: one list of lines for each reference file; an empty line behind the first is no reference.
        groups: of each line the name of its group.
        metric: a name from `METRICS`.

    Raises:
        ValueError: unequal line counts (the message names both), no lines, or an unknown metric.
    """
    check_line_counts(hypotheses, references)
    [name] = check_metric_names(metric)
    return error_table_of(line_statistics(name, hypotheses, references), groups)


def error_table_of(counted: LineStatistics, groups: Sequence[str]) -> ErrorTable:
    """Score each group of lines from what a metric counted in each line; errors as of `error_table`."""
    if len(groups) != len(counted.rows):
        raise ValueError(f"Each line needs a group, but there are {len(counted.rows)} lines and {len(groups)} groups.")
    lines_of_groups: dict[str, list[int]] = {}
    for index, group in enumerate(groups):
        lines_of_groups.setdefault(group, []).append(index)
    scored = (
        GroupScore(group, len(lines), counted.score_of(np.array(lines)))
        for group, lines in sorted(lines_of_groups.items())
    )
    return ErrorTable(tuple(scored), GroupScore("total", len(groups), counted.score()))


@dataclass(frozen=True)
class AlignedLine:
    """A hypothesis beside its nearest reference."""

    index: int
    """Of the line, from 0."""
    rate: ErrorRate
    edits: Edits
    pairs: tuple[tuple[str | None, str | None], ...]
    """Tokens of the reference and the hypothesis that face each other; None where there is none."""

    def text(self, side: int) -> str:
        """Return the reference (0) or the hypothesis (1)."""
        return self.rate.separator.join(token for pair in self.pairs if (token := pair[side]) is not None)

    def lines(self, location: str | None = None) -> list[str]:
        """Render as a heading, and reference, hypothesis and marks one under the other.

        Args:
            location: of the line, for the heading; its number unless given.
        """
        counts = ", ".join(f"{title} {self.edits._asdict()[key]}" for key, title in COUNTS.items())
        heading = f"{location or f'line {self.index + 1}'}: {counts}"
        return [heading, *_rendered(self.pairs, self.rate.separator)]

    def as_dict(self) -> dict[str, Any]:
        """Render for JSON: lines count from 1, and null is what a token faces that was deleted or inserted."""
        return {
            "line": self.index + 1,
            **self.edits._asdict(),
            "reference": self.text(0),
            "hypothesis": self.text(1),
            "alignment": [list(pair) for pair in self.pairs],
        }


def worst_lines(
    hypotheses: Sequence[str],
    references: Sequence[Sequence[str]],
    count: int,
    metric: str = "wer",
    *,
    counted: LineStatistics | None = None,
) -> list[AlignedLine]:
    """Return the lines with the most errors, the worst first; of equally many the earlier, and none without errors.

    Args:
        hypotheses: as of `error_table`.
        references: as of `error_table`.
        count: how many lines at most.
        metric: `wer` or `cer`.
        counted: what the metric counted in each line, where that is known already.

    Raises:
        ValueError: unequal line counts (the message names both), no lines, another metric, or `count` below 1.
    """
    if count < 1:
        raise ValueError(f"`count` must be at least 1, but is {count} instead.")
    if metric not in ERROR_RATES:
        raise ValueError(f"`metric` must be one of {', '.join(ERROR_RATES)}, but is {metric!r} instead.")
    check_line_counts(hypotheses, references)
    rate, given = ERROR_RATES[metric], without_empty_references(references)
    rows = (counted or rate.statistics(hypotheses, given, "none")).rows
    assert isinstance(rows, np.ndarray)
    errors = rows[:, :3].sum(1)
    found = []
    for index in np.argsort(-errors, kind="stable")[:count].tolist():
        if errors[index]:
            edits, reference = rate.nearest(hypotheses[index], [lines[index] for lines in given])
            pairs = align(rate.split(reference), rate.split(hypotheses[index]))
            found.append(AlignedLine(index, rate, edits, tuple(pairs)))
    return found


def _rendered(pairs: Sequence[tuple[str | None, str | None]], separator: str) -> Iterator[str]:
    """Yield REF, HYP and marks of as many pairs as fit into a line, then of the next ones."""
    gap = "***" if separator else "*"
    rows: list[list[str]] = [[], [], []]
    used = 0
    for reference, hypothesis in pairs:
        mark = "I" if reference is None else "D" if hypothesis is None else "S" if reference != hypothesis else ""
        cells = (gap if reference is None else reference, gap if hypothesis is None else hypothesis, mark)
        width = max(map(_width, cells))
        if used and used + width > LINE_WIDTH:
            yield from _joined(rows, separator)
            rows, used = [[], [], []], 0
        for row, cell in zip(rows, cells, strict=True):
            row.append(_padded(cell, width))
        used += width + len(separator)
    yield from _joined(rows, separator)


def _joined(rows: Sequence[Sequence[str]], separator: str) -> Iterator[str]:
    for name, row in zip(("REF: ", "HYP: ", "     "), rows, strict=True):
        yield (name + separator.join(row)).rstrip()


def _padded(text: str, width: int) -> str:
    return text + " " * (width - _width(text))


def _width(text: str) -> int:
    """Return the columns of a terminal that a text takes: two for East Asian wide characters, none for marks."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.category(each) in ("Mn", "Me", "Cf") else 1 + (unicodedata.east_asian_width(each) in "WF")
        for each in text
    )
