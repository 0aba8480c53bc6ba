"""Learning-rate schedules against tabulated values, formulas and torch."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from seqlab.optim import (
    ConstantScheduleConfig,
    CosineScheduleConfig,
    ExponentialScheduleConfig,
    InverseSqrtScheduleConfig,
    LinearScheduleConfig,
    OneCycleScheduleConfig,
    PlateauScheduleConfig,
    ScheduleConfig,
)

CONSTANT, LINEAR = ConstantScheduleConfig(warmup_steps=4), LinearScheduleConfig(warmup_steps=4)
INVERSE_SQRT, COSINE = InverseSqrtScheduleConfig(warmup_steps=4), CosineScheduleConfig(warmup_steps=4)
FAMILIES = [CONSTANT, LINEAR, INVERSE_SQRT, COSINE]


@pytest.mark.parametrize("schedule", FAMILIES)
def test_warmup_is_linear(schedule: ScheduleConfig) -> None:
    lrs = [schedule.lr_at(10.0, step, 14) for step in range(5)]
    assert lrs == pytest.approx([2, 4, 6, 8, 10], rel=1e-12)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (CONSTANT, [10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10]),
        (LINEAR, [10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 0]),
        (LinearScheduleConfig(warmup_steps=4, final_ratio=0.5), [10, 9.5, 9, 8.5, 8, 7.5, 7, 6.5, 6, 5.5, 5, 5]),
        (INVERSE_SQRT, [10 * math.sqrt(5 / n) for n in range(5, 17)]),
        (COSINE, [5 + 5 * math.cos(math.pi * min(k, 10) / 10) for k in range(12)]),
        (
            CosineScheduleConfig(warmup_steps=4, final_ratio=0.2),
            [6 + 4 * math.cos(math.pi * min(k, 10) / 10) for k in range(12)],
        ),
    ],
)
def test_learning_rates_after_the_warmup(schedule: ScheduleConfig, expected: list[float]) -> None:
    lrs = [schedule.lr_at(10.0, step, 14) for step in range(4, 16)]
    assert lrs == pytest.approx(expected, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (ConstantScheduleConfig(), [1, 1, 1, 1]),
        (LinearScheduleConfig(), [1, 0.75, 0.5, 0.25]),
        (InverseSqrtScheduleConfig(), [1, 2**-0.5, 3**-0.5, 0.5]),
        (CosineScheduleConfig(), [1, (1 + math.cos(math.pi / 4)) / 2, 0.5, (1 + math.cos(3 * math.pi / 4)) / 2]),
    ],
)
def test_without_warmup_the_first_step_has_the_peak_learning_rate(
    schedule: ScheduleConfig, expected: list[float]
) -> None:
    assert [schedule.lr_at(1.0, step, 4) for step in range(4)] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("schedule", FAMILIES)
@pytest.mark.parametrize("max_steps", [1, 3, 4])
def test_warmup_of_runs_shorter_than_the_warmup(schedule: ScheduleConfig, max_steps: int) -> None:
    lrs = [schedule.lr_at(5.0, step, max_steps) for step in range(max_steps)]
    assert lrs == pytest.approx([1.0, 2.0, 3.0, 4.0][:max_steps])


def test_only_decaying_schedules_depend_on_max_steps() -> None:
    for schedule in (CONSTANT, INVERSE_SQRT):
        assert schedule.lr_at(1.0, 9, 10) == schedule.lr_at(1.0, 9, 1000)
    for schedule in (LINEAR, COSINE):
        assert schedule.lr_at(1.0, 9, 10) < schedule.lr_at(1.0, 9, 1000)


@pytest.mark.parametrize("max_steps", [10, 57])
@pytest.mark.parametrize("rising", [0.3, 0.5])
def test_one_cycle_equals_torch(max_steps: int, rising: float) -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    torch_schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 10.0, total_steps=max_steps, pct_start=rising, div_factor=25, final_div_factor=1e12
    )
    schedule = OneCycleScheduleConfig(rising=rising)
    for step in range(max_steps):
        assert schedule.lr_at(10.0, step, max_steps) == pytest.approx(torch_schedule.get_last_lr()[0], abs=1e-9)
        optimizer.step()
        if step + 1 < max_steps:
            torch_schedule.step()
    assert schedule.lr_at(10.0, max_steps + 5, max_steps) == 0


@given(st.lists(st.floats(0, 10), max_size=30), st.integers(0, 3))
def test_plateau_equals_torch(nlls: list[float], patience: int) -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    torch_schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=0.5, patience=patience, threshold=0.0, eps=0.0
    )
    schedule = PlateauScheduleConfig(patience=patience)
    for count in range(len(nlls)):
        torch_schedule.step(nlls[count])
        assert schedule.validation_factor(nlls[: count + 1]) == pytest.approx(optimizer.param_groups[0]["lr"])


def test_exponential_schedule_is_linear_in_the_logarithm() -> None:
    schedule = ExponentialScheduleConfig(initial_ratio=1e-4, final_ratio=0.1)
    lrs = [schedule.lr_at(5.0, step, 7) for step in range(9)]
    assert lrs == pytest.approx([5 * 10 ** (-4 + 3 * step / 6) for step in range(7)] + [0.5] * 2)


@pytest.mark.parametrize("missing", [math.nan, math.inf, -math.inf])
def test_plateau_leaves_out_losses_that_cannot_be_compared(missing: float) -> None:
    schedule, nlls = PlateauScheduleConfig(patience=1), [3.0, 2.0, 2.5, 2.0, 2.1, 1.9]
    with_missing = [value for nll in nlls for value in (missing, nll, missing)]
    assert schedule.validation_factor(with_missing) == schedule.validation_factor(nlls) == 0.5
    assert schedule.validation_factor([missing] * 9) == 1.0
