"""Planted faults: each builds a config on each of its data sets, has its effect, and the judge counts first causes."""

import json
import random
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest
import torch
from reference.temporary_parts import temporary_parts

from benchmarks.diagnosis import data_sets, peers
from benchmarks.diagnosis.data_sets.data_set import Splits
from benchmarks.diagnosis.faults import FAULTS, PLUGIN, duplicate, keep_little, leak, shift_pairs, swap_sides
from benchmarks.diagnosis.judge import diagnose, judge, judge_all, report
from benchmarks.diagnosis.runs import PlannedRun, evidence_table, hurts, planned_runs, read_scores
from seqlab.data import TextBatch
from seqlab.data.batch import ValueBatch
from seqlab.models import (
    EncoderPredictorConfig,
    MlpEncoderConfig,
    TransformerLmConfig,
)
from seqlab.models.predictor import InputShape, TargetSize
from seqlab.nn.layers import Dropout
from seqlab.objectives import SoftmaxConfig, StepContext
from seqlab.registry import registration_rollback
from seqlab.runs.config import to_dict
from seqlab.testing.random_examples import token_pairs

TABLE = data_sets.DATA_SETS["table"]
CAUSES = {fault.cause: fault for fault in FAULTS}
ROWS = Splits([(f"in {i}", f"out {i}") for i in range(90)], [("valid", "out")], [("test", "out")])


@pytest.fixture(autouse=True, scope="module")
def _faulty_parts() -> Iterator[None]:
    """Register the parts with faults for the tests of this file only."""
    with temporary_parts():
        sys.modules.pop(PLUGIN, None)
        import_module(PLUGIN)
        yield


@pytest.fixture(scope="module", autouse=True)
def _loaded_once() -> Iterator[None]:
    """Read each corpus once."""
    pytest.importorskip("sklearn")
    with pytest.MonkeyPatch.context() as patch:
        for name, data_set in data_sets.DATA_SETS.items():
            patch.setitem(data_sets.DATA_SETS, name, replace(data_set, load=cache(data_set.load)))
        yield


def test_there_are_at_least_24_causes_with_definitions() -> None:
    assert len(CAUSES) == len(FAULTS) >= 24
    assert all(fault.definition.endswith(".") and fault.data_sets for fault in FAULTS)


@pytest.mark.parametrize("name", data_sets.DATA_SETS)
def test_each_fault_changes_the_config_or_the_data(name: str, tmp_path: Path) -> None:
    data_set = data_sets.DATA_SETS[name]
    data_set.write(data_set.load(1), tmp_path)
    content = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    for fault in FAULTS:
        if name not in fault.data_sets:
            continue
        healthy = data_set.healthy(tmp_path, fault.variant(name, 1), 1)
        config = fault.plant(data_set, tmp_path, 1)
        differs = {path.name: path.read_bytes() for path in tmp_path.iterdir()} != content
        assert differs == (fault.change_data is not None), fault.cause
        assert (to_dict(config) != to_dict(healthy)) == (fault.change_config is not None), fault.cause


def test_data_faults_do_what_their_definitions_say() -> None:
    rng = random.Random(1)
    shifted = shift_pairs(ROWS, rng, TABLE).train
    assert shifted[:30] == ROWS.train[:30]
    assert shifted[30:33] == [("in 30", "out 31"), ("in 31", "out 32"), ("in 32", "out 33")]
    assert sorted(target for _, target in shifted) == sorted(target for _, target in ROWS.train)
    assert swap_sides(ROWS, rng, TABLE).train[0] == ("out 0", "in 0")
    assert set(ROWS.valid) <= set(leak(ROWS, rng, TABLE).train)
    assert len(keep_little(ROWS, rng, TABLE).train) == 60
    copies = duplicate(ROWS, rng, TABLE).train
    assert (len(copies), len(set(copies))) == (80, 4)


def _faulty(family: str, fault: str, **fields: object) -> torch.nn.Module:
    from benchmarks.diagnosis.faulty_parts import faulty_part

    is_predictor = family == "mlp"
    base = EncoderPredictorConfig(encoder=MlpEncoderConfig(**fields)) if is_predictor else TransformerLmConfig(**fields)
    sides = (InputShape((1, 5)), TargetSize(3)) if is_predictor else (token_pairs().tgt, token_pairs().tgt)
    torch.manual_seed(1)
    model: torch.nn.Module = faulty_part(base, fault).build(*sides)
    assert not any(isinstance(module, Dropout) and module.p for module in model.modules())
    return model


