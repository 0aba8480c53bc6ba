"""Diagnosis: planted faults of models, objectives and data are found, and the run stays unchanged."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from contracts.trained import Trained
from diagnosis.planted import causes, labeled_rows, rows_of
from reference.temporary_parts import temporary_parts
from torch import Tensor, nn

from seqlab.cli.main import main
from seqlab.data.arrays import ArrayCodec
from seqlab.data.batch import collate_values
from seqlab.data.table_codec import TableCodec
from seqlab.data.tables import RawTable
from seqlab.diagnosis import data_checks, gradient_checks, invariance_checks
from seqlab.diagnosis.changes import with_lr
from seqlab.diagnosis.diagnosis import diagnose, rank
from seqlab.diagnosis.experiments import Difference, Experiments, Outcome
from seqlab.diagnosis.finding import CAUSES, Finding
from seqlab.diagnosis.rows import Rows, row_keys
from seqlab.diagnosis.simple_models import area_under_roc, cross_fit
from seqlab.diagnosis.workbench import Losses, Workbench, random_steps, sample_rows
from seqlab.objectives import Loss
from seqlab.objectives.prediction_losses import SoftmaxConfig, SquaredErrorConfig

with temporary_parts():  # the module registers parts, which other tests must not see
    from benchmarks.diagnosis import faulty_parts


def test_a_mask_that_shows_the_future_is_found(lab_of: Callable[[str], Experiments]) -> None:
    lab = lab_of("transformer")
    assert not causes(invariance_checks.check_later_tokens(lab))
    faulty_parts.see_future_targets(lab.trained.model)
    assert causes(invariance_checks.check_later_tokens(lab)) == {"future_visible"}


def test_targets_that_the_model_reads_are_found(lab_of: Callable[[str], Experiments]) -> None:
    lab = lab_of("transformer")
    assert not causes(invariance_checks.check_targets_as_inputs(lab))
    faulty_parts.read_targets(lab.trained.model)
    assert causes(invariance_checks.check_targets_as_inputs(lab)) == {"unshifted_targets"}


def test_an_objective_that_reads_the_inputs_as_targets_is_found(lab_of: Callable[[str], Experiments]) -> None:
    lab = lab_of("transformer")
    objective = lab.trained.objective
    lab.trained.objective = lambda model, batch, context: objective(
        model, replace(batch, tgt_out=batch.tgt_in), context
    )
    assert causes(invariance_checks.check_targets_as_inputs(lab)) == {"unshifted_targets"}
    assert not causes(invariance_checks.check_later_tokens(lab))


def test_padding_in_the_loss_is_found(lab_of: Callable[[str], Experiments]) -> None:
    lab = lab_of("transformer")
    assert not causes(invariance_checks.check_padding(lab))
    lab.trained.objective = faulty_parts.PaddedLoss(lab.trained.objective)
    assert causes(invariance_checks.check_padding(lab)) == {"padding_in_loss"}
    assert not causes(invariance_checks.check_later_tokens(lab))


def change_fresh_models(monkeypatch: pytest.MonkeyPatch, change: Callable[[nn.Module], None]) -> None:
    """Change each model that a workbench builds."""
    build = Workbench.learner

    def changed(self: Workbench, *arguments: Any, **options: Any) -> Any:
        learner = build(self, *arguments, **options)
        change(learner.model)
        return learner

    monkeypatch.setattr(Workbench, "learner", changed)


@pytest.mark.parametrize(
    ("cause", "change"),
    [
        ("no_gradient", lambda model: faulty_parts.detach_output("encoder", model)),
        ("exploding_gradient", lambda model: [each.mul_(1e3) for each in weights(model, "embedding")]),
    ],
)
def test_gradients_are_checked(
    lab_of: Callable[[str], Experiments],
    monkeypatch: pytest.MonkeyPatch,
    cause: str,
    change: Callable[[nn.Module], None],
) -> None:
    assert not causes(gradient_checks.check_gradients(lab_of("transformer")))
    change_fresh_models(monkeypatch, change)
    assert cause in causes(gradient_checks.check_gradients(lab_of("transformer")))


def weights(model: nn.Module, name: str) -> list[Tensor]:
    """Return the matrices of modules whose names contain a word."""
    return [each.detach() for key, each in model.named_parameters() if name in key and each.dim() > 1]


def test_a_first_loss_that_is_too_high_is_found(
    lab_of: Callable[[str], Experiments], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not causes(gradient_checks.check_first_loss(lab_of("transformer")))
    change_fresh_models(monkeypatch, lambda model: [each.mul_(50) for each in weights(model, "embedding")] and None)
    assert causes(gradient_checks.check_first_loss(lab_of("transformer"))) == {"bad_initialization"}


def test_an_objective_with_the_wrong_sign_is_found(
    lab_of: Callable[[str], Experiments], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not causes(gradient_checks.check_direction(lab_of("transformer")))
    lab = lab_of("transformer")
    lab.trained.measured = faulty_parts.NegatedLoss(lab.trained.measured)
    assert causes(gradient_checks.check_direction(lab)) == {"wrong_sign"}


def test_a_rate_that_is_far_too_high_is_not_a_wrong_sign(
    lab_of: Callable[[str], Experiments], monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = lab_of("transformer")
    lab.bench.config = with_lr(1e4)(lab.bench.config)
    assert not causes(gradient_checks.check_direction(lab))
    build = Workbench.learner

    def negated(self: Workbench, *arguments: Any, **options: Any) -> Any:
        learner = build(self, *arguments, **options)
        learner.accumulator.module.objective = faulty_parts.NegatedLoss(learner.objective)
        return learner

    monkeypatch.setattr(Workbench, "learner", negated)
    for factor in (1.0, 1e4):
        lab = lab_of("transformer")
        lab.bench.config = with_lr(factor)(lab.bench.config)
        for share, expected in ((1.5, {"wrong_sign"}), (0.5, set())):  # a run that has learned has the right sign
            losses = Losses(np.full(4, share * lab.uniform_loss), np.ones(4))
            lab.final = Outcome(losses, losses, losses, 1)
            assert causes(gradient_checks.check_direction(lab)) == expected


def test_the_first_loss_of_probabilities_of_classes_is_that_of_uniform_probabilities(
    lab_of: Callable[[str], Experiments],
) -> None:
    lab = lab_of("cnn, batch norm, mean of the last")
    targets = np.eye(5, dtype=np.float32)[np.arange(20) % 5]
    batch = collate_values(np.zeros((20, 1, 3), np.float32), targets, range(20))
    lab.rows = rows_of(np.zeros((20, 3)), targets, "numbers")
    lab.train_sample = [batch]
    lab.trained.measured = SoftmaxConfig().build()
    assert lab.uniform_loss == pytest.approx(np.log(5))
    lab = lab_of("cnn, batch norm, mean of the last")
    lab.rows, lab.train_sample = rows_of(np.zeros((20, 3)), targets, "numbers"), [batch]
    lab.trained.measured = SquaredErrorConfig().build()
    assert lab.uniform_loss == pytest.approx(0.2)


def test_losses_are_computed_on_the_device_of_the_model(lab_of: Callable[[str], Experiments]) -> None:
    lab = lab_of("transformer")
    lab.bench.device_context = replace(lab.bench.device_context, device=torch.device("meta"))
    devices: list[str] = []
    lab.trained.objective = lambda model, batch, context: (
        devices.append(batch.src.device.type) or Loss(torch.zeros(()), torch.ones(()))
    )
    lab.trained.training_loss(lab.bench.train_rows[0])
    list(invariance_checks.check_targets_as_inputs(lab))
    assert set(devices) == {"meta"}


def test_features_that_tell_rows_apart_have_names(tmp_path: Path) -> None:
    """Of tables the columns and categories, of images the pixels; each in the order of the encoded row."""
    images = np.random.default_rng(1).random((40, 5, 7, 3)).astype(np.float32)  # channels last
    codec = ArrayCodec.fit(np.moveaxis(images, 3, 1), np.arange(40), "x", "images", "last")
    numbers = np.arange(3 * 5 * 7).reshape(3, 5, 7)
    assert codec.feature_names()[numbers[2, 4, 6]] == "pixel in row 5, column 7, channel 3"
    assert codec.feature_names()[numbers[1, 0, 3]] == "pixel in row 1, column 4, channel 2"
    path = tmp_path / "rows.csv"
    path.write_text("age,city,size\n1,Oslo,4\n2,Bern,5\n3,Oslo,7\n")
    table = RawTable.read([str(path)], ["age", "city", "size"])
    codec = TableCodec.fit(table, ["age", "city", "size"], ["city"], np.arange(3), 0)
    encoded = codec.encode(table)
    names = codec.feature_names()
    assert len(names) == encoded.shape[1] == codec.width
    assert encoded[:, names.index("city = Bern")].tolist() == [0, 1, 0]
    assert [name for name, is_one in zip(names, codec.is_category(), strict=True) if is_one] == [
        name for name in names if name.startswith("city")
    ]


def test_repeated_rows_are_a_likely_cause_only_if_most_are(lab_of: Callable[[str], Experiments]) -> None:
    lab = lab_of("transformer")
    rows = labeled_rows(300)
    levels = {}
    for copies in (1, 2, 4):
        # the first 100 rows are repeated
        numbers = np.concatenate([np.arange(300), *([np.arange(100)] * (copies - 1) * 2)])
        lab.rows = rows.take(numbers)
        levels[copies] = [finding.level for finding in data_checks.check_repeated_rows(lab)]
    assert levels == {1: [], 2: ["worth a look"], 4: ["likely"]}


def test_a_text_that_is_repeated_in_other_blocks_is_found(lab_of: Callable[[str], Experiments]) -> None:
    """20 copies of a text of 997 tokens, in blocks of 64: no two blocks are equal."""
    lab, rng = lab_of("transformer_lm, lines"), np.random.default_rng(7)
    levels = {}
    for copies in (1, 20):
        text = np.tile(rng.integers(4, 30, 19_940 // copies), copies)
        rows = list(text[: len(text) // 64 * 64].reshape(-1, 64))
        lab.rows = Rows([np.zeros(0, np.int64)] * len(rows), rows, np.arange(len(rows)), "tokens")
        assert len(set(row_keys(lab.rows))) == len(rows)
        levels[copies] = [(each.cause, each.level) for each in data_checks.check_repeated_rows(lab)]
    assert levels == {1: [], 20: [("duplicates", "likely")]}


def test_a_cause_comes_before_its_consequences() -> None:
    """Few rows have few words: the words of validation rows seem to be written differently."""
    findings = [Finding(*fields) for fields in (("other_reading", "unknown words", 0.94), ("leakage", "copies", 0.96))]
    assert [each.cause for each in rank([*findings, Finding("too_little_data", "106 rows", 0.82)])] == [
        *("leakage", "too_little_data", "other_reading")
    ]
    assert "explains this" in rank([*findings, Finding("too_little_data", "106 rows", 0.82)])[2].evidence
    unsure = rank(
        [*findings, Finding("too_little_data", "9,000 rows", 0.6)]
    )  # more data would help, but there is a lot
    assert [each.cause for each in unsure] == ["leakage", "other_reading", "too_little_data"]


def test_a_cross_fit_does_not_know_the_labels_of_the_rows_it_scores() -> None:
    """With random labels its accuracy is that of guessing, although a model of all rows would fit them."""
    rng = np.random.default_rng(0)
    features, labels = rng.normal(size=(200, 150)).astype(np.float32), rng.integers(0, 2, 200)
    assert abs(cross_fit(features, labels, 2).accuracy(labels) - 0.5) < 0.12


def test_the_area_under_the_roc_curve_equals_the_share_of_pairs() -> None:
    rng = np.random.default_rng(2)
    scores, is_positive = rng.integers(0, 6, 60).astype(float), rng.random(60) < 0.4
    pairs = scores[is_positive][:, None] - scores[~is_positive][None]
    assert area_under_roc(scores, is_positive) == pytest.approx(float(((pairs > 0) + 0.5 * (pairs == 0)).mean()))


def test_the_standard_error_of_a_mean_loss_is_that_of_repeated_samples() -> None:
    rng = np.random.default_rng(3)
    counts = rng.integers(1, 9, (400, 50)).astype(float)
    totals = counts * 2 + rng.normal(size=counts.shape) * counts**0.5
    samples = [Losses(*pair) for pair in zip(totals, counts, strict=True)]
    assert np.mean([each.standard_error for each in samples]) == pytest.approx(
        np.std([each.mean for each in samples]), rel=0.15
    )


def test_a_difference_must_exceed_its_share_its_error_and_that_of_uniform_outputs() -> None:
    assert Difference(-0.2, 0.01, 1.0, 0.8, 2.0).is_below(0.1)
    assert not Difference(-0.2, 0.1, 1.0, 0.8, 2.0).is_below(0.1)
    assert not Difference(-0.05, 0.001, 1.0, 0.95, 2.0).is_below(0.1)
    assert not Difference(-0.03, 0.001, 0.1, 0.07, 2.0).is_below(0.1)


def test_samples_and_random_steps_contain_each_row_once_per_pass() -> None:
    rows = [
        collate_values(np.zeros((stop - start, 3), np.float32), np.zeros(stop - start, np.int64), range(start, stop))
        for start, stop in ((0, 37), (37, 46))
    ]
    sample = sample_rows(rows, 100)
    assert sorted(index for batch in sample for index in batch.indices.tolist()) == list(range(46))
    steps = random_steps(rows, 5, seed=1)
    seen = [index for _ in range(20) for batch in next(steps) for index in batch.indices.tolist()]
    for start in (0, 46):
        assert sorted(seen[start : start + 46]) == list(range(46))


def test_a_diagnosis_leaves_the_run_unchanged_and_is_complete(
    trained_row: Callable[[str], Trained], capsys: pytest.CaptureFixture[str]
) -> None:
    run = trained_row("transformer").run

    def digests() -> dict[str, str]:
        files = (path for path in run.rglob("*") if path.is_file())
        return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    before = digests()
    assert main(["diagnose", str(run), "--minutes", "0.05", "--json", "--quiet"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert digests() == before
    assert {each["cause"] for each in result["findings"]} <= CAUSES.keys()
    assert all(each["reason"] for each in result["left_out"])
    assert any("time is up" in each["reason"] or "too short" in each["reason"] for each in result["left_out"])


def test_data_that_moved_is_named_before_anything_is_trained(
    trained_row: Callable[[str], Trained], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["diagnose", str(tmp_path / "none")]) == 2
    assert "none" in capsys.readouterr().err
    assert main(["diagnose", str(trained_row("transformer").run), "--minutes", "nan"]) == 2
    assert "finite" in capsys.readouterr().err
    assert main(["diagnose", str(trained_row("transformer").run), "--fail-on", "bad_luck"]) == 2
    assert "shuffled_labels" in capsys.readouterr().err


def test_questions_that_raise_are_left_out_with_the_reason(
    trained_row: Callable[[str], Trained], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(lab: Experiments) -> list[Finding]:
        raise RuntimeError("a fault of a plugin")

    def working(lab: Experiments) -> list[Finding]:
        return [Finding("clipping", "a", 0.5), Finding("clipping", "b", 0.9), Finding("leakage", "c", 0.7)]

    monkeypatch.setattr("seqlab.diagnosis.diagnosis.QUESTIONS", (("first?", broken), ("second?", working)))
    found = diagnose(trained_row("transformer").run, 1)
    assert [(finding.cause, finding.evidence) for finding in found.findings] == [("clipping", "b"), ("leakage", "c")]
    assert "a fault of a plugin" in found.left_out[0][1]


def test_each_cause_has_a_section_in_the_page() -> None:
    page = (Path(__file__).parents[2] / "docs" / "how_to" / "diagnose.md").read_text("utf-8")
    headings = {
        line.removeprefix("### ").lower().replace(" ", "_") for line in page.split("\n") if line.startswith("### ")
    }
    assert {heading.lower().replace(" ", "_") for heading in headings} == CAUSES.keys()
