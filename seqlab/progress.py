"""A bar on standard error for work whose units are counted: how many are done, and when the rest will be."""

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


def counting_bar() -> Progress:
    """Make a bar for tasks that are described by their units; it shows nothing where standard error is no terminal."""
    console = Console(stderr=True)
    return Progress(
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.description} in"),
        TimeElapsedColumn(),
        TextColumn("ends in"),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )
