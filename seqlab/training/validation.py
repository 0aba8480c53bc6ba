"""Validation: the loss of the references, and metrics of what the model decodes."""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor

from seqlab.data.sampler import ordered_batches
from seqlab.evaluation import evaluate, nll_per_tgt_token
from seqlab.models import Transformer
from seqlab.search import beam_search
from seqlab.training.state import TrainingRun

DECODED_METRICS = ("bleu", "chrf", "exact_match")
DECODE_TOKENS = 4096  # padded source tokens decoded together


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
    with torch.inference_mode(), run.machine.autocast():
        nll, tokens = 0.0, 0
        for batch in ordered_batches(run.data.valid, run.config.data.micro_batch_tokens, run.tgt_tokenizer):
            nll -= float(model.score(batch.to(run.machine.device)).sum(dtype=torch.float64))
            tokens += batch.num_tgt_tokens
        hypotheses = _decode(run, model)
    assert run.data.valid.tgt_text is not None, "validation pairs are cached with their text"
    references = run.data.valid.tgt_text.texts()
    scores = evaluate(hypotheses, [references], DECODED_METRICS)
    return Validation({name: score.value for name, score in scores.items()}, nll_per_tgt_token(nll, tokens))


def _decode(run: TrainingRun, model: Transformer) -> list[str]:
    tokenizer = run.tgt_tokenizer
    rows: dict[int, list[int]] = {}
    for batch in ordered_batches(run.data.valid, DECODE_TOKENS, tokenizer):
        found = beam_search(
            model,
            batch.to(run.machine.device),
            run.config.training.valid_search,
            banned_ids=(tokenizer.pad_id, tokenizer.bos_id),
        )
        rows |= {index: best[0].ids for index, best in zip(batch.indices.tolist(), found, strict=True)}
    return tokenizer.decode([rows[index] for index in range(len(rows))])


