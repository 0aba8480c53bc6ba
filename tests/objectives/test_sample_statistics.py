"""Statistics of earlier samples: the warnings of a collapse and of equal rewards, and the moving mean."""

import pytest
import torch
from reference.tabular import TabularTranslator

from seqlab.objectives import PolicyGradientConfig


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]


def test_a_collapse_of_the_samples_is_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    objective = PolicyGradientConfig().build_for(TabularTranslator())

    def observe(entropy: float, length: float, repeated: float, distance: float) -> None:
        values = {"sample_entropy": entropy, "length_ratio": length, "repeated": repeated, "mean_return": 0.5}
        values |= {"start_distance": distance, "reward_range": 0.1}
        counts = {f"count of {name}": torch.tensor(1.0) for name in values}
        objective.observe({name: torch.tensor(value) for name, value in values.items()} | counts)

    for _ in range(25):
        observe(2.0, 1.0, 0.1, 0.4)
    assert not warnings_of(caplog)
    for _ in range(3):
        observe(0.1, 2.5, 0.9, 3.0)
    [warning] = warnings_of(caplog)
    assert "entropy fell from 2 to 0.1 nats" in warning
    assert "length changed from 1 to 2.5 times that of the references" in warning
    assert "90% of their ids are repeated, instead of 10%" in warning
    assert "distance to the model at the start is 3 nats per id" in warning


def test_a_collapse_within_the_first_steps_is_noticed(caplog: pytest.LogCaptureFixture) -> None:
    objective = PolicyGradientConfig().build_for(TabularTranslator())
    for step in range(20):
        values = {"sample_entropy": 0.1 if step > 3 else 2.0, "length_ratio": 1.0, "repeated": 0.1, "mean_return": 0.5}
        values["reward_range"] = 0.1
        counts = {f"count of {name}": torch.tensor(1.0) for name in values}
        objective.observe({name: torch.tensor(value) for name, value in values.items()} | counts)
    assert "entropy fell from 2 to 0.1 nats" in warnings_of(caplog)[0]


@pytest.mark.parametrize("reward_range", [0.0, 0.2])
def test_rewards_without_differences_are_one_warning(reward_range: float, caplog: pytest.LogCaptureFixture) -> None:
    objective = PolicyGradientConfig().build_for(TabularTranslator())
    for step in range(50):
        values = dict.fromkeys(["sample_entropy", "length_ratio", "repeated", "mean_return"], 1.0)
        values["reward_range"] = reward_range if step == 7 else 0.0
        counts = {f"count of {name}": torch.tensor(1.0) for name in values}
        objective.observe({name: torch.tensor(value) for name, value in values.items()} | counts)
    is_warned = ["equal rewards for 20 steps" in text for text in warnings_of(caplog)]
    assert is_warned == [True] * (not reward_range)


def test_the_moving_mean_starts_at_the_first_mean_and_follows_later_ones() -> None:
    objective = PolicyGradientConfig(baseline="moving_mean", baseline_decay=0.9).build_for(TabularTranslator())
    for value in (2.0, 4.0):
        sums = dict.fromkeys(["sample_entropy", "length_ratio", "repeated", "reward_range"], torch.tensor(1.0))
        sums |= {"mean_return": torch.tensor(3 * value), "count of mean_return": torch.tensor(3.0)}
        objective.observe(sums | {f"count of {name}": torch.tensor(1.0) for name in sums if "count" not in name} | sums)
    assert objective.moving_mean.value.item() == pytest.approx(0.9 * 2 + 0.1 * 4)
