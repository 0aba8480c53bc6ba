"""What every task validates by: the likelihood of the validation set; each rank does its part."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Protocol

import torch
from torch import Tensor

from seqlab.data.batch import Batch
from seqlab.evaluation import Score, nll_per_tgt_token
from seqlab.nn.precision import prepare_inference
from seqlab.runs.config import Config
from seqlab.runs.folder import RunFolder
from seqlab.runs.load import copy_weights
from seqlab.text import Tokenizer
from seqlab.training.device_context import DeviceContext


class RunInTraining(Protocol):
    """What a task may look at of a run that is trained."""

    config: Config
    machine: DeviceContext
    codecs: tuple[Any, Any]
    """Of the source and of the target, one object where the data has one side or a joint vocabulary."""
    data: Any
    """What the task has prepared."""
    model: Any

    @property
    def src_tokenizer(self) -> Tokenizer:
        """The source's codec; of runs whose sides are text."""
        ...

    @property
    def tgt_tokenizer(self) -> Tokenizer:
        """The target's codec; of runs whose sides are text."""
        ...

    @property
    def folder(self) -> RunFolder:
        """The run folder by its path, for messages."""
        ...


@dataclass(frozen=True)
class Validation:
    """What one validation found; `scores` are of what was decoded, by metric."""

    scores: dict[str, Score]
    nll: float  # nats per predicted token
    nll_name: str = "nll_per_tgt_token"  # which tokens these are
    more: dict[str, float] = field(default_factory=dict)  # figures that no checkpoint is judged by

    def score(self, metric: str) -> float:
        """Give the figure that checkpoints are ranked by; higher is better, so that an error rate is negative."""
        if metric == "nll":
            return -self.nll
        found = self.scores[metric]
        return found.value if found.higher_is_better else -found.value

    def figures(self) -> dict[str, float]:
        """Give all figures by name, as they are reported."""
        return {self.nll_name: self.nll} | {name: score.value for name, score in self.scores.items()} | self.more


def inference_model(run: RunInTraining, weights: dict[str, Tensor]) -> Any:
    """Build a model of its own with some weights: training's may be divided among the ranks."""
    with torch.random.fork_rng(devices=[]):
        model = run.config.model.resolve(run.config.data).build(*run.codecs).eval()
    copy_weights(model, weights, run.folder.path)
    prepare_inference(model, run.machine.device, run.machine.dtype)
    return model


@torch.inference_mode()
def nll_of(run: RunInTraining, model: Any, batches: Iterator[Batch]) -> float:
    """Score what the batches predict: nats per predicted token, summed in one order however many ranks there are."""
    world = run.machine.world
    found = []
    for batch in islice(batches, world.rank, None, world.world_size):
        score = float(model.score(batch.to(run.machine.device)).sum(dtype=torch.float64))
        found.append((score, batch.num_targets))
    nll, tokens = 0.0, 0
    for score, count in world.unshard(found):
        nll, tokens = nll - score, tokens + count
    return nll_per_tgt_token(nll, tokens)
