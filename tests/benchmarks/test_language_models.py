"""Language-model benchmark with tiny models and workers in this process."""

from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from reference.tiny_benchmark import TINY, call_worker
from safetensors.torch import load_file

from benchmarks import language_models, lm_generation, lm_training, machine
from benchmarks.__main__ import main, make_parser
from benchmarks.language_models import add_ratios, add_shares
from benchmarks.lm_records import LmTrainingJob
from benchmarks.lm_shapes import QUICK_SHAPES
from benchmarks.records import Json, Unavailable
from benchmarks.report import Report, Row
from benchmarks.workers import prepare_lm
from benchmarks.workers.lm_loop import LmWorkload
from seqlab.runs import load_run

OTHER_SYSTEMS = {
    "transformer": {"plain_gpt", "transformers"},
    "lstm": {"torch.nn.LSTM"},
    "gru": {"torch.nn.GRU"},
}


def patch_workers(monkeypatch: pytest.MonkeyPatch, call=call_worker) -> None:  # type: ignore[no-untyped-def]
    for module in (language_models, lm_training, lm_generation, machine):
        monkeypatch.setattr(module, "run_worker", call)


def arguments(tmp_path: Path, *options: str) -> Namespace:
    common = ["language_models", "--quick", "--threads", "1", "--dtypes", "fp32", "--work_dir", str(tmp_path)]
    return make_parser().parse_args([*common, *options])


