"""Speech benchmark: rows of all parts, with error rates."""

import json
from pathlib import Path

import pytest
from transcription.conftest import tiny_config, write_corpus

from benchmarks.__main__ import main
from seqlab.training import train


@pytest.mark.learning
def test_all_parts_of_a_recognizer_are_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    corpus = write_corpus(tmp_path, "train", 20, 1)
    run = train(tiny_config(corpus, max_steps=4, save_every=4, valid_every=4), tmp_path / "run")
    options = ["--quick", "--repetitions", "1", "--threads", "1", "--beam_size", "4"]
    assert main(["speech", str(run), corpus, *options, "--json", str(tmp_path / "found.json")]) == 0
    rows = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))["rows"]
    settings = [row["setting"] for row in rows if row["system"] == "seqlab"]
    assert settings == ["reading", "features", "features and encoder", "best path", "beam of 4"]
    assert all(row["times_real_time"] > 0 for row in rows)
    assert all(row["cer"] >= 0 for row in rows[3:])
    assert "times real time" in capsys.readouterr().out
