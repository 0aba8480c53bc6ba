"""A run with a search of its own, in one process: seconds for the same lines, one by one or with each batch size."""

import time
from collections.abc import Callable

from benchmarks.records import Json, TradeoffJob
from seqlab.inference.run import Run
from seqlab.inference.torch_engine import load
from seqlab.models import Model, NgramModel
from seqlab.nn.precision import choose_device, choose_dtype
from seqlab.runs.load import load_run

WARMUP_LINES = 16


def run(job: Json) -> Json:
    """Run a `TradeoffJob`."""
    settings = TradeoffJob(**job)
    search = dict(settings.search)
    judge, lm = search.pop("rescore", None), search.pop("lm", None)
    weights = {name: search.pop(name) for name in ("lm_weight", "length_reward") if name in search}
    trained = load(
        settings.run,
        device=settings.device,
        precision=settings.precision,
        rescore=judge or (),
        lm=lm,
        **weights,
        processes=None if settings.batches else 1,
    )
    one_by_one(trained, settings.lines[:WARMUP_LINES], search)
    seconds, hypotheses = [], []
    for translate in ways(trained, settings, search):
        started = time.perf_counter()
        hypotheses = translate()
        seconds.append(time.perf_counter() - started)
    models = [load_run(path).model for path in (settings.run, judge, lm) if path]
    dtype = choose_dtype(settings.precision, choose_device(settings.device))
    return {
        "seconds": seconds,
        "hypotheses": hypotheses,
        "parameters": sum(_size(model) for model in models),
        "dtype": {"bfloat16": "bf16", "float32": "fp32"}[str(dtype).removeprefix("torch.")],
    }


def _size(model: Model) -> int:
    """Count parameters; of a model of counts, which has none, its n-grams."""
    if isinstance(model, NgramModel):
        return sum(len(level.keys) for level in model.trie)
    return sum(each.numel() for each in model.parameters())


def one_by_one(trained: Run, lines: list[str], search: Json) -> list[str]:
    """Translate lines as they come."""
    return [text for line in lines for text in trained.translate([line], **search)]


def ways(trained: Run, settings: TradeoffJob, search: Json) -> list[Callable[[], list[str]]]:
    """Give what is timed: all lines with each batch size, or one by one where there is none."""
    if not settings.batches:
        return [lambda: one_by_one(trained, settings.lines, search)]

    def in_batches(size: int) -> Callable[[], list[str]]:
        return lambda: trained.translate(settings.lines, batch_tokens=size, **search)

    return [in_batches(size) for size in settings.batches]
