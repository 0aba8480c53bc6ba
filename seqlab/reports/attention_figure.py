"""Attention heatmap: source tokens across, target tokens down, darker cells for larger weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from seqlab.reports.figures import save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INCHES_PER_TOKEN = 0.28
MARGIN_INCHES = 1.6
COLOR_BAR_INCHES = 1.2


def draw_attention(axes: Axes, src: Sequence[str], tgt: Sequence[str], weights: Sequence[Sequence[float]]) -> None:
    """Draw attention weights (T, S), from white at 0 to black at 1, with the tokens as labels.

    Raises:
        ValueError: the shape of `weights` is not (len(tgt), len(src)).
    """
    if len(weights) != len(tgt) or any(len(row) != len(src) for row in weights):
        shape = f"{len(weights)} x {', '.join(sorted({str(len(row)) for row in weights}))}"
        raise ValueError(f"`weights` must be {len(tgt)} x {len(src)}, like the tokens, but are {shape} instead.")
    image = axes.imshow(weights, cmap="Greys", vmin=0.0, vmax=1.0, aspect="equal")
    axes.figure.colorbar(image, ax=axes, label="attention weight", shrink=0.8)
    axes.set_xticks(range(len(src)), labels=src, rotation=90, parse_math=False)
    axes.set_yticks(range(len(tgt)), labels=tgt, parse_math=False)
    axes.xaxis.tick_top()
    axes.set(xlabel="source tokens", ylabel="output tokens")
    axes.xaxis.set_label_position("top")


def save_attention(
    path: str | Path, src: Sequence[str], tgt: Sequence[str], weights: Sequence[Sequence[float]], *, title: str = ""
) -> None:
    """Save the figure of `draw_attention`, with a title, as PNG or SVG by the extension of its path.

    Raises:
        ValueError: the path has another extension, matplotlib is not installed, or `draw_attention` raises it.
    """
    width, height = (MARGIN_INCHES + INCHES_PER_TOKEN * len(side) for side in (src, tgt))

    def draw(axes: Axes) -> None:
        draw_attention(axes, src, tgt, weights)
        axes.set_title(title or "attention", fontsize="medium")

    save_figure(path, (width + COLOR_BAR_INCHES, height), draw)
