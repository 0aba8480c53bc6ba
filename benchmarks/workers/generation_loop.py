"""Timing of text generation with any system: loading, warmup and timed part are the same for all."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict

import torch
from torch import Tensor

from benchmarks.lm_records import LmGenerationJob, LmGenerationResult
from benchmarks.records import Json
from benchmarks.workers.memory import peak_memory_mb

WARMUP_LENGTH = 16

Generate = Callable[[int, int], list[str]]
"""Function (rows, length) -> a text of `length` characters per row, generated after a newline."""


def measure(load: Callable[[LmGenerationJob], Generate], job: Json) -> Json:
    """Load a system, warm it up, then time the generation of all rows as Python strings."""
    settings = LmGenerationJob(**job)
    torch.set_num_threads(settings.threads)
    torch.manual_seed(settings.seed)
    generate = load(settings)
    generate(settings.rows, min(WARMUP_LENGTH, settings.length))
    started = time.perf_counter()
    texts = generate(settings.rows, settings.length)
    seconds = time.perf_counter() - started
    return asdict(LmGenerationResult(seconds, texts, peak_memory_mb(settings.device)))


def choose(logits: Tensor, greedy: bool) -> Tensor:
    """Sample the next id of each row, or take the most probable one: logits (B, V) -> (B, 1)."""
    if greedy:
        return logits.argmax(dim=-1, keepdim=True)
    return torch.multinomial(torch.softmax(logits.float(), dim=-1), num_samples=1)


def texts_of(ids: Tensor, characters: Sequence[str]) -> list[str]:
    """Convert ids (B, T) to the text of each row, without its first id."""
    return ["".join([characters[index] for index in row]) for row in ids[:, 1:].tolist()]
