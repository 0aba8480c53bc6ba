"""Questions about settings: each is answered by the outcomes of short trainings, which are given here."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from contracts.trained import Trained

from seqlab.diagnosis import training_checks
from seqlab.diagnosis.experiments import Experiments, Outcome
from seqlab.diagnosis.workbench import Losses, open_run

Start = tuple[str, str, float, float]
SAME: Start = ("trained", "", 1.0, 1.0)
NEW: Start = ("fresh", "", 1.0, 1.0)


def outcome(train: float, valid: float | None = None) -> Outcome:
    """Return an outcome with mean losses, which differ a little between groups."""
    noise = np.linspace(-0.01, 0.01, 20)
    losses = [Losses(each + noise, np.ones(20)) for each in (train, train if valid is None else valid)]
    return Outcome(losses[0], losses[1], losses[0], 50)


@pytest.fixture
def lab_with(
    trained_row: Callable[[str], Trained], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[Outcome, dict[Start, Outcome]], Experiments]:
    """Return a function that opens a run whose losses and short trainings have the given outcomes."""

    def make(final: Outcome, outcomes: dict[Start, Outcome]) -> Experiments:
        lab = Experiments(open_run(trained_row("transformer").run, tmp_path_factory.mktemp("scratch")), minutes=0.001)
        lab.final = final
        lab.num_updates = 50
        lab.uniform_loss = 4.0
        lab._outcomes.update(outcomes)
        return lab

    return make


def higher(first: float, second: float, same: float) -> dict[Start, Outcome]:
    """Return the outcomes of more training with the rate of the run, with 10 and with 100 times the rate."""
    starts: list[Start] = [SAME, ("trained", "", 10.0, 1.0), ("trained", "", 100.0, 1.0)]
    return dict(zip(starts, map(outcome, (same, first, second)), strict=True))


def lower(same: float, third: float, tenth: float) -> dict[Start, Outcome]:
    """Return the outcomes of a new training with the rate of the run, with a third and with a tenth of it."""
    starts: list[Start] = [NEW, ("fresh", "", 1 / 3, 1.0), ("fresh", "", 0.1, 1.0)]
    return dict(zip(starts, map(outcome, (same, third, tenth)), strict=True))


def by_rows(quarter: float, half: float, every: float, regularized: float) -> dict[Start, Outcome]:
    """Return the validation losses of a new training on parts of the rows, and on all with more regularization."""
    losses = {"quarter": quarter, "half": half, "": every, "more regularization": regularized}
    return {("fresh", name, 1.0, 1.0): outcome(1, loss) for name, loss in losses.items()}


@pytest.mark.parametrize(
    ("check", "final", "outcomes", "expected"),
    [
        (training_checks.check_length, outcome(2), higher(2, 3, same=1.99), []),
        (training_checks.check_length, outcome(2), higher(1, 3, same=1.99), ["lr_too_low"]),
        (
            training_checks.check_length,
            outcome(2),
            higher(0.8, 3, same=1) | {("trained", "", 1.0, 0.25): outcome(1.2)},
            ["too_few_steps"],
        ),
        (  # as many rows in smaller steps are as good
            training_checks.check_length,
            outcome(2),
            higher(0.8, 3, same=1) | {("trained", "", 1.0, 0.25): outcome(0.9)},
            ["batch_too_large"],
        ),
        (training_checks.check_high_rate, outcome(2), lower(1, 1.1, 1.5), []),
        (training_checks.check_high_rate, outcome(2), lower(3, 2.9, 1), ["lr_too_high"]),
        (training_checks.check_high_rate, outcome(2), lower(float("nan"), 2, float("nan")), ["lr_too_high"]),
        (
            training_checks.check_size,
            outcome(2),
            {("fresh", "larger", 1.0, 1.0): outcome(1), NEW: outcome(2.5)} | higher(1.5, 3, same=2),
            ["model_too_small"],
        ),
        (  # a new model of the same size is as good
            training_checks.check_size,
            outcome(2),
            {("fresh", "larger", 1.0, 1.0): outcome(1), SAME: outcome(2), NEW: outcome(1)},
            [],
        ),
        (training_checks.check_generalization, outcome(1, 1.1), {}, []),
        (
            training_checks.check_generalization,
            outcome(0.1, 2),
            by_rows(3, 2.5, 2, regularized=2),
            ["too_little_data"],
        ),
        (
            training_checks.check_generalization,
            outcome(0.1, 2),
            by_rows(2, 2, 2, regularized=1.5),
            ["too_little_data", "overfitting"],  # the run has 200 rows
        ),
    ],
)
def test_outcomes_of_short_trainings_answer_a_question(
    lab_with: Callable[[Outcome, dict[Start, Outcome]], Experiments],
    check: Any,
    final: Outcome,
    outcomes: dict[Start, Outcome],
    expected: list[str],
) -> None:
    assert [finding.cause for finding in check(lab_with(final, outcomes)) if finding.confidence >= 0.5] == expected


@pytest.mark.parametrize(("by_more_steps", "level"), [(1.9, "likely"), (1.3, "worth a look")])
def test_a_wider_model_is_no_cause_if_more_steps_reach_most_of_its_gain(
    lab_with: Callable[[Outcome, dict[Start, Outcome]], Experiments], by_more_steps: float, level: str
) -> None:
    """The wider model reaches 1 from 2: a training that is too short is told from a model that is too small."""
    wide = {("fresh", "larger", 1.0, 1.0): outcome(1), NEW: outcome(2.5)}
    lab = lab_with(outcome(2), wide | higher(1.5, 3, same=by_more_steps))
    assert [(each.cause, each.level) for each in training_checks.check_size(lab)] == [("model_too_small", level)]
