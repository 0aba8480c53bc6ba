"""Validation: the loss of the references, and metrics of what the model decodes; each rank does its part."""

from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor

from seqlab.data.sampler import ordered_batches
from seqlab.evaluation import evaluate, nll_per_tgt_token
from seqlab.inference.decode import decode_text
from seqlab.models import Transformer
from seqlab.nn.precision import cast_products
from seqlab.runs.build import build_model
from seqlab.runs.load import copy_weights
from seqlab.training.state import TrainingRun
from seqlab.world import OnRows

DECODED_METRICS = ("bleu", "chrf", "exact_match")


@dataclass(frozen=True)
class Validation:
    """What one validation found; `scores` maps a metric's name to its value."""

    scores: dict[str, float]
    nll: float  # nats per target token

    def score(self, metric: str) -> float:
        """Give the figure that checkpoints are ranked by; higher is better."""
        return -self.nll if metric == "nll" else self.scores[metric]


def validate(run: TrainingRun, weights: dict[str, Tensor]) -> Validation:
    """Score and decode the validation set with some weights; training's model and generators are left alone."""
    model = _inference_model(run, weights)
    nll = _nll(run, model)
    src_rows = [run.data.valid.src[index] for index in range(len(run.data.valid))]
    search = run.config.training.valid_search.limited_to(run.config.model.max_length)

    def decode(own: list[int], on_rows: OnRows | None) -> list[str]:
        return decode_text(model, [src_rows[i] for i in own], search, run.tgt_tokenizer, device=run.machine.device)

    hypotheses = run.machine.world.spread([len(row) for row in src_rows], decode)
    assert run.data.valid.tgt_text is not None, "validation pairs are cached with their text"
    references = run.data.valid.tgt_text.texts()
    scores = evaluate(hypotheses, [references], DECODED_METRICS)
    return Validation({name: score.value for name, score in scores.items()}, nll)


def _inference_model(run: TrainingRun, weights: dict[str, Tensor]) -> Transformer:
    """Build a model of its own with some weights: training's may be divided among the ranks."""
    with torch.random.fork_rng(devices=[]):
        model = build_model(run.config.model, run.src_tokenizer, run.tgt_tokenizer).eval()
    copy_weights(model, weights, run.folder.path)
    cast_products(model, run.machine.dtype)
    return model.to(run.machine.device)


@torch.inference_mode()
def _nll(run: TrainingRun, model: Transformer) -> float:
    """Score the references: nats per target token, summed in the same order however many ranks there are."""
    world = run.machine.world
    batches = ordered_batches(run.data.valid, run.config.data.micro_batch_tokens, run.tgt_tokenizer)
    found = []
    for batch in islice(batches, world.rank, None, world.world_size):
        score = float(model.score(batch.to(run.machine.device)).sum(dtype=torch.float64))
        found.append((score, batch.num_tgt_tokens))
    nll, tokens = 0.0, 0
    for score, count in world.collect(found):
        nll, tokens = nll - score, tokens + count
    return nll_per_tgt_token(nll, tokens)