@pytest.mark.learning
@pytest.mark.parametrize("family", list(OTHER_SYSTEMS))
def test_all_systems_have_the_same_losses(family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    patch_workers(monkeypatch)
    options = ("--models", family, "--phases", "training", "--profile")
    report = language_models.run(arguments(tmp_path, *options), TINY)
    assert not report.failed_checks
    assert len(report.checks) == len(OTHER_SYSTEMS[family])
    assert all("10 losses" in check for check in report.checks)
    assert {row.system.partition(",")[0] for row in report.rows} == OTHER_SYSTEMS[family] | {"seqlab"}
    for row in report.rows:
        assert row.tokens_per_second is not None
        assert row.min is not None
        assert row.max is not None
        assert row.min <= row.tokens_per_second <= row.max
        assert row.share_of_peak is not None
        assert row.share_of_peak > 0
        assert row.ratio is not None
    profiles = report.more["profiles"]
    assert {each["system"] for each in profiles} == OTHER_SYSTEMS[family] | {"seqlab"}
    for each in profiles:
        assert (each["model"], each["dtype"]) == (family, "fp32")
        assert sum(each["shares"].values()) == pytest.approx(1.0)
    assert sum(f"time of training {family}" in note for note in report.notes) == len(profiles)
    assert f"| seqlab | fp32 | training {family}, dropout 0.2 |" in report.to_markdown()


@pytest.mark.learning
@pytest.mark.parametrize("family", list(OTHER_SYSTEMS))
def test_all_systems_generate_the_same_text(family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    patch_workers(monkeypatch)
    options = ("--models", family, "--phases", "generation", "--run_steps", "60")
    report = language_models.run(arguments(tmp_path, *options), replace(TINY, repetitions=1))
    assert not report.failed_checks
    greedy_checks = [check for check in report.checks if "the most probable" in check]
    sample_checks = [check for check in report.checks if "nats per character" in check]
    others = [each for each in lm_generation.SYSTEMS if family in each.families and each.name != "seqlab"]
    assert len(greedy_checks) == len([each for each in others if not each.environment])
    assert len(sample_checks) == len(others)
    assert {row.setting for row in report.rows} == {f"generating {family}, {rows}" for rows in ("1 row", "16 rows")}
    assert all(row.tokens_per_second and row.share_of_peak for row in report.rows)


@pytest.mark.learning
def test_prepared_targets_are_the_inputs_shifted_by_one_id(tmp_path: Path) -> None:
    for shape in QUICK_SHAPES:
        job = {"workload": str(tmp_path), "text": "number_words", "shape": vars(shape), "steps": 3, "run_steps": 0}
        found = call_worker("prepare_lm", {**job, "threads": 1}, 1)
        workload = LmWorkload.read(Path(found["workload"]), count=3)
        text = (tmp_path / "number_words" / "train.txt").read_text(encoding="utf-8")
        for block, tokens in zip(workload.blocks, found["tokens"], strict=True):
            assert int((block.tgt_out >= 0).sum()) == tokens
            for read, predicted in zip(block.tgt_in.tolist(), block.tgt_out.tolist(), strict=True):
                length = sum(index >= 0 for index in predicted)
                assert read[1:length] == predicted[: length - 1]
                written = "".join(workload.characters[index] for index in [*read[:length], predicted[length - 1]])
                assert written in "\n" + text
        is_recurrent = shape.family != "transformer"
        assert [block.continues for block in workload.blocks] == [False, is_recurrent, is_recurrent]
        if is_recurrent:
            first, second = workload.blocks[:2]
            assert torch.equal(first.tgt_out[:, -1], second.tgt_in[:, 0])
        start = load_run(Path(found["workload"]) / "start")
        saved = load_file(Path(found["workload"]) / "weights.safetensors")
        assert all(torch.equal(value, saved[name]) for name, value in start.model.named_parameters())
        assert workload.start_id == start.tgt_tokenizer.eos_id
        assert workload.characters[workload.start_id] == "\n"


def test_text_is_generated_without_tinyshakespeare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEQLAB_DATA", str(tmp_path / "nowhere"))
    assert prepare_lm._write_first_available(["tinyshakespeare", "number_words"], tmp_path) == "number_words"
    with pytest.raises(FileNotFoundError):
        prepare_lm._write_first_available(["tinyshakespeare"], tmp_path)


@pytest.mark.learning
def test_different_losses_and_samples_fail_the_checks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def call_with_changed_results(name: str, job: Json, threads: int, environment: Json | None = None) -> Json:
        found = call_worker(name, job, threads)
        if name == "train_plain_gpt":
            return {**found, "losses": [1.001 * loss for loss in found["losses"]]}
        if name == "generate_plain_gpt":
            return {**found, "texts": [text[::-1] for text in found["texts"]]}
        return found

    patch_workers(monkeypatch, call_with_changed_results)
    options = ("--models", "transformer", "--systems", "seqlab", "plain_gpt", "--run_steps", "60")
    report = language_models.run(arguments(tmp_path, *options), replace(TINY, repetitions=1))
    assert report.checks == []
    assert len([check for check in report.failed_checks if "10 losses" in check]) == 1
    assert len([check for check in report.failed_checks if "the most probable" in check]) == 2
    assert len([check for check in report.failed_checks if "nats per character" in check]) == 2


def test_texts_of_the_wrong_length_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    short = {"seconds": 1.0, "texts": ["abc", "ab"], "peak_memory_mb": 1.0}
    monkeypatch.setattr(lm_generation, "run_worker", lambda *_: short)
    case = lm_generation.Case(lm_generation.SYSTEMS[0], "transformer", "fp32", rows=2)
    base = lm_generation.LmGenerationJob("nowhere", "fp32", "", 1, 3, False, 1, 1, "cpu")
    with pytest.raises(RuntimeError, match=r"2 texts of 3 characters, not \[3, 2\]"):
        case.run(base)


def test_missing_systems_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    def without_transformers(name: str, *_: object) -> Json:
        if "gpt2" in name:
            raise Unavailable("not installed")
        return {"seconds": [1.0], "losses": [2.0], "peak_memory_mb": 1.0, "shares": {}}

    monkeypatch.setattr(lm_training, "run_worker", without_transformers)
    report = Report("language_models")
    base = LmTrainingJob("nowhere", "fp32", 0.0, False, 10, 1, "cpu")
    systems = lm_training.check_losses("transformer", base, report, None)
    assert [system.name.partition(",")[0] for system in systems] == ["seqlab"] + ["plain_gpt"] * 3
    assert [(row.system, row.note) for row in report.rows] == [("transformers", "not installed")]


def test_ratios_and_shares_compare_the_same_setting_and_dtype() -> None:
    def row(system: str, dtype: str, setting: str, rate: float | None) -> Row:
        return Row(system, "training", dtype, setting, tokens_per_second=rate, more={"mflop_per_token": 4.0})

    rows = [
        row("seqlab", "bf16", "training lstm", 100.0),
        row("seqlab", "fp32", "training lstm", 30.0),
        row("other", "bf16", "training lstm", 50.0),
        row("other", "bf16", "training gru", 50.0),
        row("absent", "", "training lstm", None),
    ]
    add_ratios(rows)
    add_shares(rows, {"peak_gflops": {"bf16": 2.0, "fp32": 1.0}})
    assert [each.ratio for each in rows] == [1.0, 1.0, 2.0, None, None]
    assert [each.share_of_peak for each in rows] == pytest.approx([0.2, 0.12, 0.1, 0.1, None])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--systems", "gpt"], "`--systems` must be among .*, but 'gpt' is not"),
        (["--profile", "--device", "cuda"], "`--profile` works on the CPU only"),
    ],
)
def test_invalid_options_are_refused(options: list[str], message: str) -> None:
    with pytest.raises(SystemExit, match=message):
        main(["language_models", "--quick", *options])
