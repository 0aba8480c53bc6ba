"""Train with a learning-rate schedule of your own: warmup, constant, linear decay at the end (Hu et al. 2024).

    python custom_schedule.py [RUN_DIR]

The command line takes this file as a plugin:

    seqlab train number_words --plugin custom_schedule.py --optim.schedule.family wsd --optim.schedule.warmup_steps 100
"""

import sys
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

import seqlab
from seqlab.optim import SETTINGS, WarmupConfig


@seqlab.register("schedule")
@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class WsdConfig(WarmupConfig):
    """Warmup-stable-decay: the peak learning rate until the last steps, then a linear decay to 0."""

    family: Literal["wsd"] = "wsd"
    """The name of this schedule."""
    decay_share: Annotated[float, Field(gt=0, le=1)] = 0.2
    """Share of all steps over which the learning rate decays."""

    def share(self, step: int, max_steps: int) -> float:
        """Return the learning rate of a step after the warmup, as a share of the peak."""
        return min(1.0, max(0.0, (max_steps - step) / (self.decay_share * max_steps)))


SMALL = {"model.d_model": 64, "model.d_ff": 128, "data.valid_max_pairs": 50}
QUICK = {"training.max_steps": 100, "training.log_every": 10, "optim.optimizer.lr": 5e-3, "optim.ema_decay": 0}

if __name__ == "__main__":
    run_dir = sys.argv[1] if len(sys.argv) > 1 else "runs/custom_schedule"
    schedule = {"optim.schedule.family": "wsd", "optim.schedule.warmup_steps": 20, "optim.schedule.decay_share": 0.4}
    config = seqlab.recipe("number_words", run_dir, {**schedule, **SMALL, **QUICK})
    for step in range(0, config.training.max_steps, 10):
        lr = config.optim.schedule.lr_at(config.optim.optimizer.lr, step, config.training.max_steps)
        print(f"step {step:3d}  lr {lr:.4f}  {'#' * round(lr * 10_000)}")
    seqlab.train(config, run_dir)
    run = seqlab.load(run_dir)
    print(run)
    print(run.translate(["the seventh of May"])[0])
