"""Training benchmark with a tiny model and workers in this process, reports, and a worker process."""

from dataclasses import replace
from pathlib import Path

import pytest
from reference.tiny_benchmark import TINY, call_worker

from benchmarks import machine, training
from benchmarks.__main__ import make_parser
from benchmarks.processes import run_worker
from benchmarks.records import Json, Unavailable
from benchmarks.report import Report, Row
from benchmarks.scale import QUICK
from benchmarks.training import add_ratios
from benchmarks.workers import train_marian


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "run_worker", call_worker)
    monkeypatch.setattr(machine, "run_worker", call_worker)


@pytest.mark.learning
@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize("norm", ["pre", "post"])
def test_all_systems_do_the_same_work(norm: str, tmp_path: Path) -> None:
    options = ["training", "--quick", "--threads", "1", "--dtypes", "fp32", "--work_dir", str(tmp_path)]
    arguments = make_parser().parse_args(options)
    report = training.run(arguments, replace(TINY, model=replace(TINY.model, norm=norm)))
    assert not report.failed_checks
    assert any("torch.nn.Transformer: 10 losses" in check for check in report.checks)
    measured = {row.system: row for row in report.rows if row.tokens_per_second}
    marian = {"transformers"} if norm == "post" else set()  # Marian supports only post-norm
    assert {"seqlab", "torch.nn.Transformer"} | marian <= measured.keys()
    for row in measured.values():
        assert row.min is not None
        assert row.max is not None
        assert row.tokens_per_second is not None
        assert row.min <= row.tokens_per_second <= row.max
        assert row.share_of_peak is not None
        assert row.share_of_peak > 0
        assert row.tgt_padding == measured["seqlab"].tgt_padding
    assert marian or any(row.system == "transformers" and "after the residual sums" in row.note for row in report.rows)
    assert "| torch.nn.Transformer | fp32 | 100 padded tokens at most |" in report.to_markdown()


@pytest.mark.learning
def test_different_losses_fail_the_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def with_other_losses(name: str, job: Json, threads: int, environment: Json | None = None) -> Json:
        found = call_worker(name, job, threads)
        return {**found, "losses": [1.01 * loss for loss in found["losses"]]} if name == "train_torch" else found

    monkeypatch.setattr(training, "run_worker", with_other_losses)
    monkeypatch.setattr(machine, "run_worker", call_worker)
    options = ["training", "--quick", "--threads", "1", "--dtypes", "fp32", "--work_dir", str(tmp_path)]
    arguments = make_parser().parse_args([*options, "--systems", "seqlab", "torch.nn.Transformer"])
    report = training.run(arguments, replace(TINY, repetitions=1))
    assert ["torch.nn.Transformer" in check for check in report.failed_checks] == [True]


def test_ratios_compare_with_the_best_setting_of_seqlab() -> None:
    rows = [
        Row("seqlab", "training", "bf16", "small", tokens_per_second=100.0),
        Row("seqlab", "training", "bf16", "large", tokens_per_second=80.0),
        Row("other", "training", "bf16", "large", tokens_per_second=50.0),
        Row("other", "training", "fp32", "large", tokens_per_second=50.0),
        Row("absent", "training", "", "", note="not installed"),
    ]
    add_ratios(rows)
    assert [row.ratio for row in rows] == [1.0, 1.25, 2.0, None, None]


def test_reports_contain_one_table_with_the_used_columns() -> None:
    row = Row("seqlab", "training", "bf16", "small", tokens_per_second=1234.5, share_of_peak=0.125, more={"steps": 3})
    report = Report("training", {"processor": "x"}, [row], checks=["all is well"])
    assert report.to_markdown().splitlines()[4:6] == [
        "| system | dtype | setting | tokens/s | share of peak | steps |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    assert "| seqlab | bf16 | small | 1,234 | 12.5% | 3 |" in report.to_markdown()
    (found,) = report.to_json()["rows"]
    assert (found["tokens_per_second"], found["steps"], found["ratio"]) == (1234.5, 3, None)


@pytest.mark.learning
def test_workers_run_in_a_process_and_report_errors() -> None:
    found = run_worker("peak", {"threads": 1, "device": "cpu", "seconds": 0.001}, 1)
    assert found["peaks"]["fp32"]["F.linear"] > 0
    with pytest.raises(RuntimeError, match="KeyError: 'threads'"):
        run_worker("peak", {}, 1)


def test_marian_refuses_pre_norm() -> None:
    sizes = replace(QUICK.model, norm="pre")
    with pytest.raises(Unavailable, match="--norm post"):
        train_marian.build_marian(sizes, {}, {}, 0.0)
