"""Learning rate range test: increase the learning rate at each step, and record the loss.

Smith 2017 (arXiv:1506.01186), section 3.3.
"""

import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from seqlab.optim import ExponentialScheduleConfig
from seqlab.runs.config import Config
from seqlab.runs.folder import RunFolder
from seqlab.training.failure import FailedStep
from seqlab.training.train import train

SMOOTHING = 0.9
"""Decay of the exponential moving average of the losses, as losses of single steps are noisy."""
MAX_LOSS_RATIO = 4.0
"""Stop the curve when the smoothed loss exceeds its minimum by this factor."""


@dataclass(frozen=True)
class RangeTest:
    """Result of a range test: the learning rate and the loss of each step."""

    rates: list[float]
    losses: list[float]
    """Loss before each update; ends when the loss becomes much worse or not finite."""
    smoothed: list[float]

    @property
    def lowest(self) -> float:
        """The learning rate with the lowest smoothed loss. It is too high for training: try a tenth of it."""
        return self.rates[self.smoothed.index(min(self.smoothed))]

    def lines(self) -> list[str]:
        """Render for people."""
        shown = range(0, len(self.rates), max(1, len(self.rates) // 20))
        table = [f"{self.rates[i]:.2e}  {self.smoothed[i]:.4g}" for i in shown]
        return [
            "lr        smoothed loss",
            *table,
            f"lowest loss at {self.lowest:.1e}: try {self.lowest / 10:.1e}",
        ]

    def to_json(self) -> dict[str, Any]:
        """Render for JSON."""
        points = {"rates": self.rates, "losses": self.losses, "smoothed": self.smoothed}
        return {"lowest": self.lowest, "try": self.lowest / 10, **points}


def range_test(config: Config, lowest: float = 1e-6, highest: float = 1.0, steps: int = 200) -> RangeTest:
    """Run a learning rate range test: train in a temporary folder, and increase the learning rate exponentially.

    Args:
        config: the config; its schedule and intervals are replaced.
        lowest: learning rate of the first step.
        highest: learning rate of the last step.
        steps: number of steps.

    Raises:
        ValueError: the learning rates or the number of steps are invalid; and as `train`.
    """
    if not 0 < lowest < highest:
        raise ValueError(f"`lowest` ({lowest}) must be above 0 and below `highest` ({highest}).")
    if steps < 10:
        raise ValueError(f"`steps` must be at least 10, but is {steps} instead.")
    schedule = ExponentialScheduleConfig(initial_ratio=lowest / highest)
    optimizer = replace(config.optim.optimizer, lr=highest)  # type: ignore[type-var]
    optim = replace(
        config.optim, optimizer=optimizer, schedule=schedule, average_last=0, ema_decay=0, average_trigger=0
    )
    training = replace(
        config.training,
        max_steps=steps,
        max_epochs=None,
        max_minutes=None,
        log_every=1,
        save_every=steps,
        valid_every=steps,
    )
    with tempfile.TemporaryDirectory() as folder:
        run_dir = Path(folder) / "run"
        with suppress(FailedStep):  # the loss is not finite at a high learning rate
            train(replace(config, optim=optim, training=training), run_dir)
        lines = [line for line in RunFolder(run_dir).read_metrics() if line["kind"] == "train"]
    if not lines:
        raise ValueError(
            "The loss is not finite at the first step, at the lowest learning rate: check data and objective."
        )
    return smooth_losses([line["lr"] for line in lines], [line["loss"] for line in lines])


def smooth_losses(rates: Sequence[float], losses: Sequence[float]) -> RangeTest:
    """Smooth losses by a bias-corrected moving average; drop all steps after the loss becomes much worse."""
    average, smoothed = 0.0, []
    for step, loss in enumerate(losses, start=1):
        average = SMOOTHING * average + (1 - SMOOTHING) * loss
        smoothed.append(average / (1 - SMOOTHING**step))
        if smoothed[-1] > MAX_LOSS_RATIO * min(smoothed) > 0:
            break
    count = len(smoothed)
    return RangeTest(list(rates[:count]), list(losses[:count]), smoothed)
