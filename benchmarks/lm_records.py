"""Jobs and results of the workers that measure language models, as JSON."""

from dataclasses import dataclass

from benchmarks.records import Dtype


@dataclass(frozen=True)
class LmTrainingJob:
    """Training updates from given weights on given blocks of text."""

    workload: str
    """Folder written by `prepare_lm`."""
    dtype: Dtype
    dropout: float
    is_typical: bool
    """Whether a system other than seqlab uses its typical settings, not the common ones; see the workers."""
    steps: int
    threads: int
    device: str
    profiled: int = 0
    """Number of last steps that are profiled; the times of a profiled job are not reported."""
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
    """Shares of the time of the profiled steps by type of operation; empty without profiled steps."""


@dataclass(frozen=True)
class LmGenerationJob:
    """Rows of text to sample, or to decode greedily."""

    workload: str
    dtype: Dtype
    method: str
    """Generation method of the worker."""
    rows: int
    length: int
    """Characters of each row, generated after a newline."""
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
