"""Jobs and results of the workers that measure language models, as JSON."""

from dataclasses import dataclass

from benchmarks.records import Dtype


@dataclass(frozen=True)
class LmTrainingJob:
    """Updates from given weights over given blocks of text."""

    workload: str
    """The folder that `prepare_lm` made."""
    dtype: Dtype
    dropout: float
    usual: bool
    """Whether a peer is as people run it rather than the same work: see `SYSTEMS` in `lm_training`."""
    steps: int
    threads: int
    device: str
    profiled: int = 0
    """How many of the steps, the last ones, a profiler watches; their times are no figures then."""
    compiled: bool = False
    """Whether seqlab compiles the model."""


@dataclass(frozen=True)
class LmTrainingResult:
    """Measurements by step."""

    seconds: list[float]
    losses: list[float]
    """In nats per token."""
    peak_memory_mb: float
    """Peak resident set of the process; on a GPU, the peak memory allocated by torch."""
    shares: dict[str, float]
    """Where the time of the profiled steps went; empty without any."""


@dataclass(frozen=True)
class LmGenerationJob:
    """Rows of text to sample, or with `greedy` to decode greedily."""

    workload: str
    dtype: Dtype
    way: str
    """One of the worker's own ways to generate."""
    rows: int
    length: int
    """Characters of each row; they follow a newline, which is what a text begins with."""
    greedy: bool
    seed: int
    threads: int
    device: str


@dataclass(frozen=True)
class LmGenerationResult:
    """Measurements of one worker process."""

    seconds: float
    texts: list[str]
    peak_memory_mb: float
