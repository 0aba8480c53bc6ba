"""Plot of a learning-rate range test: the loss of each step over its learning rate."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from seqlab.reports.figures import save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def save_range_test(
    path: str | Path, rates: Sequence[float], losses: Sequence[float], smoothed: Sequence[float], lowest: float
) -> None:
    """Save the figure as PNG or SVG, by the extension of its path.

    Raises:
        ValueError: the path has another extension, or matplotlib is not installed.
    """

    def draw(axes: Axes) -> None:
        axes.plot(rates, losses, linewidth=0.6, alpha=0.5, label="loss of a step")
        axes.plot(rates, smoothed, label="smoothed")
        axes.axvline(lowest, linestyle=":", color="grey", label=f"lowest at {lowest:.1e}")
        axes.set(xscale="log", xlabel="learning rate", ylabel="loss")
        axes.set_ylim(min(smoothed) * 0.9, max(smoothed) * 1.1)
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")

    save_figure(path, (6.4, 4.0), draw)
