"""Worker that measures the time of each stage of a translation, line by line."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import torch

from benchmarks.records import Json, TradeoffJob
from benchmarks.workers.tradeoff import WARMUP_LINES, one_by_one, open_run
from seqlab.inference.engine import Engine
from seqlab.inference.rescoring import RescoringEngine
from seqlab.inference.torch_engine import TorchEngine
from seqlab.models.transformer_ctc import TransformerCtc
from seqlab.models.transformer_nat import TransformerNat
from seqlab.tasks.translation.run import Run

SEARCH = "search"
"""Stage that receives all remaining time."""
TimedMethod = tuple[Any, str, str]
"""An object, the name of one of its methods, and the stage of that method."""


def run(job: Json) -> Json:
    """Run a `TradeoffJob` without batches; return the milliseconds per line of each stage."""
    settings = TradeoffJob(**job)
    translator, search = open_run(settings)
    one_by_one(translator, settings.lines[:WARMUP_LINES], search)
    stages = Stages(is_on_gpu=settings.device.startswith("cuda"))
    for owner, method, stage in timed_methods(translator):
        stages.watch(owner, method, stage)
    stages.watch(translator, "translate", SEARCH)
    one_by_one(translator, settings.lines, search)
    return {"milliseconds": {name: 1000 * each / len(settings.lines) for name, each in stages.seconds.items()}}


class Stages:
    """Seconds by stage; calls of other watched methods within a stage do not count."""

    def __init__(self, *, is_on_gpu: bool) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._now: Callable[[], float] = _synchronized_time if is_on_gpu else time.perf_counter
        self._nested_seconds: list[float] = []

    def watch(self, owner: Any, method: str, stage: str) -> None:
        """Add the time that an object spends in a method to a stage."""
        call = getattr(owner, method)

        def timed(*args: Any, **options: Any) -> Any:
            started = self._now()
            self._nested_seconds.append(0.0)
            result = call(*args, **options)
            elapsed = self._now() - started
            self.seconds[stage] += elapsed - self._nested_seconds.pop()
            if self._nested_seconds:
                self._nested_seconds[-1] += elapsed
            return result

        object.__setattr__(owner, method, timed)  # some classes are frozen dataclasses


def _synchronized_time() -> float:
    torch.cuda.synchronize()
    return time.perf_counter()


def timed_methods(translator: Run) -> Iterator[TimedMethod]:
    """List the timed methods of a run; all other time belongs to the search."""
    for tokenizer, method in ((translator.src_tokenizer, "encode"), (translator.tgt_tokenizer, "decode")):
        yield tokenizer, method, "tokenizer"
    engine: Engine = translator.engine
    if isinstance(engine, RescoringEngine):
        yield engine.scorer, "score", "rescoring"
        engine = engine.engine
    assert isinstance(engine, TorchEngine)
    for member in engine.members:
        yield from _timed_methods_of_model(member.model)
    if engine.lm is not None:
        lm = engine.lm.lm
        yield from ((lm, name, "language model") for name in ("start", "step", "read") if hasattr(lm, name))


def _timed_methods_of_model(model: Any) -> Iterator[TimedMethod]:
    if isinstance(model, TransformerCtc | TransformerNat):
        yield from ((model.decoder, "encode", "encoder"), (model.decoder, "forward", "decoder"))
    else:
        yield from ((model, "start", "encoder"), (model, "step", "decoder"))
    if hasattr(model, "projection"):
        yield from ((model.projection, name, "projection") for name in ("forward", "log_probs"))
