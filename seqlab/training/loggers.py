"""Loggers of training metrics: CSV files, TensorBoard, and loggers of plugins.

A logger receives the lines of metrics.jsonl as dictionaries: `kind` is `train`, `valid` or `event`, and `step` is the
number of updates. When a run starts or resumes, a logger first receives all earlier lines up to the last checkpoint, so
that it can write its files again.
"""

import csv
import logging
import shutil
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from seqlab.base.json_text import json_text
from seqlab.registry import describe_error, find_part

logger = logging.getLogger(__name__)

Line = Mapping[str, Any]
"""A line of metrics.jsonl."""


@runtime_checkable
class Logger(Protocol):
    """Protocol of loggers. Register as a `logger` a class or function that is called with `(folder, history)`.

    `folder` is the path of the logger's folder in the run folder; a resumed run may already have this folder. `history`
    is an iterable of the earlier lines.
    """

    def log(self, line: Line) -> None:
        """Write one line."""
        ...

    def close(self) -> None:
        """Flush and close; `log` is not called afterwards."""
        ...


class GuardedLogger:
    """Wrapper that switches a logger off, with a warning, at its first exception; training continues."""

    def __init__(self, name: str, inner: Logger) -> None:
        self._name = name
        self._inner: Logger | None = inner

    def log(self, line: Line) -> None:
        """Write one line, unless the logger has failed before."""
        self._call("log", line)

    def close(self) -> None:
        """Close the logger."""
        self._call("close")
        self._inner = None

    def _call(self, method: str, *arguments: Any) -> None:
        if self._inner is None:
            return
        try:
            getattr(self._inner, method)(*arguments)
        except Exception as error:  # a plugin can raise anything
            self._inner = None
            logger.warning(
                "The logger `%s` failed and is switched off: %s: %s", self._name, type(error).__name__, error
            )


def check_loggers(names: Iterable[str]) -> None:
    """Raise UnknownPart, with the nearest name, if a logger does not exist."""
    for name in names:
        find_part("logger", name)


def open_loggers(names: Iterable[str], folder: Path, history: Iterable[Line]) -> list[GuardedLogger]:
    """Create loggers, each with a subfolder of `folder` and the earlier lines of metrics.jsonl.

    Raises:
        ValueError: a logger does not exist or cannot start, for example without the package that it needs.
    """
    lines, loggers = list(history), []
    for name in dict.fromkeys(names):
        make_logger = find_part("logger", name)
        try:
            inner = make_logger(folder / name, lines)
            if not isinstance(inner, Logger):  # made by a function: `register` checks only classes
                raise ValueError(f"it must have the methods `log` and `close`, but is of type {type(inner).__name__}.")
            loggers.append(GuardedLogger(name, inner))
        except Exception as error:  # a plugin can raise anything
            reason = str(error) if isinstance(error, ValueError) else f"{describe_error(error)}."
            raise ValueError(f"The logger `{name}` cannot start: {reason}") from error
    return loggers


class CsvLogger:
    """Logger that writes `train.csv` and `valid.csv`, with one column for each metric."""

    def __init__(self, folder: Path, history: Iterable[Line]) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self._folder = folder
        self._columns: dict[str, list[str]] = {}
        for line in history:
            self.log(line)

    def log(self, line: Line) -> None:
        """Add a row to the table of the line's kind; ignore events."""
        kind = line["kind"]
        if kind == "event":
            return
        row = {name: value for name, value in line.items() if name != "kind"}
        path, columns = self._folder / f"{kind}.csv", self._columns.get(kind, [])
        new = [name for name in row if name not in columns]
        if new:
            self._columns[kind] = [*columns, *new]
            self._write(path, self._columns[kind], [*_read_rows(path), row])
        else:
            with path.open("a", encoding="utf-8", newline="") as file:
                csv.DictWriter(file, columns, lineterminator="\n").writerow(row)

    def close(self) -> None:
        """Do nothing: each row is written at once."""

    def _write(self, path: Path, columns: list[str], rows: Iterable[Line]) -> None:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


def _read_rows(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


class TensorboardLogger:
    """Logger that writes scalars for TensorBoard, such as `train/loss`; events become texts."""

    def __init__(self, folder: Path, history: Iterable[Line]) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ModuleNotFoundError as error:
            if error.name != "tensorboard":
                raise
            raise ValueError("it needs an extra: pip install 'seqlab[tensorboard]'.") from None

        shutil.rmtree(folder, ignore_errors=True)
        self._writer: Any = SummaryWriter(str(folder), flush_secs=10)
        lines = list(history)
        minutes = max((line["minutes"] for line in lines if "minutes" in line), default=0.0)
        started = time.time() - 60 * minutes  # as if the run had not been interrupted
        for line in lines:
            self._add(line, started + 60 * line.get("minutes", 0.0))

    def log(self, line: Line) -> None:
        """Add the numbers of a line."""
        self._add(line, time.time())

    def _add(self, line: Line, seconds: float) -> None:
        kind, step = line["kind"], line.get("step", 0)
        if kind == "event":
            self._writer.add_text("event", json_text(line), step, walltime=seconds)
            return
        for name, value in line.items():
            if isinstance(value, int | float) and name != "step":
                self._writer.add_scalar(f"{kind}/{name}", value, step, walltime=seconds)

    def close(self) -> None:
        """Flush and close the writer."""
        self._writer.close()
