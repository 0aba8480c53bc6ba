"""Worker for training `torch.nn.LSTM` or `torch.nn.GRU` in a plain loop with truncated BPTT."""

from pathlib import Path

import torch

from benchmarks.lm_records import LmTrainingJob
from benchmarks.records import Json
from benchmarks.workers.lm_loop import LmWorkload, train
from benchmarks.workers.lm_weights import rnn_weights
from benchmarks.workers.plain_rnn import PlainRnn


def run(job: Json) -> Json:
    """Run an `LmTrainingJob`."""
    settings = LmTrainingJob(**job)
    torch.set_num_threads(settings.threads)
    workload = LmWorkload.read(Path(settings.workload), count=settings.steps)
    model = PlainRnn(workload.shape, workload.vocab_size, settings.dropout)
    model.load_state_dict(rnn_weights(workload.weights, workload.shape.family))
    return train(model, forward=model, workload=workload, job=settings)
