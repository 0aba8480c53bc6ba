"""Train with an objective of your own: the focal loss (Lin et al. 2017), which gives easy tokens less weight.

    python custom_objective.py [RUN_DIR]

The command line takes this file as a plugin:

    seqlab train number_words --plugin custom_objective.py --objective.family focal --objective.gamma 2
"""

import sys
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import nn

import seqlab
from seqlab.data import Seq2SeqBatch
from seqlab.objectives import SETTINGS, Loss, ObjectiveConfig, StepContext


@seqlab.register("objective")
@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class FocalConfig(ObjectiveConfig):
    """Focal loss: cross entropy in which easy tokens have less weight."""

    family: Literal["focal"] = "focal"
    """The name of this objective."""
    gamma: Annotated[float, Field(ge=0)] = 1.0
    """Exponent of the weight (1 - p)^gamma of each token; 0 is cross entropy."""

    def build(self) -> "Focal":
        return Focal(self.gamma)


class Focal:
    """The sum over the target tokens of -(1 - p)^gamma log p."""

    def __init__(self, gamma: float) -> None:
        self.gamma = gamma

    def __call__(self, model: nn.Module, batch: Seq2SeqBatch, context: StepContext) -> Loss:
        log_probs = model(batch).target_log_probs(batch.tgt_out)  # (R,): all target tokens of the batch
        total = -((1 - log_probs.exp()) ** self.gamma * log_probs).sum()
        return Loss(total, total.new_tensor(len(log_probs)), {"nll": -log_probs.detach().sum()})


SMALL = {"model.d_model": 64, "model.d_ff": 128, "data.valid_max_pairs": 50}
QUICK = {"training.max_steps": 120, "optim.optimizer.lr": 5e-3, "optim.schedule.warmup_steps": 20, "optim.ema_decay": 0}

if __name__ == "__main__":
    run_dir = sys.argv[1] if len(sys.argv) > 1 else "runs/custom_objective"
    config = seqlab.recipe(
        "number_words", run_dir, {"objective.family": "focal", "objective.gamma": 2.0, **SMALL, **QUICK}
    )
    seqlab.train(config, run_dir)
    run = seqlab.load(run_dir)
    [score] = run.score(["the seventh of May"], ["am siebten Mai"])
    print(f"{config.objective}: {-score.log_prob / score.num_tokens:.2f} nats per token")
    print(run.translate(["the seventh of May"])[0])
