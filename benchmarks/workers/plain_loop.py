"""Plain PyTorch training loop for translators: autocast, loss, backward, clipping, Adam."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from benchmarks.records import Json, TrainingJob, TrainingResult
from benchmarks.scale import Sizes, sizes_from_json
from benchmarks.workers.memory import peak_memory_mb

BETAS, EPS, MAX_GRAD_NORM = (0.9, 0.98), 1e-8, 1.0
"""Settings of Adam and clipping, the same as in `seqlab_runs`."""

Batch = dict[str, Tensor]
"""Tensors by name: padded ids src (B, S) and tgt_in (B, T), src_lengths (B,), tgt_out (B, T) with -100 at padding."""


@dataclass(frozen=True)
class Workload:
    """Workload written by `prepare_training`."""

    sizes: Sizes
    pad_id: int
    bos_id: int
    eos_id: int
    label_smoothing: float
    lrs: list[float]
    weights: Mapping[str, Tensor]
    steps: list[list[Batch]]

    @classmethod
    def read(cls, folder: Path, micro_batch_tokens: int, count: int) -> "Workload":
        """Read the weights and the first `count` updates."""
        shared = json.loads((folder / "workload.json").read_text(encoding="utf-8"))
        steps: dict[str, dict[str, Batch]] = {}
        for name, value in sorted(load_file(folder / f"batches-{micro_batch_tokens}.safetensors").items()):
            step, micro_step, part = name.split(".")
            steps.setdefault(step, {}).setdefault(micro_step, {})[part] = value
        return cls(
            sizes=sizes_from_json(shared["sizes"]),
            pad_id=shared["pad_id"],
            bos_id=shared["bos_id"],
            eos_id=shared["eos_id"],
            label_smoothing=shared["label_smoothing"],
            lrs=shared["lrs"],
            weights=load_file(folder / "weights.safetensors"),
            steps=[list(micro_steps.values()) for micro_steps in steps.values()][:count],
        )


class PlainLoop:
    """Training loop of a translator with Adam."""

    def __init__(
        self, model: nn.Module, logits_of: Callable[[Batch], Tensor], label_smoothing: float, dtype: str, device: str
    ) -> None:
        """Move the model to the device; `logits_of` maps a batch to (B, T, V)."""
        model.to(device).train()
        self.logits_of, self.label_smoothing, self.device = logits_of, label_smoothing, torch.device(device)
        self.in_bf16 = dtype == "bf16"
        self.parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.Adam(self.parameters, lr=0.0, betas=BETAS, eps=EPS, fused=True)

    def update(self, micro_steps: list[Batch], lr: float) -> float:
        """Run one update; return the loss in nats per target token."""
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        count = sum(int((batch["tgt_out"] >= 0).sum()) for batch in micro_steps)
        total = 0.0
        for batch in micro_steps:
            on_device = {name: value.to(self.device) for name, value in batch.items()}
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.in_bf16):
                logits = self.logits_of(on_device)
                loss = F.cross_entropy(
                    logits.flatten(0, 1),
                    on_device["tgt_out"].flatten(),
                    reduction="sum",
                    label_smoothing=self.label_smoothing,
                )
            (loss / count).backward()
            total += loss.item()
        nn.utils.clip_grad_norm_(self.parameters, MAX_GRAD_NORM)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return total / count


def train(model: nn.Module, logits_of: Callable[[Batch], Tensor], workload: Workload, job: TrainingJob) -> Json:
    """Run and time the updates."""
    loop = PlainLoop(model, logits_of, workload.label_smoothing, job.dtype, job.device)
    seconds, losses, padding = [], [], []
    for micro_steps, lr in zip(workload.steps, workload.lrs, strict=False):
        started = time.perf_counter()
        losses.append(loop.update(micro_steps, lr))
        seconds.append(time.perf_counter() - started)
        padding.append(padding_shares(micro_steps))
    src_padding, tgt_padding = (list(side) for side in zip(*padding, strict=True))
    return asdict(TrainingResult(seconds, losses, src_padding, tgt_padding, peak_memory_mb(job.device)))


def padding_shares(micro_steps: list[Batch]) -> tuple[float, float]:
    """Return the share of padding in the source and in the target tensors."""
    src = sum(int(batch["src_lengths"].sum()) for batch in micro_steps)
    tgt = sum(int((batch["tgt_out"] >= 0).sum()) for batch in micro_steps)
    src_positions = sum(batch["src"].numel() for batch in micro_steps)
    tgt_positions = sum(batch["tgt_out"].numel() for batch in micro_steps)
    return 1 - src / src_positions, 1 - tgt / tgt_positions
