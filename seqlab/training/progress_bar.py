"""A progress bar on a terminal, log lines elsewhere; both on standard error."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING

from seqlab.base.progress import make_progress_bar
from seqlab.data.survey import OnProgress
from seqlab.runs.config import TrainingConfig
from seqlab.training.state import Progress as RunProgress
from seqlab.training.training_metrics import UNITS_PER_SECOND

if TYPE_CHECKING:  # rich draws from Python's random numbers when it is imported, which importing seqlab must not
    from rich.progress import TaskID

logger = logging.getLogger(__name__)


@contextmanager
def corpus_bar(is_visible: bool) -> Iterator[OnProgress]:
    """Show on a terminal how far the corpora are read and encoded; gives the function that is told."""
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
    """Show how far training is, when it ends and the latest figures."""

    def __init__(self, config: TrainingConfig, progress: RunProgress, is_visible: bool) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        self._config = config
        self._first_step, self._first_minutes = progress.step, progress.minutes
        console = Console(stderr=True)
        self._on_terminal = console.is_terminal and is_visible
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("ends in {task.fields[remaining]}"),
            TextColumn("{task.fields[training]}"),
            TextColumn("[bold]{task.fields[validation]}"),
        )
        self._bar = Progress(*columns, console=console, disable=not self._on_terminal)
        self._task = self._bar.add_task(
            "steps", total=config.max_steps, completed=progress.step, remaining="?", training="", validation=""
        )

    def advance(self, progress: RunProgress) -> None:
        """Move to the current step and estimate the end anew."""
        if self._on_terminal:
            self._bar.update(self._task, completed=progress.step, remaining=self._remaining(progress))

    def show_training(self, figures: dict[str, float]) -> None:
        """Show figures of the last steps."""
        tokens = figures.get("tgt_tokens_per_second")
        speed = f"{figures[UNITS_PER_SECOND]:,.0f} units/s" if tokens is None else f"{tokens:,.0f} tokens/s"
        text = f"loss {figures['loss']:.3f}  lr {figures['lr']:.2e}  {speed}"
        self._bar.update(self._task, training=text)
        if not self._on_terminal:
            logger.info(
                "step %d (%.1f min, epoch %.1f): %s", figures["step"], figures["minutes"], figures["epoch"], text
            )

    def show_validation(self, figures: dict[str, float], is_best: bool) -> None:
        """Show the figures of a validation."""
        text = "  ".join(f"{name} {value:.3f}" for name, value in figures.items()) + ("  (best)" if is_best else "")
        self._bar.update(self._task, validation=text)
        logger.info("validation: %s", text)

    def _remaining(self, progress: RunProgress) -> str:
        minutes_per_step = (progress.minutes - self._first_minutes) / max(1, progress.step - self._first_step)
        minutes = minutes_per_step * (self._config.max_steps - progress.step)
        if self._config.max_minutes is not None:
            minutes = min(minutes, self._config.max_minutes - progress.minutes)
        hours, whole_minutes = divmod(round(max(0.0, minutes)), 60)
        return f"{hours}:{whole_minutes:02d} h" if hours else f"{minutes:.1f} min"

    def __enter__(self) -> "ProgressBar":
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._bar.stop()