def _batch(rows: int = 64) -> ValueBatch:
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(rows, 1, 5, generator=generator)
    return ValueBatch(inputs, torch.ones(rows, dtype=torch.int64), torch.arange(rows) % 3, torch.arange(rows), rows)


def test_code_faults_have_their_effects() -> None:
    """Detached layers have no gradient, dead units output 0, and a negated loss is negative."""
    from benchmarks.diagnosis.faulty_parts import NegatedLoss

    with registration_rollback():
        batch, context = _batch(), StepContext(0, None, None, 1, ())
        model = _faulty("mlp", "no_gradient", hidden_sizes=(8, 8))
        loss = SoftmaxConfig().build()(model, batch, context)
        loss.total.backward()
        assert {name.split(".")[0] for name, weight in model.named_parameters() if weight.grad is None} == {"encoder"}
        negated = NegatedLoss(SoftmaxConfig().build())(model, batch, context)
        assert (negated.total, negated.count) == (-loss.total, loss.count)
        dead = _faulty("mlp", "dead_units", hidden_sizes=(8,))
        hidden = dead.get_submodule("encoder.hidden")(batch.src.flatten(1))
        assert (hidden > 0).any(0).tolist() == [True] * 2 + [False] * 6


@pytest.mark.parametrize("fault", ["future_visible", "unshifted_targets"])
def test_a_language_model_reads_what_it_must_predict(fault: str) -> None:
    """Its outputs at the first position depend on a later input, or on the target."""
    model = _faulty("transformer_lm", fault, d_model=16, d_ff=16, num_heads=2, num_layers=2, dropout=0.0, max_length=8)
    ids = torch.arange(4, 10)[None]
    others = ids.clone()
    others[0, 3 if fault == "future_visible" else 1] = 20

    def first_hidden(row: torch.Tensor) -> torch.Tensor:
        hidden: torch.Tensor = model(TextBatch(row[:, :-1], row[:, 1:], torch.zeros(1), 5)).hidden[0, 0]
        return hidden

    assert not torch.allclose(first_hidden(ids), first_hidden(others))
    for handle in (model, *model.modules()):
        handle._forward_pre_hooks.clear()
    assert torch.allclose(first_hidden(ids), first_hidden(others))


FOUND = {
    "label_noise": ["label_noise", "overfitting"],
    "leakage": ["duplicates", "leakage"],
    "": ["lr_too_low"],
}


def _diagnosis(causes: list[str], level: str = "likely") -> dict[str, object]:
    return {"findings": [{"cause": cause, "level": level, "confidence": 0.9} for cause in causes], "minutes": 1.5}


def test_the_table_counts_first_causes() -> None:
    runs = [PlannedRun("table", cause, 0, seed) for cause in FOUND for seed in (1, 2)]
    judged = [judge(run, _diagnosis(FOUND[run.cause])) for run in runs]
    judged.append(judge(PlannedRun("images", "", 1, 1), _diagnosis(["lr_too_low"], "worth a look")))
    judged.append(judge(PlannedRun("images", "clipping", 1, 1), {"error": "status 2: no run"}))
    text = report(judged)
    assert "- right cause first: 2 of 5 (40%)" in text
    assert "  - images: 0 of 1 (0%)" in text
    assert "- right cause among the first three: 4 of 5" in text
    assert "- healthy runs with a finding above `worth a look`: 2 of 3" in text
    assert "- minutes at most: 1.5" in text
    assert "| label_noise | 2 | 2 | label_noise 2 |" in text
    assert "| leakage | 2 | 0 | duplicates 2 |" in text
    assert "| healthy | 3 | 1 | lr_too_low 2, nothing 1 |" in text
    assert "| images | clipping | 1 | status 2: no run |  | - |" in text


FAKE = """
import json, sys
assert sys.argv[2:] == ["--json", "--minutes", "3", "--plugin", {plugin!r}], sys.argv
if "broken" in sys.argv[1]:
    sys.exit("there is no run")
print(json.dumps({{"findings": [{{"cause": "clipping", "level": "likely", "confidence": 1}}], "minutes": 2}}))
"""


