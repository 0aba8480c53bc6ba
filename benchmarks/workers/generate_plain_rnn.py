"""Worker for generation with `torch.nn.LSTM` or `torch.nn.GRU`, step by step, as layers or as cells."""

from pathlib import Path

import torch

from benchmarks.lm_records import LmGenerationJob
from benchmarks.records import Json
from benchmarks.workers.generation_loop import Generate, choose, measure, texts_of
from benchmarks.workers.lm_loop import DTYPES, LmWorkload
from benchmarks.workers.lm_weights import cell_weights, rnn_weights
from benchmarks.workers.plain_rnn import PlainCells, PlainRnn


def run(job: Json) -> Json:
    """Run an `LmGenerationJob`; the method is `layers` or `cells`."""
    return measure(_load, job)


def _load(job: LmGenerationJob) -> Generate:
    workload = LmWorkload.read(Path(job.workload), "trained")
    model: PlainRnn | PlainCells
    if job.method == "cells":
        model = PlainCells(workload.shape, workload.vocab_size)
        model.load_state_dict(cell_weights(workload.weights, workload.shape.family))
    else:
        model = PlainRnn(workload.shape, workload.vocab_size)
        model.load_state_dict(rnn_weights(workload.weights, workload.shape.family))
    model.to(device=job.device, dtype=DTYPES[job.dtype]).eval()

    @torch.inference_mode()
    def generate(rows: int, length: int) -> list[str]:
        last = torch.full((rows, 1), workload.start_id, device=job.device)
        found, state = [last], None
        for _ in range(length):
            logits, state = model(last, state)
            last = choose(logits[:, -1], job.greedy)
            found.append(last)
        return texts_of(torch.cat(found, dim=1), workload.characters)

    return generate
