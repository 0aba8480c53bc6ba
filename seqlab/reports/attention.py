"""The figure of what a translation attended to: source symbols across, its own down, darker for more."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from seqlab.reports.figures import save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INCHES_PER_SYMBOL = 0.28
MARGIN_INCHES = 1.2


def draw_attention(axes: Axes, src: Sequence[str], tgt: Sequence[str], weights: Sequence[Sequence[float]]) -> None:
    """Draw weights (T, S), from white at 0 to black at 1, with the names of their symbols.

    Raises:
        ValueError: there is not one row for each of `tgt`, or not one weight for each of `src` in each.
    """
    if len(weights) != len(tgt) or any(len(row) != len(src) for row in weights):
        shape = f"{len(weights)} x {', '.join(sorted({str(len(row)) for row in weights}))}"
        raise ValueError(f"`weights` must be {len(tgt)} x {len(src)}, as the symbols are, but are {shape} instead.")
    axes.imshow(weights, cmap="Greys", vmin=0.0, vmax=1.0, aspect="equal")
    axes.set_xticks(range(len(src)), labels=src, rotation=90, parse_math=False)
    axes.set_yticks(range(len(tgt)), labels=tgt, parse_math=False)
    axes.xaxis.tick_top()
    axes.set(xlabel="source", ylabel="output")
    axes.xaxis.set_label_position("top")


def save_attention(
    path: str | Path, src: Sequence[str], tgt: Sequence[str], weights: Sequence[Sequence[float]]
) -> None:
    """Write the figure that `draw_attention` draws, as PNG or SVG by the ending of its path.

    Raises:
        ValueError: the path has another ending, matplotlib is not installed, or what `draw_attention` raises.
    """
    width, height = (MARGIN_INCHES + INCHES_PER_SYMBOL * len(side) for side in (src, tgt))
    save_figure(path, (width, height), lambda axes: draw_attention(axes, src, tgt, weights))
