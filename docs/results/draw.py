"""Draw the figures of docs/results from the numbers in `curves/`: `python docs/results/draw.py` (needs matplotlib).

Each `curves/NAME.json` becomes `figures/NAME.svg`. The JSON object has `title`, the axis labels `x` and `y`, and
`panels`: panel -> line -> `{"x": [...], "y": [...]}`. `log` lists the logarithmic axes. A line with `"marker": true` is
drawn as points; `names` has their labels. `contours` adds contour lines to a panel: a grid with the axes `x` and `y`
and the heights `z`.
"""

import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "seqlab", "font.size": 9})

from matplotlib import pyplot  # noqa: E402
from matplotlib.ticker import LogLocator, NullFormatter  # noqa: E402

HERE = Path(__file__).parent
MAX_COLUMNS = 3
NUM_COLORS = 10


def draw(curves: dict[str, Any], path: Path) -> None:
    """Draw the panels of a file of curves, with a single legend if one panel contains all lines."""
    panels: dict[str, dict[str, Any]] = curves["panels"]
    columns = min(len(panels), MAX_COLUMNS)
    rows = math.ceil(len(panels) / columns)
    size = (6.4, 3.6) if len(panels) == 1 else (9.3 if columns == 3 else 8.4, (2.5 if rows > 1 else 3.4) * rows)
    figure, grid = pyplot.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
    labels = list(dict.fromkeys(label for lines in panels.values() for label in lines))
    colors = {label: f"C{i % NUM_COLORS}" for i, label in enumerate(labels)}  # the same in all panels
    shared_legend = next((name for name, lines in panels.items() if len(lines) == len(labels)), None)
    for axes, (name, lines) in zip(grid.flat, panels.items(), strict=False):
        if name in curves.get("contours", {}):
            heights = curves["contours"][name]
            axes.contour(heights["x"], heights["y"], heights["z"], levels=12, colors="lightgray", linewidths=0.7)
            axes.set(xlim=(heights["x"][0], heights["x"][-1]), ylim=(heights["y"][0], heights["y"][-1]))
        for label, line in lines.items():
            style: dict[str, Any] = {"marker": "o", "linestyle": ""} if line.get("marker") else {"linewidth": 1.4}
            if labels.index(label) >= NUM_COLORS and not line.get("marker"):
                style["linestyle"] = "--"
            axes.plot(line["x"], line["y"], label=label, color=colors[label], **style)
            for text, *point in zip(line.get("names", []), line["x"], line["y"], strict=False):
                axes.annotate(text, point, xytext=(3, 3), textcoords="offset points", fontsize=6)
        axes.set(title=name, xlabel=curves["x"], ylabel=curves["y"])
        for axis in curves.get("log", []):
            getattr(axes, f"set_{axis}scale")("log")
            ticks = getattr(axes, f"{axis}axis")
            ticks.set_major_locator(LogLocator(subs=(1, 2, 5)))
            ticks.set_major_formatter("{x:g}")
            ticks.set_minor_formatter(NullFormatter())
        axes.grid(alpha=0.3)
        if shared_legend in (None, name):
            axes.legend(fontsize=7)
    for axes in grid.flat[len(panels) :]:
        axes.remove()
    figure.suptitle(curves["title"])
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def main(names: Sequence[str]) -> None:
    """Draw the named files of curves; without names, all files."""
    for file in sorted((HERE / "curves").glob("*.json")):
        if not names or file.stem in names:
            draw(json.loads(file.read_text(encoding="utf-8")), HERE / "figures" / f"{file.stem}.svg")


if __name__ == "__main__":
    main(sys.argv[1:])
