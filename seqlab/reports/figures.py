"""Save matplotlib figures to files. matplotlib is optional and is imported at first use."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

logger = logging.getLogger(__name__)

DPI = 100
"""Dots per inch of a PNG."""
FALLBACK_FONTS = (
    "Noto Sans CJK",
    "Noto Sans",
    "Source Han Sans",
    "IPAGothic",
    "WenQuanYi",
    "Unifont",
    "Arial Unicode MS",
)
"""Prefixes of names of fonts for scripts that matplotlib's default font lacks, in order of preference."""


def save_figure(path: str | Path, inches: tuple[float, float], draw: Callable[[Axes], None]) -> None:
    """Save a figure that `draw` draws on one pair of axes; see `save_panels`."""
    save_panels(path, inches, 1, lambda panels: draw(panels[0]))


def save_panels(
    path: str | Path,
    inches: tuple[float, float],
    num_panels: int,
    draw: Callable[[list[Axes]], None],
    share_x: bool = True,
) -> None:
    """Save a figure of stacked panels as PNG or SVG, by the extension of its path.

    Equal figures give equal bytes. `share_x`: whether the panels have a common horizontal axis.

    Raises:
        ValueError: the path has another extension, or matplotlib is not installed.
    """
    path = Path(path)
    if path.suffix.lower() not in (".png", ".svg"):
        raise ValueError(f"The path of a figure must end in .png or .svg, but is {path} instead.")
    figure = _require_figure()(figsize=inches, layout="constrained")
    with _fonts_for_all_scripts():
        draw(list(figure.subplots(num_panels, sharex=share_x, squeeze=False)[:, 0]))
        figure.savefig(path, dpi=DPI, metadata={"Date": None} if path.suffix.lower() == ".svg" else None)


@contextmanager
def _fonts_for_all_scripts() -> Iterator[None]:
    """Use installed fonts as fallbacks, and log one warning that lists the characters without a glyph."""
    import matplotlib
    from matplotlib.font_manager import fontManager

    installed = fontManager.get_font_names()
    fallbacks = [name for start in FALLBACK_FONTS for name in sorted(installed) if name.startswith(start)]
    with (
        matplotlib.rc_context({"font.family": ["sans-serif", *fallbacks], "svg.hashsalt": "seqlab"}),
        warnings.catch_warnings(record=True) as caught,
    ):
        warnings.simplefilter("always")
        yield
    missing = _missing_characters(str(warning.message) for warning in caught)
    for warning in caught:
        if not _missing_characters([str(warning.message)]):
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    if missing:
        logger.warning(
            "no installed font has the characters %s, which are drawn as boxes: install a font such as Noto Sans CJK",
            "".join(missing),
        )


def _missing_characters(messages: Iterable[str]) -> list[str]:
    """List the distinct characters in matplotlib's warnings about missing glyphs."""
    codes = (re.match(r"Glyph (\d+) .* missing from", message) for message in messages)
    return list(dict.fromkeys(chr(int(code[1])) for code in codes if code))


def _require_figure() -> Any:
    """Import `matplotlib.figure.Figure`; raise ValueError with the name of the extra if it is not installed."""
    try:
        from matplotlib import figure
    except ModuleNotFoundError as error:
        if error.name != "matplotlib":
            raise
        raise ValueError("matplotlib is not installed: pip install 'seqlab[reports]'.") from None
    return figure.Figure