def test_the_judge_runs_the_command_once_per_run(tmp_path: Path) -> None:
    """A second call reads the stored diagnosis; runs that are not trained are left out."""
    script = tmp_path / "fake.py"
    script.write_text(FAKE.format(plugin=PLUGIN), "utf-8")
    command = (sys.executable, str(script))
    runs = [PlannedRun("table", cause, 0, 1) for cause in ("clipping", "leakage", "duplicates")]
    for run in runs[:2]:
        run.folder(tmp_path).mkdir(parents=True)
        (run.folder(tmp_path) / "scores.json").write_text("{}", "utf-8")
    judged = list(judge_all(tmp_path, runs, 3, command))
    assert [(each.cause, each.first, each.is_right) for each in judged] == [
        ("clipping", "clipping", True),
        ("leakage", "clipping", False),
    ]
    script.unlink()
    assert list(judge_all(tmp_path, runs, 3, command)) == judged
    script.write_text(FAKE.format(plugin=PLUGIN), "utf-8")
    assert diagnose(tmp_path / "broken", 3, command)["error"] == "status 1: there is no run"


def test_evidence_lists_the_scores_of_runs(tmp_path: Path) -> None:
    metrics = [{"kind": "train", "step": n, "loss": 2.0 - n / 10, "minutes": 0.1} for n in range(10)]
    metrics.append({"kind": "valid", "step": 9, "accuracy": 75.0, "loss": 1.2, "minutes": 0.2})
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in metrics), "utf-8")
    scores = read_scores(tmp_path, "accuracy")
    assert (scores["valid"], scores["first_loss"], scores["train_loss"], scores["minutes"]) == (75.0, 2.0, 1.1, 0.2)
    [run] = [run for run, _ in planned_runs(["table"], [1], ["clipping"])]
    run.folder(tmp_path).mkdir(parents=True)
    (run.folder(tmp_path) / "scores.json").write_text(json.dumps({**scores, "test": 70.0}), "utf-8")
    assert "| table | clipping | 0 | 1 | 75 | 70 | 2 | 1.1 | 1.2 |  |" in evidence_table(tmp_path, [run])


@pytest.mark.parametrize(
    ("valid", "test", "expected"),
    [(80, 81, False), (76, 80, True), (80, 76, True), (83, 82, False), (84, 76, True), (None, 80, True)],
)
def test_a_fault_hurts_if_a_score_is_worse_or_the_validation_too_good(
    valid: float | None, test: float, expected: bool
) -> None:
    healthy = {"valid": 80, "test": 80}
    assert hurts({"valid": valid, "test": test}, healthy, 2) == expected
    losses = {"valid": None if valid is None else -valid, "test": -test}
    assert hurts(losses, {"valid": -80, "test": -80}, -2) == expected


def test_peers_read_losses_under_names_they_know(tmp_path: Path) -> None:
    """The validation loss is a series of its own, though metrics.jsonl may call it `loss`, too."""
    train = {"kind": "train", "step": 1, "loss": 2.0, "lr": 0.1, "grad_norm": 1.0, "units_per_second": 9.0}
    lines = [train, {"kind": "valid", "step": 1, "loss": 1.5, "accuracy": 50.0}]
    lines.append({"kind": "valid", "step": 2, "nll_per_label": 1.25, "accuracy": 60.0})
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    peers.write_log(tmp_path, tmp_path / "log.jsonl")
    assert [json.loads(line) for line in (tmp_path / "log.jsonl").read_text("utf-8").splitlines()] == [
        {"step": 1, "train_loss": 2.0, "lr": 0.1, "grad_norm": 1.0, "samples_per_second": 9.0},
        {"step": 1, "val_loss": 1.5},
        {"step": 2, "val_loss": 1.25},
    ]


def test_findings_of_peers_stand_for_known_causes() -> None:
    named = {cause for table in peers.MEANINGS.values() for causes in table.values() for cause in causes}
    assert named <= CAUSES.keys()
    assert peers.meanings("torchmortem", "Dead units in hidden.0") == {"dead_units"}
    answers = [
        ("overfitting", [{"title": "Overfitting onset", "severity": "warning"}]),
        ("healthy", []),
        ("clipping", {}),
    ]
    assert peers._row("trainspotter", answers) == "| trainspotter | 1 of 2 | 1 of 2 | 0 of 1 | 1 |"
