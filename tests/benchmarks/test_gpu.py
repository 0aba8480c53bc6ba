"""GPU benchmark, run on the CPU with workers in this process, and requirements for a machine without network."""

import argparse
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from reference.tiny_benchmark import TINY, call_worker

from benchmarks import decoding, gpu, machine, offline, training
from benchmarks.__main__ import make_parser
from benchmarks.records import Json
from benchmarks.report import Report, Row
from benchmarks.scale import Scale
from benchmarks.workers import generated_corpus


@pytest.mark.learning
def test_all_models_are_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Training and decoding are replaced by a function that returns one row per requested system."""

    folders = []

    def report_requested_systems(arguments: argparse.Namespace, scale: Scale, known_machine: Json) -> Report:
        folders.append(arguments.work_dir)
        assert known_machine["device"] == "cpu", "the machine is measured once"
        rows = [Row(name, "", "bf16", scale.model.family, tokens_per_second=1.0) for name in arguments.systems]
        return Report("", rows=[*rows, Row("JoeyNMT", "", "", "")], checks=["same losses"])

    monkeypatch.setattr(training, "run", report_requested_systems)
    monkeypatch.setattr(decoding, "run", report_requested_systems)
    monkeypatch.setattr(gpu, "run_worker", call_worker)
    monkeypatch.setattr(machine, "run_worker", call_worker)
    options = ["gpu", "--quick", "--device", "cpu", "--threads", "1", "--work_dir", str(tmp_path)]
    report = gpu.run(make_parser().parse_args(options), TINY)
    assert [(row.more["model"], row.system, row.setting) for row in report.rows[:-1]] == [
        ("lstm", "seqlab", "lstm"),
        ("lstm", "torch.nn.LSTM", "lstm"),
        ("lstm_unfed", "seqlab", "lstm"),
        ("lstm_unfed", "torch.nn.LSTM", "lstm"),
        ("tiny Transformer", "seqlab", "transformer"),
        ("tiny Transformer", "transformers", "transformer"),
    ]
    assert report.checks == ["lstm: same losses", "lstm_unfed: same losses", "tiny Transformer: same losses"]
    assert len(set(folders)) == len(folders) == 3, "models of one family need separate work folders"
    assert report.rows[-1].tokens_per_second, "the language model is trained"


@pytest.mark.learning
def test_a_failure_keeps_the_other_measurements(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> Report:
        raise RuntimeError("no memory")

    monkeypatch.setattr(training, "run", fail)
    monkeypatch.setattr(decoding, "run", fail)
    monkeypatch.setattr(gpu, "run_worker", call_worker)
    monkeypatch.setattr(machine, "run_worker", call_worker)
    options = ["gpu", "--quick", "--device", "cpu", "--threads", "1", "--work_dir", str(tmp_path)]
    report = gpu.run(make_parser().parse_args(options), TINY)
    failed = [f"{name}: no memory" for name in ("lstm", "lstm_unfed", "tiny Transformer")]
    assert report.failed_checks == failed
    assert [row.more["model"] for row in report.rows] == ["Transformer language model"]


@pytest.mark.learning
def test_the_generated_corpus_is_parallel_and_deterministic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generated_corpus, "PAIRS", {"train": 500, "test": 20})
    for name in ("one", "two"):
        generated_corpus.write_corpus(tmp_path / name)
    for file in ("train.en", "train.de", "test.en", "test.de"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
    pairs: dict[str, str] = {}
    src, tgt = ((tmp_path / "one" / f"train.{side}").read_text().splitlines() for side in ("en", "de"))
    assert len(src) == len(tgt) == 500
    for line, other in zip(src, tgt, strict=True):
        for word, translation in zip(line.split(), other.split(), strict=True):
            assert pairs.setdefault(word, translation) == translation


def test_offline_requirements_are_complete_without_torch() -> None:
    found = offline.collect_requirements("seqlab", "3.12")
    assert "torch" not in found
    direct = {Requirement(text).name for text in requires("seqlab") or () if "extra ==" not in text}
    assert direct - {"torch"} <= found.keys()
    assert "pydantic-core" in found, "indirect requirements are included"
