"""Figure of a loss surface."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seqlab.reports.loss_surface_figure import draw_density, draw_lines, draw_path, draw_plane, save_loss_surface

POINT = {
    "kind": "saddle",
    "spectrum": {
        "tolerance": 0.01,
        "minimum_ratio": 0.75,
        "density": {"values": [-1.0, 0.0, 0.0, 100.0], "shares": [0.25, 0.25, 0.25, 0.25]},
    },
}
LINES = [{"name": "random 1", "length": 2.0, "positions": [-1, 0, 1], "losses": [3.0, 1.0, 2.0]}]
PLANE = {"names": ["x", "y"], "positions": [-1, 0, 1], "losses": [[3.0, 2.0, 3.0], [1.0, 0.5, 1.0], [4.0, 2.0, 4.0]]}
PATH = {"run": "other", "train": LINES[0], "valid": LINES[0]}


def test_shares_of_the_density_sum_to_one(axes: Any) -> None:
    """Zero eigenvalues are in one bin, the others each in their own."""
    draw_density(axes, POINT)
    [stairs] = axes.patches
    heights, edges, _ = stairs.get_data()
    assert sorted(heights[heights > 0]) == [0.25, 0.25, 0.5]
    for value in (-1.0, 0.0, 100.0):
        assert heights[np.searchsorted(edges, value) - 1] > 0
    assert "75.0%" in axes.get_title()


def test_lines_and_paths_have_their_losses(axes: Any) -> None:
    draw_lines(axes, LINES)
    np.testing.assert_array_equal(axes.lines[0].get_xydata(), [(-1, 3), (0, 1), (1, 2)])
    draw_path(axes, PATH)
    assert len(axes.lines) == 3


@pytest.mark.parametrize("losses", [PLANE["losses"], [[-1.0, 0.0, 1.0]] * 3, [[1.0] * 3] * 3])
@pytest.mark.filterwarnings("ignore:No contour levels were found")
def test_planes_with_any_sign_are_drawn(axes: Any, losses: list[list[float]]) -> None:
    draw_plane(axes, {**PLANE, "losses": losses})
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("x", "y")


def test_equal_results_give_equal_files(tmp_path: Path) -> None:
    result = {"point": POINT, "lines": LINES, "plane": PLANE, "path": PATH}
    for name in ("one.svg", "two.svg"):
        save_loss_surface(tmp_path / name, result)
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
    with pytest.raises(ValueError, match=r"must end in .png or .svg"):
        save_loss_surface(tmp_path / "figure.pdf", result)
