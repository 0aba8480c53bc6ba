"""Additional loggers: the same lines as metrics.jsonl, also after a kill; their failures do not stop training."""

import csv
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from reference.tiny_runs import assert_equal_runs, comparable_metrics, tiny_config, with_training

from seqlab import registry
from seqlab.registry import Entry
from seqlab.runs.folder import RunFolder
from seqlab.training import train
from seqlab.training.loggers import CsvLogger, Line, open_loggers


def rows_of(run_dir: Path, kind: str) -> list[dict[str, str]]:
    with (run_dir / "logs" / "csv" / f"{kind}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def lines_of(run_dir: Path, kind: str) -> list[dict[str, Any]]:
    return [line for line in RunFolder(run_dir).read_metrics() if line["kind"] == kind]


def assert_csv_equals_metrics(run_dir: Path) -> None:
    for kind in ("train", "valid"):
        lines = [
            {name: str(value) for name, value in line.items() if name != "kind"} for line in lines_of(run_dir, kind)
        ]
        assert rows_of(run_dir, kind) == lines
        assert lines


class Killed(BaseException):
    """Stands for SIGKILL."""


def test_csv_has_the_lines_of_metrics_also_after_a_kill(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_config(corpus, log_every=1, logger="csv")
    run_dir = tmp_path / "run"

    def kill_after_step_11(run: Any) -> None:
        if run.progress.step == 11:  # three log lines after the checkpoint of step 8
            raise Killed

    with monkeypatch.context() as patch:
        module = sys.modules["seqlab.training.loop"]
        log = module._log
        patch.setattr(module, "_log", lambda run, *rest: (log(run, *rest), kill_after_step_11(run)))
        with pytest.raises(Killed):
            train(config, run_dir)
    assert len(rows_of(run_dir, "train")) == 11
    train(config, run_dir)
    assert_csv_equals_metrics(run_dir)
    assert_equal_runs(run_dir, train(with_training(config, logger=[]), tmp_path / "without"))


def test_a_logger_added_on_resume_gets_all_earlier_lines(corpus: Path, tmp_path: Path) -> None:
    config = tiny_config(corpus, max_steps=12)
    run_dir = train(config, tmp_path / "run")
    train(with_training(config, max_steps=20, logger=["csv"]), run_dir)
    assert_csv_equals_metrics(run_dir)


def test_csv_adds_new_columns_to_earlier_rows(tmp_path: Path) -> None:
    logger = CsvLogger(tmp_path / "csv", [{"kind": "train", "step": 1, "loss": 2.0}])
    logger.log({"kind": "train", "step": 2, "loss": 1.5, "extra, quoted": 'a "b"'})
    logger.log({"kind": "event", "step": 2, "event": "resumed"})
    logger.log({"kind": "train", "step": 3})
    with (tmp_path / "csv" / "train.csv").open(encoding="utf-8", newline="") as file:
        assert list(csv.reader(file)) == [
            ["step", "loss", "extra, quoted"],
            ["1", "2.0", ""],
            ["2", "1.5", 'a "b"'],
            ["3", "", ""],
        ]


def test_tensorboard_has_the_values_of_metrics(corpus: Path, tmp_path: Path) -> None:
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    config = tiny_config(corpus, max_steps=12, logger="tensorboard")
    run_dir = train(config, tmp_path / "run")
    train(with_training(config, max_steps=20), run_dir)
    events = accumulators.EventAccumulator(str(run_dir / "logs" / "tensorboard"))
    events.Reload()
    for kind, name in (("train", "loss"), ("train", "lr"), ("valid", "nll_per_tgt_token")):
        found = [(event.step, event.value) for event in events.Scalars(f"{kind}/{name}")]
        expected = [(line["step"], line[name]) for line in lines_of(run_dir, kind)]
        assert [step for step, _ in found] == [step for step, _ in expected]
        assert [value for _, value in found] == pytest.approx([value for _, value in expected], rel=1e-6)


@pytest.fixture
def received_by_failing_logger(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Register a logger that fails once it has four entries; return the list of its entries."""
    received: list[Any] = []

    class FailingLogger:
        def __init__(self, folder: Path, history: Iterable[Line]) -> None:
            received.append((folder.name, len(list(history))))

        def log(self, line: Line) -> None:
            if len(received) == 5:
                raise RuntimeError("no connection")
            received.append(dict(line))

        def close(self) -> None:
            received.append("closed")

    monkeypatch.setitem(
        registry._parts["logger"], "fails", registry.Entry("logger", "fails", FailingLogger, "", "tests")
    )
    return received


def test_a_failing_logger_is_switched_off_with_a_warning(
    corpus: Path, tmp_path: Path, received_by_failing_logger: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    config = tiny_config(corpus, logger=["fails", "csv"])
    run_dir = train(config, tmp_path / "run")
    received = received_by_failing_logger
    assert received == [("fails", 0), *lines_of(run_dir, "train")[:2], lines_of(run_dir, "valid")[0], *received[4:]]
    assert len(received) == 5
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warnings == ["The logger `fails` failed and is switched off: RuntimeError: no connection"]
    assert_csv_equals_metrics(run_dir)
    assert len(comparable_metrics(run_dir)) > 5


def test_a_logger_that_cannot_start_is_named(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(folder: Path, history: Any) -> Any:
        raise OSError("no network")

    monkeypatch.setitem(registry._parts["logger"], "offline", Entry("logger", "offline", refuse, "", "test"))
    with pytest.raises(ValueError, match="The logger `offline` cannot start: OSError: no network"):
        train(tiny_config(corpus, logger=["offline"]), tmp_path / "run")


def test_a_logger_given_twice_writes_each_line_once(corpus: Path, tmp_path: Path) -> None:
    run_dir = train(tiny_config(corpus, logger=["csv", "csv"]), tmp_path / "run")
    assert_csv_equals_metrics(run_dir)


def test_unknown_loggers_are_refused_before_anything_is_written(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match="There is no logger 'tensorbord': choose one of csv, tensorboard; the nearest"
    ):
        train(tiny_config(corpus, logger=["tensorbord"]), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_error_for_a_missing_package_names_the_extra(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)
    with pytest.raises(ValueError, match=r"needs an extra: pip install 'seqlab\[tensorboard\]'"):
        train(tiny_config(corpus, logger=["tensorboard"]), tmp_path / "run")


def test_a_logger_without_its_methods_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Empty:
        def log(self, line: Line) -> None: ...

    with pytest.raises(ValueError, match=r"The logger 'Empty' cannot be registered: .*Empty lacks `close`\."):
        registry.register("logger")(Empty)
    monkeypatch.setitem(registry._parts["logger"], "made", Entry("logger", "made", lambda folder, lines: Empty(), ""))
    with pytest.raises(ValueError, match="The logger `made` cannot start: it must have the methods `log` and `close`"):
        open_loggers(["made"], tmp_path, [])


def test_a_search_without_its_methods_is_refused() -> None:
    with pytest.raises(ValueError, match=r"The search 'empty' cannot be registered: .* lacks `fits`, `__call__`\."):
        registry.register("search", "empty")(type("Empty", (), {}))
