"""Figures written to files. matplotlib is an extra: it is loaded when a figure is asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DPI = 100
"""Of a PNG."""


def save_figure(path: str | Path, inches: tuple[float, float], draw: Callable[[Axes], None]) -> None:
    """Write what `draw` draws, as PNG or SVG by the ending of its path.

    Raises:
        ValueError: the path has another ending, or matplotlib is not installed.
    """
    path = Path(path)
    if path.suffix not in (".png", ".svg"):
        raise ValueError(f"`path` must end in .png or .svg, but is {path} instead.")
    figure = _require_figure()(figsize=inches, layout="constrained")
    draw(figure.subplots())
    figure.savefig(path, dpi=DPI)


def _require_figure() -> Any:
    """Import matplotlib's class of figures; raises ValueError naming the extra where it is not installed."""
    try:
        from matplotlib import figure
    except ModuleNotFoundError as error:
        if error.name != "matplotlib":
            raise
        raise ValueError("matplotlib is missing, which needs an extra: pip install 'seqlab[reports]'.") from None
    return figure.Figure
