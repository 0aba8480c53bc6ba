"""Worker for training `PlainTranslator` in a plain loop."""

from pathlib import Path

import torch

from benchmarks.records import Json, TrainingJob
from benchmarks.scale import recurrent_sizes
from benchmarks.workers.plain_loop import Workload, train
from benchmarks.workers.plain_translator import PlainTranslator
from benchmarks.workers.weights import plain_translator_weights


def run(job: Json) -> Json:
    """Run a `TrainingJob`."""
    settings = TrainingJob(**job)
    torch.set_num_threads(settings.threads)
    workload = Workload.read(Path(settings.workload), settings.micro_batch_tokens, settings.steps)
    sizes = recurrent_sizes(workload.sizes)
    model = PlainTranslator(sizes, settings.dropout, stepwise=sizes.input_feeding)
    model.load_state_dict(plain_translator_weights(workload.weights, stepwise=sizes.input_feeding))
    return train(model, model, workload, settings)
