"""Plot of gradient norms over lags: lines, labels and files."""

import math
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from seqlab.nn.gradient_flow import gradient_norms, jacobian_norms
from seqlab.nn.recurrent import Recurrent
from seqlab.reports.figures import DPI
from seqlab.reports.gradient_flow_figure import draw_gradient_flow, save_gradient_flow

DECAY_RATES = {"vanishes": 0.5, "explodes": 1.5}
NORMS = {name: [rate**lag for lag in range(40)] for name, rate in DECAY_RATES.items()}


def test_exponential_decay_is_a_straight_line(axes: Any) -> None:
    """Both lines start at the same point; their slopes are proportional to the logarithms of the rates."""
    draw_gradient_flow(axes, NORMS)
    points = {str(line.get_label()): axes.transData.transform(line.get_xydata()) for line in axes.lines}
    assert list(points) == [text.get_text() for text in axes.get_legend().get_texts()] == list(DECAY_RATES)
    for name, rate in DECAY_RATES.items():
        steps = np.diff(points[name], axis=0)
        np.testing.assert_allclose(steps, np.broadcast_to(steps[0], steps.shape), rtol=1e-6)
        np.testing.assert_allclose(points[name][0], points["vanishes"][0])
        rise, rise_of_first = steps[0][1], np.diff(points["vanishes"], axis=0)[0][1]
        assert rise / rise_of_first == pytest.approx(math.log(rate) / math.log(0.5))


def test_measured_norms_are_drawn_at_their_lags(axes: Any) -> None:
    torch.manual_seed(0)
    stack, x = Recurrent("gru", 3, 5), torch.randn(2, 12, 3)
    norms = {"any loss": jacobian_norms(stack, x[0], 10), "this loss": gradient_norms(stack, x, torch.ones(2, 5), 8)}
    draw_gradient_flow(axes, norms)
    for line, (name, expected) in zip(axes.lines, norms.items(), strict=True):
        assert line.get_label() == name
        np.testing.assert_array_equal(line.get_xydata(), list(enumerate(expected)))


def test_zero_and_non_finite_norms_leave_gaps(axes: Any) -> None:
    draw_gradient_flow(axes, {"lstm": [1.0, 0.0, 0.1, math.inf, math.nan, 10.0]})
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), [1.0, math.nan, 0.1, math.nan, math.nan, 10.0])
    lowest, highest = axes.get_ylim()
    assert 0.01 < lowest < 0.1 < 10 < highest < 100


def test_files_contain_the_figure(tmp_path: Path) -> None:
    from matplotlib.image import imread

    png, svg = tmp_path / "flow.png", tmp_path / "flow.svg"
    save_gradient_flow(png, NORMS)
    save_gradient_flow(str(svg), NORMS)
    assert imread(png).shape[:2] == (4 * DPI, 6.4 * DPI)
    root = ElementTree.parse(svg).getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    longest = sorted(len(path.get("d", "").split("L")) for path in root.iter("{http://www.w3.org/2000/svg}path"))[-2:]
    assert longest == [40, 40]  # one point per lag


@pytest.mark.parametrize(
    ("norms", "message"),
    [
        ({}, "`norms` must contain the norms of at least one layer, but is empty."),
        ({"gru": [1.0], "rnn": []}, "`norms` must have a norm for each lag, but has none for `rnn`."),
        ({"rnn": [1.0, -0.5]}, "`norms` must not be negative, but `rnn` has -0.5."),
    ],
)
def test_invalid_norms_are_refused(norms: dict[str, list[float]], message: str, tmp_path: Path, axes: Any) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        draw_gradient_flow(axes, norms)
    assert not axes.lines
    with pytest.raises(ValueError, match=f"^{message}$"):
        save_gradient_flow(tmp_path / "flow.png", norms)
    assert not list(tmp_path.iterdir())


def test_other_file_extensions_are_refused() -> None:
    with pytest.raises(ValueError, match=r"must end in .png or .svg, but is flow.jpeg instead"):
        save_gradient_flow("flow.jpeg", NORMS)


def test_matplotlib_is_imported_lazily_and_the_error_names_the_extra(tmp_path: Path) -> None:
    code = (
        "import sys; from seqlab.reports.gradient_flow_figure import save_gradient_flow\n"
        "assert 'matplotlib' not in sys.modules and 'torch' not in sys.modules\n"
        "sys.modules['matplotlib'] = None  # as if it were not installed\n"
        "try: save_gradient_flow('flow.png', {'rnn': [1.0]})\n"
        "except ValueError as error: print(error)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert run.stdout == "matplotlib is not installed: pip install 'seqlab[reports]'.\n"
    assert not list(tmp_path.iterdir())
