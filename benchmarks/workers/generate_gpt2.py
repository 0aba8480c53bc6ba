"""Worker for generation with `transformers.GPT2LMHeadModel.generate`, with its KV cache."""

from pathlib import Path

import torch

from benchmarks.lm_records import LmGenerationJob
from benchmarks.records import Json
from benchmarks.workers.generation_loop import Generate, measure, texts_of
from benchmarks.workers.gpt2 import build_gpt2
from benchmarks.workers.lm_loop import DTYPES, LmWorkload


def run(job: Json) -> Json:
    """Run an `LmGenerationJob`; `method` is not used."""
    return measure(_load, job)


def _load(job: LmGenerationJob) -> Generate:
    workload = LmWorkload.read(Path(job.workload), "trained")
    model = build_gpt2(workload.shape, workload.vocab_size, workload.weights)
    model.to(device=job.device, dtype=DTYPES[job.dtype]).eval()

    @torch.inference_mode()
    def generate(rows: int, length: int) -> list[str]:
        start = torch.full((rows, 1), workload.start_id, device=job.device)
        ids = model.generate(
            input_ids=start,
            attention_mask=torch.ones_like(start),
            do_sample=not job.greedy,
            top_k=None if job.greedy else 0,  # no truncation
            max_new_tokens=length,
            use_cache=True,
        )
        return texts_of(ids, workload.characters)

    return generate
