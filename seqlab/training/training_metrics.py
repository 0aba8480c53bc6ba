"""Training metrics since the last log line; checkpoints store them, so that a resumed run logs the same line."""

from dataclasses import asdict, dataclass, field
from typing import Any

from seqlab.data.batch import Batch
from seqlab.data.step import TrainingStep
from seqlab.training.update import Update

UNITS_PER_SECOND = "units_per_second"
"""Units of the loss per second: the metric of speed for data without tokens."""


@dataclass
class TrainingMetrics:
    """Sums over steps for the next training line of metrics.jsonl."""

    total: float = 0.0
    count: float = 0.0
    logs: dict[str, float] = field(default_factory=dict)
    log_counts: dict[str, float] = field(default_factory=dict)
    """For each log, the number of units of the micro-steps that have it."""
    src_tokens: int = 0
    tgt_tokens: int = 0
    padded_src_tokens: int = 0
    padded_tgt_tokens: int = 0
    grad_norm: float = 0.0
    steps: int = 0
    seconds: float = 0.0
    """Duration of the steps, including the wait for data, without validations and checkpoints."""
    epoch: float = 0.0
    """Number of passes over the data after the last step."""
    lr: float = 0.0
    """Learning rate of the last step."""

    def __post_init__(self) -> None:
        """Complete the metrics of a checkpoint of an older version, which divided all logs by the same count."""
        self.log_counts = dict.fromkeys(self.logs, self.count) | self.log_counts

    def add(self, data: TrainingStep[Batch], done: Update, lr: float) -> None:
        """Add a step with its learning rate."""
        self.epoch, self.lr = data.epoch, lr
        self.total += done.total
        self.count += done.count
        for name, value in done.logs.items():
            self.logs[name] = self.logs.get(name, 0.0) + value
            self.log_counts[name] = self.log_counts.get(name, 0.0) + done.log_counts[name]
        self.src_tokens += data.num_src_tokens
        self.tgt_tokens += data.num_tgt_tokens
        self.padded_src_tokens += data.padded_src_tokens
        self.padded_tgt_tokens += data.padded_tgt_tokens
        self.grad_norm += done.grad_norm
        self.steps += 1

    def per_unit(self) -> dict[str, float]:
        """Return the metrics per unit of the loss, per step, per second and per padded token.

        A log is divided by the units of the micro-steps that have it, and a sum over no unit is 0.
        """
        seconds = max(self.seconds, 1e-9)
        speed = {"tgt_tokens_per_second": self.tgt_tokens / seconds}
        if not self.padded_tgt_tokens:
            speed = {UNITS_PER_SECOND: self.count / seconds}
        source = {"src_padding": 1 - self.src_tokens / self.padded_src_tokens} if self.padded_src_tokens else {}
        target = {"tgt_padding": 1 - self.tgt_tokens / self.padded_tgt_tokens} if self.padded_tgt_tokens else {}
        return {
            "loss": self.total / max(self.count, 1.0),
            **{name: value / max(self.log_counts[name], 1.0) for name, value in self.logs.items()},
            "grad_norm": self.grad_norm / self.steps,
            **speed,
            **source,
            **target,
        }

    def to_json(self) -> dict[str, Any]:
        """Return the sums, for a checkpoint."""
        return asdict(self)
