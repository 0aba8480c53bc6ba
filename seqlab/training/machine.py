"""What a run computes on: device, precision, threads, memory."""

import logging
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch

from seqlab.contention import fair_threads, other_tasks
from seqlab.host_memory import prepare_heap
from seqlab.nn.precision import choose_device, choose_dtype
from seqlab.runs.config import TrainingConfig
from seqlab.world import ALONE, World, usable_cores

logger = logging.getLogger(__name__)

CORES = "cores"
"""The key of run.json for the cores of the machine that the run was begun on."""


@dataclass(frozen=True)
class Machine:
    """The device and its precision, chosen once, and the processes that train together."""

    device: torch.device
    dtype: torch.dtype
    world: World = ALONE
    is_sharded: bool = False
    """Whether the ranks divide the weights among them (FSDP) instead of each holding all."""

    def autocast(self) -> torch.autocast:
        """Give the context that a forward pass runs in: bf16 products, or none."""
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.dtype == torch.bfloat16)


@dataclass(frozen=True)
class Fingerprint:
    """What bit-for-bit equality depends on besides the config."""

    torch_version: str
    processor: str
    threads: int
    device: str
    dtype: str
    world_size: int

    def differences(self, other: dict[str, Any]) -> list[str]:
        """Name what another machine's fingerprint has differently."""
        own, other = asdict(self), {"world_size": 1, **other}
        return [f"{name} {other.get(name)} -> {value}" for name, value in own.items() if other.get(name) != value]


def set_up(config: TrainingConfig, world: World = ALONE, before: Mapping[str, Any] | None = None) -> Machine:
    """Choose device and precision, set the threads and prepare the heap.

    `before`: the run.json of a run that is continued, as bit for bit it goes on with as many threads alone.
    """
    threads = world.threads() if config.threads is None else config.threads
    if threads is None:
        threads = _shared_threads(before)
    if threads is not None:
        torch.set_num_threads(threads)
    device = choose_device(world.device_name(config.device))
    if device.type == "cpu":
        prepare_heap()
    elif not world.is_alone:
        torch.cuda.set_device(device)  # what NCCL works on
    is_sharded = config.parallel == "fsdp" and not world.is_alone
    return Machine(device, choose_dtype(config.precision, device), world, is_sharded)


def _shared_threads(before: Mapping[str, Any] | None) -> int | None:
    """Return how many threads a run takes beside other programs, None for all.

    One that is continued takes as many as it began with, or all where it is from a machine of more or fewer cores.
    """
    if before is not None:
        same_cores = before.get(CORES) == usable_cores()
        return before["machine"]["threads"] if same_cores and "OMP_NUM_THREADS" not in os.environ else None
    threads = fair_threads()
    if threads is not None:
        logger.warning(
            "%d tasks of other programs want the %d cores: training takes %d of them (`--threads %d` takes all)",
            other_tasks(),
            usable_cores(),
            threads,
            usable_cores(),
        )
    return threads


def fingerprint(machine: Machine) -> Fingerprint:
    """Describe this machine as far as results depend on it."""
    return Fingerprint(
        torch_version=str(torch.__version__),
        processor=torch.cuda.get_device_name(machine.device) if machine.device.type == "cuda" else _processor(),
        threads=torch.get_num_threads(),
        device=machine.device.type,
        dtype=str(machine.dtype).removeprefix("torch."),
        world_size=machine.world.world_size,
    )


def _processor() -> str:
    """Name the processor and the instructions that torch's kernels are chosen by."""
    name = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            name = next((line.split(":", 1)[1].strip() for line in file if line.startswith("model name")), name)
    return f"{name}, {torch.backends.cpu.get_cpu_capability()}"
