"""Worker for training `PlainGpt` in a plain loop."""

from pathlib import Path

import torch

from benchmarks.lm_records import LmTrainingJob
from benchmarks.records import Json
from benchmarks.workers.lm_loop import LmWorkload, train
from benchmarks.workers.lm_weights import plain_gpt_weights
from benchmarks.workers.plain_gpt import PlainGpt


def run(job: Json) -> Json:
    """Run an `LmTrainingJob`; `is_typical` adds dropout of attention weights, as in nanoGPT."""
    settings = LmTrainingJob(**job)
    torch.set_num_threads(settings.threads)
    workload = LmWorkload.read(Path(settings.workload), count=settings.steps)
    attention_dropout = settings.dropout if settings.is_typical else 0.0
    model = PlainGpt(workload.shape, workload.vocab_size, settings.dropout, attention_dropout)
    model.load_state_dict(plain_gpt_weights(workload.weights))
    return train(model, lambda ids, _: (model(ids), None), workload, settings)
