"""The share of wrong targets is estimated from the scores of own targets and of those of other rows."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from contracts.trained import Trained

from seqlab.diagnosis.experiments import Experiments
from seqlab.diagnosis.pair_checks import MAX_BETWEEN, estimate_wrong_targets, share_between, target_scores
from seqlab.diagnosis.workbench import open_run


@pytest.mark.parametrize("share", [0.0, 0.15, 0.4])
def test_the_share_of_wrong_targets_is_that_of_the_scores(share: float) -> None:
    rng = np.random.default_rng(1)
    scores = rng.normal(-2, 3, (4000, 4))
    is_right = rng.random(4000) >= share
    scores[is_right, 0] = rng.normal(15, 4, int(is_right.sum()))
    estimate, error = estimate_wrong_targets(scores)
    assert abs(estimate - share) < 4 * error + 0.002


def test_a_model_that_cannot_tell_targets_apart_says_nothing() -> None:
    scores = np.random.default_rng(2).normal(0, 1, (4000, 4))
    scores[:, 0] += 1
    assert estimate_wrong_targets(scores) == (0, 0)


def test_wrong_targets_leave_a_gap_that_unsure_models_lack() -> None:
    rng = np.random.default_rng(3)
    wrong, unsure = rng.normal(0, 1, (2, 4000, 4))
    is_right = rng.random(4000) >= 0.4
    wrong[is_right, 0] = rng.normal(8, 1, int(is_right.sum()))
    unsure[:, 0] = rng.normal(2.5, 2.5, 4000)
    gaps = [share_between(scores, estimate_wrong_targets(scores)[0]) for scores in (wrong, unsure)]
    assert gaps[0] < 0.02
    assert gaps[1] > MAX_BETWEEN


def test_scores_compare_the_log_probabilities_of_targets(
    trained_row: Callable[[str], Trained], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Up to the mean of each target, they are the log-probabilities of the model; the first ones are of own targets."""
    lab = Experiments(open_run(trained_row("transformer").run, tmp_path_factory.mktemp("scratch")), minutes=5)
    batch = lab.bench.valid_rows[0]
    batch = batch.select(torch.arange(8))
    scores = target_scores(lab.trained, [batch])
    expected = np.zeros((8, 4))
    for row in range(8):
        for shift in range(4):
            other = (row + shift) % 8
            pair = replace(
                batch.select(torch.tensor([row])),
                tgt_in=batch.tgt_in[other][None],
                tgt_out=batch.tgt_out[other][None],
            )
            expected[row, shift] = -lab.trained.losses([pair]).totals[0]
    means = np.array([np.mean([expected[(tgt - shift) % 8, shift] for shift in range(4)]) for tgt in range(8)])
    wanted = expected - means[(np.arange(8)[:, None] + np.arange(4)) % 8]
    np.testing.assert_allclose(scores, wanted, rtol=1e-5, atol=1e-5)
