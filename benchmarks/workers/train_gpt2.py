"""Worker for training `transformers.GPT2LMHeadModel` in a plain loop."""

from pathlib import Path

import torch

from benchmarks.lm_records import LmTrainingJob
from benchmarks.records import Json
from benchmarks.workers.gpt2 import build_gpt2
from benchmarks.workers.lm_loop import LmWorkload, train

TYPICAL_ACTIVATION = "gelu_new"
"""The approximation of GELU in GPT-2, the default of its config."""


def run(job: Json) -> Json:
    """Run an `LmTrainingJob`; `is_typical` adds dropout of attention weights and GPT-2's approximation of GELU."""
    settings = LmTrainingJob(**job)
    torch.set_num_threads(settings.threads)
    workload = LmWorkload.read(Path(settings.workload), count=settings.steps)
    shared = (workload.shape, workload.vocab_size, workload.weights, settings.dropout)
    if settings.is_typical:
        model = build_gpt2(*shared, settings.dropout, activation_function=TYPICAL_ACTIVATION)
    else:
        model = build_gpt2(*shared)
    return train(model, lambda ids, _: (model(input_ids=ids, use_cache=False).logits, None), workload, settings)
