"""Learning rates against tables and formulas written out for each case."""

import math

import pytest

from seqlab.optim import (
    ConstantScheduleConfig,
    CosineScheduleConfig,
    InverseSqrtScheduleConfig,
    LinearScheduleConfig,
    ScheduleConfig,
)

CONSTANT, LINEAR = ConstantScheduleConfig(warmup_steps=4), LinearScheduleConfig(warmup_steps=4)
INVERSE_SQRT, COSINE = InverseSqrtScheduleConfig(warmup_steps=4), CosineScheduleConfig(warmup_steps=4)
FAMILIES = [CONSTANT, LINEAR, INVERSE_SQRT, COSINE]


@pytest.mark.parametrize("schedule", FAMILIES)
def test_the_warmup_is_a_line_to_the_peak(schedule: ScheduleConfig) -> None:
    rates = [schedule.rate(10.0, step, 14) for step in range(5)]
    assert rates == pytest.approx([2, 4, 6, 8, 10], rel=1e-12)


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
def test_after_the_warmup_until_past_the_end(schedule: ScheduleConfig, expected: list[float]) -> None:
    rates = [schedule.rate(10.0, step, 14) for step in range(4, 16)]
    assert rates == pytest.approx(expected, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (ConstantScheduleConfig(), [1, 1, 1, 1]),
        (LinearScheduleConfig(), [1, 0.75, 0.5, 0.25]),
        (InverseSqrtScheduleConfig(), [1, 2**-0.5, 3**-0.5, 0.5]),
        (CosineScheduleConfig(), [1, (1 + math.cos(math.pi / 4)) / 2, 0.5, (1 + math.cos(3 * math.pi / 4)) / 2]),
    ],
)
def test_without_a_warmup_the_first_step_has_the_peak(schedule: ScheduleConfig, expected: list[float]) -> None:
    assert [schedule.rate(1.0, step, 4) for step in range(4)] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("schedule", FAMILIES)
@pytest.mark.parametrize("max_steps", [1, 3, 4])
def test_a_run_that_is_shorter_than_the_warmup_never_leaves_it(schedule: ScheduleConfig, max_steps: int) -> None:
    rates = [schedule.rate(5.0, step, max_steps) for step in range(max_steps)]
    assert rates == pytest.approx([1.0, 2.0, 3.0, 4.0][:max_steps])


def test_a_longer_run_bends_only_the_decaying_schedules() -> None:
    for schedule in (CONSTANT, INVERSE_SQRT):
        assert schedule.rate(1.0, 9, 10) == schedule.rate(1.0, 9, 1000)
    for decaying in (LINEAR, COSINE):
        assert decaying.rate(1.0, 9, 10) < decaying.rate(1.0, 9, 1000)
