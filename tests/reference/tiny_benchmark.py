"""Tiny sizes for benchmarks, and benchmark workers called in this process."""

import importlib
import json
from collections.abc import Mapping

from benchmarks.records import Json
from benchmarks.scale import ModelSizes, Scale

TINY = Scale(
    corpus="number_words",
    model=ModelSizes(400, d_model=16, d_ff=32, num_heads=2, num_encoder_layers=1, num_decoder_layers=1),
    batch_tokens=200,
    micro_batch_tokens=(100,),
    steps=2,
    warmup_steps=1,
    repetitions=2,
)


def call_worker(name: str, job: Json, threads: int, environment: Mapping[str, str] | None = None) -> Json:
    """Run a worker as `run_worker` does, with JSON input and output, but without a separate process."""
    worker = importlib.import_module(f"benchmarks.workers.{name}")
    found: Json = json.loads(json.dumps(worker.run(json.loads(json.dumps(job)))))
    return found
