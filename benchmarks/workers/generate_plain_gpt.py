"""Worker for generation with `PlainGpt`, without a cache, as nanoGPT does, and with a KV cache."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.lm_records import LmGenerationJob
from benchmarks.records import Json
from benchmarks.workers.generation_loop import Generate, choose, measure, texts_of
from benchmarks.workers.lm_loop import DTYPES, LmWorkload
from benchmarks.workers.lm_weights import plain_gpt_weights
from benchmarks.workers.plain_gpt import PlainGpt


def run(job: Json) -> Json:
    """Run an `LmGenerationJob` with one of `METHODS`."""
    return measure(_load, job)


def generate_without_cache(model: PlainGpt, ids: Tensor, length: int, greedy: bool) -> Tensor:
    """Generate without a cache, as nanoGPT does: read the last `block_length` ids again for each new id."""
    for _ in range(length):
        logits = model(ids[:, -model.shape.block_length :], last_only=True)
        ids = torch.cat([ids, choose(logits[:, -1], greedy)], dim=1)
    return ids


def generate_with_cache(model: PlainGpt, ids: Tensor, length: int, greedy: bool) -> Tensor:
    """Generate with a KV cache: read only the last id; prompt and text must fit into the block."""
    caches = model.start(len(ids))
    found, last = [ids], ids
    for _ in range(length):
        last = choose(model(last, caches, last_only=True)[:, -1], greedy)
        found.append(last)
    return torch.cat(found, dim=1)


METHODS: dict[str, Callable[[PlainGpt, Tensor, int, bool], Tensor]] = {
    "without_cache": generate_without_cache,
    "with_cache": generate_with_cache,
}


def _load(job: LmGenerationJob) -> Generate:
    workload = LmWorkload.read(Path(job.workload), "trained")
    model = PlainGpt(workload.shape, workload.vocab_size)
    model.load_state_dict(plain_gpt_weights(workload.weights))
    model.to(device=job.device, dtype=DTYPES[job.dtype]).eval()

    @torch.inference_mode()
    def generate(rows: int, length: int) -> list[str]:
        start = torch.full((rows, 1), workload.start_id, device=job.device)
        return texts_of(METHODS[job.method](model, start, length, job.greedy), workload.characters)

    return generate
