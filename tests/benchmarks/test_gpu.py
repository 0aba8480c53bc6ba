"""The GPU's benchmark, tried on a CPU with its workers called in this process, and what travels to such a machine."""

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


def test_all_parts_are_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Training and decoding have tests of their own; here they name what they are asked for."""

    folders = []

    def asked(arguments: argparse.Namespace, scale: Scale, known_machine: Json) -> Report:
        folders.append(arguments.work_dir)
        assert known_machine["device"] == "cpu", "the machine is measured once"
        rows = [Row(name, "", "bf16", scale.model.family, tokens_per_second=1.0) for name in arguments.systems]
        return Report("", rows=[*rows, Row("JoeyNMT", "", "", "")], checks=["the same"])

    monkeypatch.setattr(training, "run", asked)
    monkeypatch.setattr(decoding, "run", asked)
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
    assert report.checks == ["lstm: the same", "lstm_unfed: the same", "tiny Transformer: the same"]
    assert len(set(folders)) == len(folders) == 3, "models of one kind must not share what is prepared"
    assert report.rows[-1].tokens_per_second, "the language model is trained"


def test_a_part_that_fails_loses_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object) -> Report:
        raise RuntimeError("no memory")

    monkeypatch.setattr(training, "run", failing)
    monkeypatch.setattr(decoding, "run", failing)
    monkeypatch.setattr(gpu, "run_worker", call_worker)
    monkeypatch.setattr(machine, "run_worker", call_worker)
    options = ["gpu", "--quick", "--device", "cpu", "--threads", "1", "--work_dir", str(tmp_path)]
    report = gpu.run(make_parser().parse_args(options), TINY)
    failed = [f"{name}: no memory" for name in ("lstm", "lstm_unfed", "tiny Transformer")]
    assert report.failed_checks == failed
    assert [row.more["model"] for row in report.rows] == ["Transformer language model"]


def test_the_generated_corpus_is_parallel_and_the_same_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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


def test_what_travels_is_all_that_seqlab_needs_but_torch() -> None:
    found = offline.needed("seqlab", "3.12")
    assert "torch" not in found
    direct = {Requirement(text).name for text in requires("seqlab") or () if "extra ==" not in text}
    assert direct - {"torch"} <= found.keys()
    assert "pydantic-core" in found, "also what a requirement requires"
