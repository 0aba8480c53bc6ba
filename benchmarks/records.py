"""What goes to a measuring process and what comes back, as JSON."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class TrainingJob:
    """Some updates from given weights over given batches."""

    workload: str
    """The folder that `prepare_training` made."""
    micro_batch_tokens: int
    dtype: str
    """`fp32` or `bf16`: the dtype of matrix products; weights are fp32."""
    dropout: float
    steps: int
    threads: int
    device: str


@dataclass(frozen=True)
class TrainingResult:
    """One number for each step."""

    seconds: list[float]
    losses: list[float]
    """Smoothed cross entropy in nats per target token."""
    src_padding: list[float]
    """Share of the source tensors that is padding."""
    tgt_padding: list[float]
    peak_memory_mb: float
    """Largest resident set of the process; on a GPU, the largest amount that torch had allocated there."""


class Unavailable(Exception):
    """A system cannot be measured: it is not installed, or cannot do what is asked; the message says which."""


Json = dict[str, Any]
