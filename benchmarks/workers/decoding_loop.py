"""Timing of text-to-text decoding with any system: loading, warmup and timed part are the same for all."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.records import DecodingJob, DecodingResult, Json
from benchmarks.workers.memory import TreeMemory, peak_memory_mb
from seqlab.search.config import SearchConfig

LENGTH_LIMIT: dict[str, Any] = {"max_length_ratio": 2.0, "max_length_offset": 10}
"""Limit of the output length, the same for all systems."""


@dataclass(frozen=True)
class Output:
    """Translation of one line."""

    text: str
    tokens: int
    """Output tokens, including the end of sentence."""


Translate = Callable[[Sequence[str], int], list[Output]]
"""Function (lines, batch size) -> outputs in the order of the lines."""


def measure(load: Callable[[DecodingJob], Translate], job: Json) -> Json:
    """Load a system, then time it on the same lines with each batch size."""
    settings = DecodingJob(**job)
    translate = load(settings)
    load_seconds = time.time() - settings.started
    translate(settings.lines[: settings.warmup_lines], settings.batches[0])
    seconds = []
    with TreeMemory() as memory:
        for batch in settings.batches:
            started = time.perf_counter()
            outputs = translate(settings.lines, batch)
            seconds.append(time.perf_counter() - started)
    return asdict(
        DecodingResult(
            load_seconds=load_seconds,
            seconds=seconds,
            hypotheses=[output.text for output in outputs],
            tgt_tokens=[output.tokens for output in outputs],
            peak_memory_mb=peak_memory_mb(settings.device) + memory.others_mb,
        )
    )


def sorted_batches(rows: Sequence[Sequence[int]], size: int) -> Iterator[list[int]]:
    """Yield batches of `size` indices, longest row first."""
    order = sorted(range(len(rows)), key=lambda index: -len(rows[index]))
    for start in range(0, len(order), size):
        yield order[start : start + size]


def length_limit(src_tokens: int) -> int:
    """Return the maximum number of tokens of a translation; both lengths include the end of sentence."""
    return SearchConfig(**LENGTH_LIMIT).max_length_for(src_tokens)
