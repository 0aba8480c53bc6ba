"""Validation: likelihood of the validation set over all ranks, and warnings about items that training lacks."""

import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Protocol

import torch
from torch import Tensor

from seqlab.data.batch import IGNORE
from seqlab.data.encoded import EncodedCorpus
from seqlab.data.line_sample import word_metric_advice
from seqlab.data.ragged import RaggedArray
from seqlab.evaluation import Score, nll_per_tgt_token
from seqlab.models.outputs import IMPOSSIBLE_LOG_PROB
from seqlab.nn.precision import prepare_inference
from seqlab.runs.config import Config
from seqlab.runs.folder import RunFolder
from seqlab.runs.load import copy_weights
from seqlab.text import Tokenizer
from seqlab.training.device_context import DeviceContext

logger = logging.getLogger(__name__)

EMPTY_SHARE = "empty_share"
"""Metric of `Validation.more`: the share of hypotheses without any token, from 0 to 1."""
MAX_SAMPLED_REFERENCES = 1000
"""Maximum number of validation texts to check for a script without spaces."""
MAX_ITEMS_SHOWN = 10
"""Maximum number of unseen items in the log; the others are counted."""
MAX_LOCATIONS_SHOWN = 3
"""Maximum number of locations in the log for each unseen item."""


class RunInTraining(Protocol):
    """Attributes of `TrainingRun` that tasks use during training."""

    config: Config
    device_context: DeviceContext
    codecs: tuple[Any, Any]
    """Source and target codec: the same object for a joint vocabulary or data without separate sources and targets."""
    data: Any
    """The result of `Task.prepare`."""
    model: Any

    @property
    def src_tokenizer(self) -> Tokenizer:
        """The source codec, if the source is text."""
        ...

    @property
    def tgt_tokenizer(self) -> Tokenizer:
        """The target codec, if the target is text."""
        ...

    @property
    def folder(self) -> RunFolder:
        """The run folder under the user's path, for messages."""
        ...

    @property
    def reading(self) -> int:
        """Version of the reading of files (`seqlab.base.reading_notes`)."""
        ...


@dataclass(frozen=True)
class Validation:
    """Results of one validation; `scores` by metric, for the decoded hypotheses."""

    scores: dict[str, Score]
    nll: float  # nats per predicted token
    nll_name: str = "nll_per_tgt_token"  # name of `nll` in metrics.jsonl
    more: dict[str, float] = field(default_factory=dict)  # other metrics, which do not rank checkpoints

    def score(self, metric: str) -> float:
        """Return the score that ranks checkpoints: higher is better, so an error rate is negated."""
        if metric == "nll":
            return -self.nll
        score = self.scores[metric]
        return score.value if score.higher_is_better else -score.value

    def metrics(self) -> dict[str, float]:
        """Return all metrics by name, as in metrics.jsonl."""
        return {self.nll_name: self.nll} | {name: score.value for name, score in self.scores.items()} | self.more


def inference_model(run: RunInTraining, weights: dict[str, Tensor]) -> Any:
    """Build a separate model with the given weights, since the model in training may be sharded over the ranks."""
    with torch.random.fork_rng(devices=[]):
        model = run.config.model.resolve(run.config.data).build(*run.codecs).eval()
    copy_weights(model, weights, run.folder.path)
    prepare_inference(model, run.device_context.device, run.device_context.dtype)
    return model


@torch.inference_mode()
def mean_nll(run: RunInTraining, model: Any, batches: Iterator[Any]) -> float:
    """Compute the mean NLL in nats per predicted token, over the batches of all ranks.

    The order of the sum does not depend on the number of ranks. Like the loss, it leaves out targets that the model can
    never predict (`IMPOSSIBLE_LOG_PROB`); infinite if it can predict none.
    """
    world = run.device_context.world
    scores = []
    for batch in islice(batches, world.rank, None, world.world_size):
        log_probs = model.score(batch.to(run.device_context.device))  # (B, T)
        is_impossible, num_targets = (log_probs == IMPOSSIBLE_LOG_PROB).any(1), batch.num_targets
        if is_impossible.any():
            log_probs = log_probs[~is_impossible]
            num_targets -= int((batch.tgt_out != IGNORE).sum(1)[is_impossible.cpu()].sum())
        scores.append((float(log_probs.sum(dtype=torch.float64)), num_targets))
    nll, tokens = 0.0, 0
    for score, count in world.unshard(scores):
        nll, tokens = nll - score, tokens + count
    return nll_per_tgt_token(nll, tokens) if tokens else math.inf


def warn_of_word_metric(metric: str | None, references: list[str]) -> None:
    """Warn if the metric that selects checkpoints needs spaces between words, and the references have none."""
    advice = word_metric_advice(str(metric), references[:MAX_SAMPLED_REFERENCES])
    if advice:
        logger.warning("The validation texts %s (`training.valid_metric`)", advice)


def warn_of_unseen(valid: EncodedCorpus, text: RaggedArray, find: Callable[[str], list[str]], message: str) -> None:
    """Warn of items of the validation set, such as labels, that the training data lack; name their files and lines.

    Args:
        valid: the validation set, for locations.
        text: its lines.
        find: returns the unseen items of a line.
        message: the warning, with %r for the item.
    """
    locations_by_item: dict[str, list[str]] = {}
    for index, line in enumerate(text.texts()):
        for item in dict.fromkeys(find(line)):
            locations_by_item.setdefault(item, []).append(valid.locate(index))
    for item, locations in islice(locations_by_item.items(), MAX_ITEMS_SHOWN):
        more = f" and {len(locations) - MAX_LOCATIONS_SHOWN} more" if len(locations) > MAX_LOCATIONS_SHOWN else ""
        logger.warning(f"{message}: %s%s.", item, "; ".join(locations[:MAX_LOCATIONS_SHOWN]), more)
    if len(locations_by_item) > MAX_ITEMS_SHOWN:
        more_items = len(locations_by_item) - MAX_ITEMS_SHOWN
        logger.warning(
            "%d more items are not in the training data: check the columns of the validation set.", more_items
        )
