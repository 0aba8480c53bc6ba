"""Figure of a loss surface: density of the eigenvalues, slices in one and two dimensions, path between two runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from seqlab.reports.figures import save_panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Result = Mapping[str, Any]
"""The object that `seqlab loss-surface --json` prints."""
NUM_BINS = 60


def save_loss_surface(path: str | Path, result: Result) -> None:
    """Save a panel for each part of the result as PNG or SVG, by the extension of the path.

    Raises:
        ValueError: the path has another extension, or matplotlib is not installed.
    """
    panels: dict[str, Callable[[Axes, Any], None]] = {
        "point": draw_density,
        "lines": draw_lines,
        "plane": draw_plane,
        "path": draw_path,
    }
    parts = [name for name in panels if name in result]

    def draw(axes: list[Axes]) -> None:
        for name, panel_axes in zip(parts, axes, strict=True):
            panels[name](panel_axes, result[name])

    save_panels(path, (6.4, 3.6 * len(parts)), len(parts), draw, share_x=False)


def draw_density(axes: Axes, point: Result) -> None:
    """Draw the shares of eigenvalues in bins, on a symmetric logarithmic axis."""
    spectrum = point["spectrum"]
    values, shares = (np.array(spectrum["density"][name]) for name in ("values", "shares"))
    tolerance = spectrum["tolerance"] or 1e-12
    scaled = np.arcsinh(values / tolerance)
    edges = np.linspace(min(scaled.min(), -1.0) - 0.5, max(scaled.max(), 1.0) + 0.5, NUM_BINS + 1)
    heights, _ = np.histogram(scaled, edges, weights=shares)
    corners = np.sinh(edges) * tolerance
    axes.stairs(heights, corners, fill=True, alpha=0.6)
    axes.axvline(0, color="grey", linewidth=0.8)
    axes.set_xscale("symlog", linthresh=tolerance, linscale=2)
    positive = heights[heights > 0]
    axes.set_yscale("log")
    axes.set_ylim(positive.min() / 2, 2.0)
    axes.set(
        xlabel="eigenvalue of the Hessian",
        ylabel="share of the eigenvalues",
        title=f"{point['kind']}: minimum ratio {spectrum['minimum_ratio']:.1%}",
    )
    axes.grid(alpha=0.3)


def draw_lines(axes: Axes, lines: list[Result]) -> None:
    """Draw the loss along each direction."""
    for line in lines:
        axes.plot(line["positions"], line["losses"], label=f"{line['name']} (length {line['length']:.2g})")
    axes.set(xlabel="position along the direction", ylabel="loss")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")


def draw_plane(axes: Axes, plane: Result) -> None:
    """Draw contours of the loss, in equal steps of its logarithm if it is positive."""
    losses, positions = np.array(plane["losses"]), plane["positions"]
    lowest, highest = losses.min(), losses.max()
    levels = np.geomspace(lowest, highest, 15) if 0 < lowest < highest else 15
    drawn = axes.contour(positions, positions, losses, levels=levels)
    axes.clabel(drawn, fontsize="x-small", fmt="%.3g")
    axes.plot(0, 0, marker="+", color="black")
    axes.set(xlabel=plane["names"][0], ylabel=plane["names"][1], aspect="equal")


def draw_path(axes: Axes, path: Result) -> None:
    """Draw the loss between two runs for each split."""
    for split in ("train", "valid"):
        if split in path:
            axes.plot(path[split]["positions"], path[split]["losses"], label=f"{split} rows")
    axes.set(xlabel=f"position on the line to {path['run']}", ylabel="loss")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
