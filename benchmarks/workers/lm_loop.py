"""Plain PyTorch training loop for language models: autocast, loss, backward, clipping, AdamW."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from benchmarks.lm_records import LmTrainingJob, LmTrainingResult
from benchmarks.lm_shapes import LmShape
from benchmarks.records import Json
from benchmarks.workers.lm_profile import Profile
from benchmarks.workers.lm_runs import MAX_GRAD_NORM, OPTIMIZER
from benchmarks.workers.memory import peak_memory_mb

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}

Forward = Callable[[Tensor, Any], tuple[Tensor, Any]]
"""Function (ids (B, T), state of the previous block or None) -> logits (B, T, V) and the next state."""


class Block(NamedTuple):
    """Inputs and targets of one update."""

    tgt_in: Tensor
    """Input ids (B, T), int64."""
    tgt_out: Tensor
    """Target ids (B, T), int64; -100 at ignored positions."""
    continues: bool
    """Whether the rows continue those of the previous block."""


@dataclass(frozen=True)
class LmWorkload:
    """Workload written by `prepare_lm`."""

    shape: LmShape
    vocab_size: int
    start_id: int
    """Id of the newline at the start of a text."""
    characters: list[str]
    """Character of each id."""
    lrs: list[float]
    weights: Mapping[str, Tensor]
    blocks: list[Block]

    @classmethod
    def read(cls, folder: Path, weights: str = "weights", count: int = 0) -> "LmWorkload":
        """Read WEIGHTS.safetensors and the blocks of the first `count` updates."""
        shared = json.loads((folder / "workload.json").read_text(encoding="utf-8"))
        tensors = load_file(folder / "blocks.safetensors") if count else {}
        blocks = [
            Block(tensors[f"{step:05d}.tgt_in"], tensors[f"{step:05d}.tgt_out"], continues)
            for step, continues in enumerate(shared["continues"][:count])
        ]
        return cls(
            shape=LmShape(**shared["shape"]),
            vocab_size=shared["vocab_size"],
            start_id=shared["start_id"],
            characters=shared["characters"],
            lrs=shared["lrs"],
            weights=load_file(folder / f"{weights}.safetensors"),
            blocks=blocks,
        )


class LmLoop:
    """Training loop of a language model with AdamW."""

    def __init__(self, model: nn.Module, forward: Forward, dtype: str, device: str) -> None:
        """Move the model to the device; only matrices have weight decay."""
        model.to(device).train()
        self.forward, self.device, self.in_bf16 = forward, torch.device(device), dtype == "bf16"
        self.parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        groups = [
            {"params": [p for p in self.parameters if p.dim() > 1], "weight_decay": OPTIMIZER.weight_decay},
            {"params": [p for p in self.parameters if p.dim() <= 1], "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(groups, lr=0.0, betas=OPTIMIZER.betas, eps=OPTIMIZER.eps, fused=True)
        self.state: Any = None

    def update(self, block: Block, lr: float) -> float:
        """Run one update; return the loss in nats per token."""
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        tgt_in, tgt_out = block.tgt_in.to(self.device), block.tgt_out.to(self.device)
        state = _detach(self.state) if block.continues else None
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.in_bf16):
            logits, self.state = self.forward(tgt_in, state)
            loss = F.cross_entropy(logits.flatten(0, 1), tgt_out.flatten())
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters, MAX_GRAD_NORM)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss.item()


def _detach(state: Any) -> Any:
    """Detach the state of `nn.LSTM` (a pair) or `nn.GRU` from its graph."""
    if isinstance(state, tuple):
        return tuple(part.detach() for part in state)
    return None if state is None else state.detach()


def train(model: nn.Module, forward: Forward, workload: LmWorkload, job: LmTrainingJob) -> Json:
    """Run and time the updates."""
    loop = LmLoop(model, forward, job.dtype, job.device)
    return time_updates(lambda step: loop.update(workload.blocks[step], workload.lrs[step]), job)


def time_updates(update: Callable[[int], float], job: LmTrainingJob) -> Json:
    """Run the updates of a job, each of which returns its loss, and profile the last ones if requested."""
    seconds, losses = [], []
    with Profile() as profile:
        for step in range(job.steps):
            if job.profiled and step == job.steps - job.profiled:
                profile.begin()
            started = time.perf_counter()
            losses.append(update(step))
            seconds.append(time.perf_counter() - started)
    return asdict(LmTrainingResult(seconds, losses, peak_memory_mb(job.device), profile.shares()))
