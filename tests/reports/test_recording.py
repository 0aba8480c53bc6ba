"""Plots of transcripts: tokens and words at their times."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from system.conftest import run_in_process

from seqlab.reports.recording import draw_recording, save_recording

TOKENS = [{"text": "a", "start": 0.2, "end": 0.24, "confidence": 0.5}]
WORDS = [{"text": "a", "start": 0.2, "end": 0.3, "confidence": 0.5}]


def test_positions_of_tokens_and_words(axes: Any) -> None:
    draw_recording(axes, np.random.default_rng(1).normal(size=(98, 80)), 1.0, TOKENS, WORDS)
    peak, word = axes.get_lines()
    assert peak.get_xdata() == pytest.approx([0.22, 0.22])
    assert peak.get_ydata()[1] == pytest.approx(10)
    assert list(word.get_xdata()) == [0.2, 0.3]
    assert [text.get_text() for text in axes.texts] == ["a", "a"]
    assert axes.get_xlabel() == "seconds"


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_the_plot_command_writes_a_figure(suffix: str, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.random.default_rng(1).normal(size=8000) * 0.1, 8000)
    record = {"audio": str(tmp_path / "a.wav"), "text": "a", "tokens": TOKENS, "words": WORDS}
    (tmp_path / "t.jsonl").write_text(json.dumps(record) + "\n", encoding="utf-8")
    status, done = run_in_process("plot", tmp_path / "t.jsonl", "--out", tmp_path / f"a.{suffix}")
    assert status == 0, done.stderr.decode()
    assert (tmp_path / f"a.{suffix}").stat().st_size > 1000


def test_a_time_range_of_a_recording_is_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    soundfile.write(tmp_path / "a.wav", np.random.default_rng(1).normal(size=16000) * 0.1, 8000)
    drawn = []
    monkeypatch.setattr("seqlab.reports.recording.draw_recording", lambda axes, *arguments: drawn.append(arguments))
    save_recording(tmp_path / "a.svg", str(tmp_path / "a.wav"), TOKENS, WORDS, (0.5, 1.25))
    [(frames, seconds, *_)] = drawn
    assert seconds == pytest.approx(0.75)
    assert len(frames) == 73


def test_unusable_transcripts_are_refused(tmp_path: Path) -> None:
    record = {"audio": str(tmp_path / "b.wav"), "tokens": [], "words": []}
    failed = {"audio": "c.wav", "text": "", "fault": "c.wav: there is no such file"}
    lines = [json.dumps(record), "nothing", json.dumps(failed)]
    (tmp_path / "t.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    for line, message in (
        ("1", "b.wav: there is no such file"),
        ("2", "is not an output of"),
        ("3", "has no transcript: c.wav"),
        ("4", "has no line 4"),
    ):
        status, done = run_in_process("plot", tmp_path / "t.jsonl", "--line", line, "--out", tmp_path / "a.png")
        assert status == 2
        assert message in done.stderr.decode()
