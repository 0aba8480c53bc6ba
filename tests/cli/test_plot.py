"""Command `plot`: options that have no effect on a kind of figure are refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from seqlab.cli.plot import PlotOptions, run
from seqlab.commands import UsageError

TRANSCRIPT = {"audio": "a.wav", "tokens": [], "words": []}
ATTENTION = {"pieces": [{"src": ["a"], "tgt": ["b"], "weights": [[1.0]]}]}


@pytest.mark.parametrize(
    ("record", "options", "message"),
    [
        (None, {"what": ["curves", "RUN"], "line": 2}, "`--line` is for `seqlab plot attention | recording`, not for"),
        (None, {"what": ["curves", "RUN"], "piece": 2}, "`--piece` is for `seqlab plot attention`, not for `curves`"),
        (ATTENTION, {"x": "epoch"}, "`--x` is for `seqlab plot curves`, not for `attention`"),
        (TRANSCRIPT, {"x": "minutes"}, "`--x` is for `seqlab plot curves`, not for `recording`"),
        (TRANSCRIPT, {"piece": 3}, "`--piece` is for `seqlab plot attention`, not for `recording`"),
    ],
)
def test_options_of_other_kinds_are_refused(record: Any, options: dict[str, Any], message: str, tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text(json.dumps(record) + "\n", encoding="utf-8")
    with pytest.raises(UsageError, match=message.replace("|", r"\|")):
        run(PlotOptions(**{"what": [str(file)], "out": str(tmp_path / "a.png"), **options}))
    assert not (tmp_path / "a.png").exists()
