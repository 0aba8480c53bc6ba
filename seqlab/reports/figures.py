"""Figures written to files. matplotlib is an extra: it is loaded when a figure is asked for."""

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
"""Of a PNG."""
OTHER_FONTS = ("Noto Sans CJK", "Noto Sans", "Source Han Sans", "IPAGothic", "WenQuanYi", "Unifont", "Arial Unicode MS")
"""How the names of fonts begin that have characters which matplotlib's own lacks, the better ones first."""


def save_figure(path: str | Path, inches: tuple[float, float], draw: Callable[[Axes], None]) -> None:
    """Write what `draw` draws, as PNG or SVG by the ending of its path; the same figure gives the same bytes.

    Raises:
        ValueError: the path has another ending, or matplotlib is not installed.
    """
    path = Path(path)
    if path.suffix.lower() not in (".png", ".svg"):
        raise ValueError(f"A figure's file must end in .png or .svg, but is {path} instead.")
    figure = _require_figure()(figsize=inches, layout="constrained")
    with _fonts_for_all_scripts():
        draw(figure.subplots())
        figure.savefig(path, dpi=DPI, metadata={"Date": None} if path.suffix.lower() == ".svg" else None)


@contextmanager
def _fonts_for_all_scripts() -> Iterator[None]:
    """Draw with whatever fonts are installed, one behind the other, and say once which characters none of them has."""
    import matplotlib
    from matplotlib.font_manager import fontManager

    installed = fontManager.get_font_names()
    others = [name for start in OTHER_FONTS for name in sorted(installed) if name.startswith(start)]
    with (
        matplotlib.rc_context({"font.family": ["sans-serif", *others], "svg.hashsalt": "seqlab"}),
        warnings.catch_warnings(record=True) as found,
    ):
        warnings.simplefilter("always")
        yield
    missing = _missing_characters(str(each.message) for each in found)
    for each in found:
        if not _missing_characters([str(each.message)]):
            warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)
    if missing:
        logger.warning(
            "no font here has the characters %s: boxes stand for them; install one that has, such as Noto Sans CJK",
            "".join(missing),
        )


def _missing_characters(messages: Iterable[str]) -> list[str]:
    """Find the characters in matplotlib's warnings that a glyph is missing, each once."""
    codes = (re.match(r"Glyph (\d+) .* missing from", message) for message in messages)
    return list(dict.fromkeys(chr(int(code[1])) for code in codes if code))


def _require_figure() -> Any:
    """Import matplotlib's class of figures; raises ValueError naming the extra where it is not installed."""
    try:
        from matplotlib import figure
    except ModuleNotFoundError as error:
        if error.name != "matplotlib":
            raise
        raise ValueError("matplotlib is missing, which needs an extra: pip install 'seqlab[reports]'.") from None
    return figure.Figure
