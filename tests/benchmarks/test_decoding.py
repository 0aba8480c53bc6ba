"""Decoding benchmark: equal translations of all installed systems, ratios and BLEU checks."""

from dataclasses import replace
from pathlib import Path

import pytest
from reference.tiny_benchmark import TINY, call_worker

from benchmarks import decoding, machine
from benchmarks.__main__ import make_parser
from benchmarks.decoding import System, add_ratios, check_bleu
from benchmarks.report import Report, Row


@pytest.mark.learning
def test_all_systems_output_the_same_translations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "run_worker", call_worker)
    monkeypatch.setattr(machine, "run_worker", call_worker)
    monkeypatch.setattr(decoding, "QUICK_LINES", 8)
    names = ("seqlab", "transformers", "ctranslate2")
    installed = [System(name, f"decode_{name}", "fp32", (64, 2), "tokens or sentences") for name in names]
    installed.append(System("seqlab, other engine", "decode_seqlab", "fp32", (64,), "tokens", engine="ctranslate2"))
    monkeypatch.setattr(decoding, "systems", lambda *_: installed)
    options = [
        "decoding",
        "--quick",
        "--threads",
        "1",
        "--lines",
        "3",
        "--run_steps",
        "40",
        "--work_dir",
        str(tmp_path),
    ]
    monkeypatch.setattr(decoding, "QUICK_BEAM_SIZES", (1, 5))
    report = decoding.run(make_parser().parse_args(options), replace(TINY, repetitions=1))
    assert not report.failed_checks
    measured = [row for row in report.rows if row.tokens_per_second]
    for system in installed:
        assert len([row for row in measured if row.system == system.name]) == 4
    for search in ("greedy", "beam 5"):
        for is_single in (True, False):
            rows = [row for row in measured if (row.more["search"], row.more["batch"] == "1") == (search, is_single)]
            assert rows[0].system == "seqlab"
            # In batches, outputs without eos have different lengths: the limit depends on the batch.
            assert len({row.more["output_tokens"] for row in rows if is_single}) == is_single
            assert all(row.share_of_peak for row in rows)


def make_row(system: str, dtype: str, rate: float, bleu: float, batch: str = "best: 64 sentences") -> Row:
    more = {"search": "beam 5", "batch": batch, "bleu": bleu, "sentences": 1000}
    return Row(system, "decoding", dtype, "all threads on one batch", tokens_per_second=rate, more=more)


def test_ratios_compare_with_the_fastest_dtype_of_seqlab() -> None:
    rows = [
        make_row("seqlab", "fp32", 10.0, 30.0),
        make_row("seqlab", "bf16", 20.0, 30.0),
        make_row("other", "int8", 40.0, 30.0),
    ]
    add_ratios(rows)
    assert [each.ratio for each in rows] == [2.0, 1.0, 0.5]


def test_different_bleu_fails_the_check() -> None:
    rows = [
        make_row("seqlab", "fp32", 10.0, 30.0),
        make_row("seqlab", "fp32", 1.0, 27.0, batch="1"),  # other lines, not compared
        make_row("other", "fp32", 10.0, 30.05),
        make_row("wrong", "fp32", 10.0, 29.8),
        make_row("rounded", "int8", 10.0, 29.8),
        make_row("JoeyNMT", "fp32", 10.0, 29.5),  # has a different beam search
    ]
    report = Report("decoding", rows=rows)
    check_bleu(report)
    assert len(report.checks) == 2
    assert [check.partition(" ")[0] for check in report.failed_checks] == ["wrong"]
