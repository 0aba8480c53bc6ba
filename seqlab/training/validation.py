"""Validation: the loss of the references, and metrics of what the model decodes."""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor

from seqlab.data.sampler import ordered_batches
from seqlab.evaluation import evaluate, nll_per_tgt_token
from seqlab.inference.decode import decode_text
from seqlab.nn.precision import cast_products
from seqlab.training.state import TrainingRun

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
    model = copy.deepcopy(run.model).eval()
    for name, parameter in model.named_parameters():
        parameter.data.copy_(weights[name])
    cast_products(model, run.machine.dtype)
    with torch.inference_mode():
        nll, tokens = 0.0, 0
        for batch in ordered_batches(run.data.valid, run.config.data.micro_batch_tokens, run.tgt_tokenizer):
            nll -= float(model.score(batch.to(run.machine.device)).sum(dtype=torch.float64))
            tokens += batch.num_tgt_tokens
        src_rows = [run.data.valid.src[index] for index in range(len(run.data.valid))]
        search = run.config.training.valid_search.limited_to(run.config.model.max_length)
        hypotheses = decode_text(model, src_rows, search, run.tgt_tokenizer, device=run.machine.device)
    assert run.data.valid.tgt_text is not None, "validation pairs are cached with their text"
    references = run.data.valid.tgt_text.texts()
    scores = evaluate(hypotheses, [references], DECODED_METRICS)
    return Validation({name: score.value for name, score in scores.items()}, nll_per_tgt_token(nll, tokens))
