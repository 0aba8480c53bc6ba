"""Checks of what inputs say about targets: shuffled, shifted and partly wrong targets are found, others are not."""

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from diagnosis.planted import causes, labeled_rows, rows_of

from seqlab.data.batch import IGNORE, collate_values
from seqlab.diagnosis import association_checks
from seqlab.diagnosis.experiments import Experiments, Outcome
from seqlab.diagnosis.finding import LeftOut
from seqlab.diagnosis.rows import Rows
from seqlab.diagnosis.workbench import Losses


def test_shuffled_and_noisy_labels_are_found() -> None:
    clean, noisy, shuffled = (labeled_rows(600, noise) for noise in (0.0, 0.6, 1.0))
    found = [causes(association_checks.check_labels(rows)) for rows in (clean, noisy, shuffled)]
    assert found == [set(), {"label_noise"}, {"shuffled_labels"}]


def test_wrong_labels_of_classes_that_are_easy_to_tell_apart_are_found() -> None:
    """40% random labels of eight distant clusters: a model expects as many errors as there are, in all rows alike."""
    rng = np.random.default_rng(10)
    classes = rng.integers(0, 8, 2000)
    inputs = 4 * np.eye(8)[classes] + rng.normal(size=(2000, 8))
    noisy = np.where(rng.random(2000) < 0.4, rng.integers(0, 8, 2000), classes)
    assert causes(association_checks.check_labels(rows_of(inputs, classes[:, None], "label"))) == set()
    assert causes(association_checks.check_labels(rows_of(inputs, noisy[:, None], "label"))) == {"label_noise"}
    assert causes(association_checks.check_labels(rows_of(inputs, noisy[:, None], "label"), valid_loss=0.3)) == set()
    close = 0.9 * np.eye(8)[classes] + rng.normal(size=(2000, 8))  # hard to tell apart, with right labels
    assert causes(association_checks.check_labels(rows_of(close, classes[:, None], "label"))) == set()


def test_targets_that_depend_on_the_inputs_in_a_nonlinear_way_are_not_shuffled() -> None:
    rng = np.random.default_rng(4)
    inputs = rng.normal(size=(1200, 3))
    product = inputs[:, :1] * inputs[:, 1:2]
    for targets, expected in ((product, set()), (rng.permutation(product), {"shuffled_labels"})):
        assert causes(association_checks.check_numbers(rows_of(inputs, targets, "numbers"))) == expected
        labels = (targets > 0).astype(np.int64)
        assert causes(association_checks.check_labels(rows_of(inputs, labels, "label"))) == expected


def test_labels_are_not_shuffled_if_the_run_predicts_them(lab_of: Callable[[str], Experiments]) -> None:
    """The parity of many numbers, which simple models do not find: what the run reaches is the evidence."""
    rng = np.random.default_rng(5)
    inputs = rng.normal(size=(640, 12))
    labels = (inputs > 0).sum(1) % 2
    lab = lab_of("cnn, batch norm, mean of the last")
    lab.rows = rows_of(inputs, labels[:, None], "label")
    batch = collate_values(inputs[:, None].astype(np.float32), labels.astype(np.int64), range(640))
    lab.valid_sample = [batch.select(part) for part in torch.arange(640).split(64)]
    for loss, expected in ((0.1, set()), (0.69, {"shuffled_labels"})):
        losses = Losses(np.linspace(0.9, 1.1, 10) * loss * 64, np.full(10, 64.0))
        lab.final = Outcome(losses, losses, losses, 1)
        assert causes(association_checks.check_association(lab)) == expected


def test_rows_without_a_label_are_not_checked() -> None:
    rows = labeled_rows(700)
    for number in range(0, 700, 7):
        rows.targets[number] = np.array([IGNORE] if number % 2 else [], np.int64)
    assert causes(association_checks.check_labels(rows)) == set()


def test_pairs_that_are_shifted_late_in_a_corpus_are_found(lab_of: Callable[[str], Experiments]) -> None:
    """A missing line after thousands of right pairs; repeated pairs are a likely cause only if they are most rows."""
    rng = np.random.default_rng(6)
    src = [rng.integers(4, 60, rng.integers(3, 9)) for _ in range(7200)]
    tgt = [63 - row for row in src]
    lab = lab_of("transformer")
    lab.rows = Rows(src[:-1], tgt[:6900] + tgt[6901:], np.arange(7199), "tokens")
    lab.bench.data = lab.bench.task = SimpleNamespace(locate=lambda data, row: f"line {row + 1}")
    (found,) = association_checks.check_alignment(lab)
    assert found.cause == "shifted_pairs"
    assert abs(int(found.evidence.removeprefix("from line ").partition(" ")[0]) - 6901) <= 2


def test_few_rows_are_no_evidence_of_shuffled_targets() -> None:
    """A relation that many rows show: with few of them it is not significant, which says nothing."""
    rng = np.random.default_rng(8)
    inputs = rng.normal(size=(2000, 20))
    labels = (inputs[:, :1] + rng.normal(size=(2000, 1)) > 0).astype(np.int64)
    assert causes(association_checks.check_labels(rows_of(inputs, labels, "label"))) == set()
    few = rows_of(inputs[:40], labels[:40], "label")
    with pytest.raises(LeftOut, match="too few rows to tell whether the inputs determine"):
        list(association_checks.check_labels(few))
    numbers = inputs[:, :1] + 3 * rng.normal(size=(2000, 1))
    with pytest.raises(LeftOut, match="too few rows to tell whether the inputs determine"):
        list(association_checks.check_numbers(rows_of(inputs[:40], numbers[:40], "numbers")))


def test_shuffled_numbers_are_found() -> None:
    """Also with as many features as rows."""
    rng = np.random.default_rng(1)
    inputs = rng.normal(size=(300, 1, 250)).astype(np.float32)
    numbers = inputs[:, 0, :3].sum(1) + rng.normal(size=300)
    for targets, found in ((numbers, set()), (rng.permutation(numbers), {"shuffled_labels"})):
        rows = Rows(list(inputs), list(targets[:, None]), np.arange(300), "numbers")
        assert causes(association_checks.check_numbers(rows)) == found
