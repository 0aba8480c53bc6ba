"""Worker that times the translation of lines by a run, one by one or with each batch size, in one process."""

import time
from collections.abc import Callable

from torch import nn

from benchmarks.records import HELPER_RUN_FIELDS, LM_FIELDS, Json, TradeoffJob
from seqlab.models import NgramModel
from seqlab.nn.precision import choose_device, choose_dtype
from seqlab.runs.load import load_run
from seqlab.tasks.translation.load_with_torch import load_with_torch as load
from seqlab.tasks.translation.run import Run

WARMUP_LINES = 16


def run(job: Json) -> Json:
    """Run a `TradeoffJob`."""
    settings = TradeoffJob(**job)
    translator, search = open_run(settings)
    one_by_one(translator, settings.lines[:WARMUP_LINES], search)
    seconds, hypotheses = [], []
    for translate in timed_calls(translator, settings, search):
        started = time.perf_counter()
        hypotheses = translate()
        seconds.append(time.perf_counter() - started)
    folders = [settings.run, *(settings.search[name] for name in HELPER_RUN_FIELDS if name in settings.search)]
    models = [load_run(folder).model for folder in folders]
    dtype = choose_dtype(settings.precision, choose_device(settings.device))
    return {
        "seconds": seconds,
        "hypotheses": hypotheses,
        "parameters": sum(_size(model) for model in models),
        "dtype": {"bfloat16": "bf16", "float32": "fp32"}[str(dtype).removeprefix("torch.")],
    }


def open_run(settings: TradeoffJob) -> tuple[Run, Json]:
    """Load the run with its helper runs; return it with the fields of its search."""
    options = {name: settings.search[name] for name in (*HELPER_RUN_FIELDS, *LM_FIELDS) if name in settings.search}
    search = {name: value for name, value in settings.search.items() if name not in options}
    processes = None if settings.batches else 1
    translator = load(
        settings.run, device=settings.device, precision=settings.precision, processes=processes, **options
    )
    return translator, search


def _size(model: nn.Module) -> int:
    """Return the number of parameters, or of n-grams of an n-gram model."""
    if isinstance(model, NgramModel):
        return sum(len(level.keys) for level in model.trie)
    return sum(each.numel() for each in model.parameters())


def one_by_one(translator: Run, lines: list[str], search: Json) -> list[str]:
    """Translate each line in a separate call."""
    return [text for line in lines for text in translator.translate([line], **search)]


def timed_calls(translator: Run, settings: TradeoffJob, search: Json) -> list[Callable[[], list[str]]]:
    """Return the functions to time: all lines with each batch size, or one by one if there is none."""
    if not settings.batches:
        return [lambda: one_by_one(translator, settings.lines, search)]

    def in_batches(size: int) -> Callable[[], list[str]]:
        return lambda: translator.translate(settings.lines, batch_tokens=size, **search)

    return [in_batches(size) for size in settings.batches]
