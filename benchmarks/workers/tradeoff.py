"""A run with a search of its own, in one process: seconds for the same lines with each batch size."""

import time

from benchmarks.records import Json, TradeoffJob
from seqlab.inference.torch_engine import load
from seqlab.runs.load import load_run

WARMUP_LINES = 16


def run(job: Json) -> Json:
    """Run a `TradeoffJob`."""
    settings = TradeoffJob(**job)
    search = dict(settings.search)
    judge = search.pop("rescore", ())
    trained = load(settings.run, device=settings.device, precision=settings.precision, rescore=judge)

    def translate(lines: list[str], batch: int) -> list[str]:
        return trained.translate(lines, batch_tokens=batch, **search)

    translate(settings.lines[:WARMUP_LINES], settings.batches[0])
    seconds = []
    for batch in settings.batches:
        started = time.perf_counter()
        hypotheses = translate(settings.lines, batch)
        seconds.append(time.perf_counter() - started)
    parameters = sum(each.numel() for each in load_run(settings.run).model.parameters())
    return {"seconds": seconds, "hypotheses": hypotheses, "parameters": parameters}
