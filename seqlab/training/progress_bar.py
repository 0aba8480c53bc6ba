"""Progress bars on a terminal, log lines otherwise; both on standard error."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING

from seqlab.base.number_text import short_text
from seqlab.base.progress import are_bars_shown, make_progress_bar
from seqlab.data.survey import PreparationProgress
from seqlab.runs.config import TrainingConfig
from seqlab.training.state import Progress as RunProgress
from seqlab.training.training_metrics import UNITS_PER_SECOND, TrainingMetrics

if TYPE_CHECKING:  # importing rich draws random numbers, which importing seqlab must not
    from rich.progress import TaskID

logger = logging.getLogger(__name__)


@contextmanager
def corpus_bar(is_visible: bool) -> Iterator[PreparationProgress]:
    """Show progress bars for reading and encoding corpora; yield the callback that advances them."""
    if not is_visible:
        yield lambda units, done, total: None
        return
    with make_progress_bar() as bar:
        tasks: dict[str, TaskID] = {}

        def on_progress(units: str, done: int, total: int | None) -> None:
            if units not in tasks:
                tasks[units] = bar.add_task(units, total=None)
            bar.update(tasks[units], completed=done, total=total)

        yield on_progress


class ProgressBar:
    """Progress bar of training, with the remaining time and the latest metrics, in at most 80 columns."""

    def __init__(
        self, config: TrainingConfig, progress: RunProgress, is_visible: bool, logs: Sequence[str] = ()
    ) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn
        from rich.table import Column

        self._config, self._logs = config, logs
        self._first_step, self._first_minutes = progress.step, progress.minutes
        console = Console(stderr=True)
        self._on_terminal = console.is_terminal and is_visible and are_bars_shown()
        columns = (
            BarColumn(bar_width=None),
            TextColumn("{task.description}", table_column=Column(no_wrap=True)),
        )
        self._bar = Progress(*columns, console=console, disable=not self._on_terminal, expand=True)
        self._metrics = ""
        self._task = self._bar.add_task("", total=config.num_steps, completed=progress.step)
        self.advance(progress)

    def advance(self, progress: RunProgress) -> None:
        """Advance to the current step and update the remaining time."""
        if self._on_terminal:
            self._bar.update(self._task, completed=progress.step, description=self._description(progress))

    def _description(self, progress: RunProgress) -> str:
        parts = [f"{progress.step}/{self._config.num_steps}", f"ends in {self._remaining(progress)}", self._metrics]
        return "  ".join(filter(None, parts))

    def show_first_step(self, metrics: TrainingMetrics) -> None:
        """Log the loss and the duration of the first step, so that a slow or failing start is noticed early."""
        logger.info("first step: loss %.3f, %.2f s", metrics.per_unit()["loss"], metrics.seconds)

    def show_training(self, progress: RunProgress, values: dict[str, float]) -> None:
        """Show the training metrics since the last log line."""
        tokens = values.get("tgt_tokens_per_second")
        speed = f"{values[UNITS_PER_SECOND]:,.0f} units/s" if tokens is None else f"{tokens:,.0f} tokens/s"
        shown = [f"{name} {short_text(values[name])}  " for name in ("loss", *self._logs) if name in values]
        self._metrics = f"{''.join(shown)}{speed}"
        if not self._on_terminal:
            done = f"step {values['step']} (epoch {values['epoch']:.1f}, {values['minutes']:.1f} min)"
            logger.info("%s: %s  lr %.2e  ends in %s", done, self._metrics, values["lr"], self._remaining(progress))

    def show_validation(self, values: dict[str, float], is_best: bool) -> None:
        """Log the metrics of a validation."""
        text = "  ".join(f"{name} {short_text(value)}" for name, value in values.items()) + (
            "  (best)" if is_best else ""
        )
        logger.info("validation: %s", text)

    def _remaining(self, progress: RunProgress) -> str:
        if progress.step == self._first_step:
            return "?"
        minutes_per_step = (progress.minutes - self._first_minutes) / (progress.step - self._first_step)
        minutes = minutes_per_step * (self._config.num_steps - progress.step)
        if self._config.max_minutes is not None:
            minutes = min(minutes, self._config.max_minutes - progress.minutes)
        hours, full_minutes = divmod(round(max(0.0, minutes)), 60)
        return f"{hours}:{full_minutes:02d} h" if hours else f"{max(0.0, minutes):.1f} min"

    def __enter__(self) -> "ProgressBar":
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._bar.stop()
