"""The figure of how gradients vanish or explode over time lags: what `seqlab.nn.gradient_flow` measures, drawn."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from seqlab.reports.figures import save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_gradient_flow(axes: Axes, norms: Mapping[str, Sequence[float]]) -> None:
    """Draw norms against lags on a logarithmic axis, one line for each layer.

    What vanishes or explodes at a steady rate is a straight line there. A line has a gap where there is no logarithm to
    draw: at a norm of 0, all that is left of a gradient below the smallest number, and at one that is not finite.

    Args:
        axes: matplotlib's, to which the lines are added.
        norms: for each layer's name, the norms at lags 0, 1, 2, ...

    Raises:
        ValueError: there is no line, a line has no norms, or a norm is negative.
    """
    if not norms:
        raise ValueError("`norms` must hold the norms of at least one layer, but is empty.")
    for name, line in norms.items():
        if not line:
            raise ValueError(f"`norms` must have a norm for each lag from 0 on, but has none for `{name}`.")
        if any(norm < 0 for norm in line):
            raise ValueError(f"`norms` must not be negative, but `{name}` has {min(line)}.")
    for name, line in norms.items():
        axes.plot(range(len(line)), [norm if 0 < norm < math.inf else math.nan for norm in line], label=name)
    axes.set(yscale="log", xlabel="lag: positions back from the loss", ylabel="norm of the state's gradient")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")


def save_gradient_flow(path: str | Path, norms: Mapping[str, Sequence[float]]) -> None:
    """Write the figure that `draw_gradient_flow` draws, as PNG or SVG by the ending of its path.

    Raises:
        ValueError: the path has another ending, matplotlib is not installed, or what `draw_gradient_flow` raises.
    """
    save_figure(path, (6.4, 4.0), lambda axes: draw_gradient_flow(axes, norms))
