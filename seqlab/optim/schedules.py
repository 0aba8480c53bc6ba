"""Learning rates as pure functions of the step."""

import math

from seqlab.optim.config import (
    ConstantScheduleConfig,
    CosineScheduleConfig,
    InverseSqrtScheduleConfig,
    LinearScheduleConfig,
    ScheduleConfig,
)


def learning_rate(config: ScheduleConfig, peak: float, step: int, max_steps: int) -> float:
    """Give the learning rate of update number `step`, counted from 0, of `max_steps` in all.

    The warmup rises to the peak at step `warmup_steps`: update 0 already moves, by 1 / (warmup_steps + 1) of it.
    """
    warmup = config.warmup_steps
    if step < warmup:
        return peak * (step + 1) / (warmup + 1)
    if isinstance(config, ConstantScheduleConfig):
        return peak
    if isinstance(config, InverseSqrtScheduleConfig):
        return peak * math.sqrt((warmup + 1) / (step + 1))
    # `max_steps` itself would have the final ratio; past the end (a run made longer afterwards) it stays there.
    progress = min(1.0, (step - warmup) / max(1, max_steps - warmup))
    assert isinstance(config, LinearScheduleConfig | CosineScheduleConfig)
    share = 1 - progress if isinstance(config, LinearScheduleConfig) else (1 + math.cos(math.pi * progress)) / 2
    return peak * (config.final_ratio + (1 - config.final_ratio) * share)
