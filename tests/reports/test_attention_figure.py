"""Attention heatmaps: cells, labels, files and missing fonts."""

import logging
from pathlib import Path
from typing import Any

import pytest

from seqlab.reports.attention_figure import draw_attention, save_attention

SRC, TGT = ["$5-$10", r"$\frac$", "</s>"], ["a", "house"]
WEIGHTS = [[0.9, 0.1, 0.0], [0.2, 0.7, 0.1]]


def test_rows_are_target_tokens_and_columns_source_tokens(axes: Any) -> None:
    draw_attention(axes, SRC, TGT, WEIGHTS)
    (image,) = axes.images
    assert image.get_array().tolist() == WEIGHTS
    assert [label.get_text() for label in axes.get_xticklabels()] == SRC
    assert [label.get_text() for label in axes.get_yticklabels()] == TGT


def test_figures_are_written_as_png_or_svg(tmp_path: Path) -> None:
    from matplotlib.image import imread

    save_attention(tmp_path / "a.png", SRC, TGT, WEIGHTS)
    assert imread(tmp_path / "a.png").std() > 0
    save_attention(tmp_path / "a.svg", SRC, TGT, WEIGHTS)
    with pytest.raises(ValueError, match=r"must end in \.png or \.svg"):
        save_attention(tmp_path / "a.gif", SRC, TGT, WEIGHTS)
    with pytest.raises(ValueError, match="`weights` must be 2 x 3, like the tokens, but are 2 x 2 instead"):
        save_attention(tmp_path / "b.png", SRC, TGT, [[1.0, 0.0], [0.0, 1.0]])


def test_characters_without_a_font_are_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder
) -> None:
    private_character = "\ue0f1"
    with caplog.at_level(logging.WARNING, logger="seqlab"):
        save_attention(tmp_path / "a.png", [f"{private_character}a", private_character, "b"], TGT, WEIGHTS)
    (message,) = [record.getMessage() for record in caplog.records]
    assert f"no installed font has the characters {private_character}, " in message
    assert not [warning for warning in recwarn if "Glyph" in str(warning.message)]
