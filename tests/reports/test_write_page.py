"""Writing pages: every kind of run, refused arguments, and watching a training."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from contracts.trained import Trained

from seqlab.base.atomic_io import folder_lock, is_locked
from seqlab.reports import write_page as module
from seqlab.reports.run_contents import open_runs
from seqlab.reports.write_page import watch_runs, write_page

ROWS_OF_TASKS = {
    "transformer": {"by_length", "scores", "worst"},
    "transformer_ctc, glancing": {"by_length", "scores", "worst"},
    "transformer_labeller, words": {"by_frequency", "by_label", "confusion"},
    "cnn_labeller": {"by_label", "confusion"},
    "linear_model": {"numbers", "scores", "worst"},
    "gaussian_classifier": {"by_label", "confusion"},
    "mlp, label sets, mean of the last": {"by_label"},
    "gru_recogniser": {"scores", "worst"},
    "lstm_recording_labeller": {"confusion", "by_label"},
}
"""Row of the contract table -> sections that its page must have."""


def contents_of(page: Path) -> dict[str, Any]:
    """Read the contents back from a page."""
    text = page.read_text("utf-8")
    found: dict[str, Any] = json.loads(text.partition('id="contents">')[2].partition("</script>")[0])
    return found


@pytest.mark.parametrize("name", ROWS_OF_TASKS)
def test_a_page_has_the_sections_of_its_task(trained_row: Callable[[str], Trained], name: str, tmp_path: Path) -> None:
    write_page(tmp_path / "page.html", [trained_row(name).run])
    [run] = contents_of(tmp_path / "page.html")["runs"]
    assert {section for section in ROWS_OF_TASKS[name] if not run["predictions"][section]} == set()
    assert run["curves"]
    assert run["samples"]
    assert run["config"]["text"]
    assert "diagnosis" in run["left_out"]


@pytest.mark.parametrize("name", ["transformer", "transformer_labeller, words", "linear_model", "gru_recogniser"])
def test_samples_equal_the_predictions(trained_row: Callable[[str], Trained], name: str) -> None:
    [run] = open_runs([trained_row(name).run])
    assert run.predictions is not None
    task, rows = run.config.data.task, [2, 0]
    for row, sample in zip(rows, task.sample_outputs(run.folder.path, "best", rows), strict=True):
        record = run.predictions.records[row]
        assert {key: sample[key] for key in record} == record


def test_translations_have_attention_over_their_source(trained_row: Callable[[str], Trained], tmp_path: Path) -> None:
    write_page(tmp_path / "page.html", [trained_row("transformer").run])
    [run] = contents_of(tmp_path / "page.html")["runs"]
    [piece] = run["predictions"]["worst"][0]["pieces"]
    assert [len(row) for row in piece["weights"]] == [len(piece["src"])] * len(piece["tgt"])
    assert all(sum(row) == pytest.approx(1, abs=1e-2) for row in piece["weights"])


def test_runs_without_predictions_say_so(trained_row: Callable[[str], Trained], tmp_path: Path) -> None:
    write_page(tmp_path / "page.html", [trained_row(name).run for name in ("rnn_lm", "table, Q-learning")])
    contents = contents_of(tmp_path / "page.html")
    assert [each["predictions"] for each in contents["runs"]] == [None, None]
    assert all("no predictions" in each["left_out"]["predictions"] for each in contents["runs"])
    assert contents["runs"][0]["samples"]
    assert "another kind" in contents["comparison"]["apart"][0]["reason"]


def test_a_diagnosis_in_the_run_folder_is_shown(trained_row: Callable[[str], Trained], tmp_path: Path) -> None:
    run = Path(shutil.copytree(trained_row("transformer").run, tmp_path / "run"))
    diagnosis = {"findings": [{"cause": "rate", "title": "The rate is too low"}], "left_out": []}
    (run / "diagnosis.json").write_text(json.dumps(diagnosis))
    write_page(tmp_path / "page.html", [run], with_predictions=False)
    assert contents_of(tmp_path / "page.html")["runs"][0]["diagnosis"] == diagnosis
    (run / "diagnosis.json").write_text("[]")
    with pytest.raises(ValueError, match=r"diagnosis\.json is not an output of `seqlab diagnose RUN --json`"):
        write_page(tmp_path / "page.html", [run], with_predictions=False)


def test_wrong_arguments_are_refused(trained_row: Callable[[str], Trained], tmp_path: Path) -> None:
    run = trained_row("transformer").run
    with pytest.raises(ValueError, match=r"must end in \.html"):
        write_page(tmp_path / "page.pdf", [run])
    with pytest.raises(ValueError, match="is named twice"):
        write_page(tmp_path / "page.html", [run, run])
    with pytest.raises(FileNotFoundError, match="There is no run folder"):
        write_page(tmp_path / "page.html", [tmp_path / "none"])
    assert not (tmp_path / "page.html").exists()


def test_watching_keeps_the_samples_of_deleted_checkpoints(
    trained_row: Callable[[str], Trained], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = trained_row("transformer")
    finished = trained.run
    steps = sorted(int(path.name.removeprefix("at_")) for path in trained.folder.glob("at_*"))
    run, page = trained.copy_at(steps[0], tmp_path / "run"), tmp_path / "page.html"
    pages: list[dict[str, Any]] = []

    def training() -> Iterator[float]:
        """Yield at each sleep, while the run goes on: the lock is released at the end."""
        with folder_lock(run, wait=False):
            yield 0
            shutil.rmtree(run / "checkpoints")
            shutil.copytree(finished / "checkpoints", run / "checkpoints")
            yield 0
        yield 0

    sleeps = training()
    next(sleeps)

    def sleep(seconds: float) -> None:
        pages.append(contents_of(page))
        next(sleeps)

    monkeypatch.setattr(module.time, "sleep", sleep)
    assert is_locked(run)
    watch_runs(page, [run], 3)
    assert not is_locked(run)
    last = contents_of(page)
    assert [each["reload_seconds"] for each in [*pages, last]] == [3, 3, None]
    assert [each["runs"][0]["predictions"] is None for each in [*pages, last]] == [True, True, False]
    seen = [{sample["step"] for sample in each["runs"][0]["samples"]} for each in [*pages, last]]
    assert seen[0] < seen[1] == seen[2]
