"""Plot of vanishing and exploding gradients over time lags, as measured by `seqlab.nn.gradient_flow`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from seqlab.reports.figures import save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_gradient_flow(axes: Axes, norms: Mapping[str, Sequence[float]]) -> None:
    """Plot norms over lags on a logarithmic axis, one line per layer.

    Exponential decay or growth is a straight line. A line has gaps where a norm is 0 (underflow) or not finite.

    Args:
        axes: matplotlib axes to draw on.
        norms: name of each layer -> norms at lags 0, 1, 2, ...

    Raises:
        ValueError: there are no layers, a layer has no norms, or a norm is negative.
    """
    if not norms:
        raise ValueError("`norms` must contain the norms of at least one layer, but is empty.")
    for name, line in norms.items():
        if not line:
            raise ValueError(f"`norms` must have a norm for each lag, but has none for `{name}`.")
        if any(norm < 0 for norm in line):
            raise ValueError(f"`norms` must not be negative, but `{name}` has {min(line)}.")
    for name, line in norms.items():
        axes.plot(range(len(line)), [norm if 0 < norm < math.inf else math.nan for norm in line], label=name)
    axes.set(yscale="log", xlabel="lag: positions back from the loss", ylabel="norm of the state's gradient")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")


def save_gradient_flow(path: str | Path, norms: Mapping[str, Sequence[float]]) -> None:
    """Save the figure of `draw_gradient_flow` as PNG or SVG, by the extension of its path.

    Raises:
        ValueError: the path has another extension, matplotlib is not installed, or `draw_gradient_flow` raises it.
    """
    save_figure(path, (6.4, 4.0), lambda axes: draw_gradient_flow(axes, norms))
