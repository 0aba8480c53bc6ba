"""The device, precision, threads and memory of a run."""

import logging
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from typing import Any

import torch

from seqlab.base.malloc import prepare_heap
from seqlab.base.openmp import fair_thread_count
from seqlab.base.world import SINGLE_PROCESS, World, usable_cores
from seqlab.nn.kernels import TRAINING_KERNELS, is_reference
from seqlab.nn.precision import choose_device, choose_dtype
from seqlab.runs.config import TrainingConfig

logger = logging.getLogger(__name__)

CORES, FAIR_THREADS = "cores", "fair_threads"
"""Keys of run.json: the cores of the machine that the run was begun on; how many of them it took beside other programs,
null where it took all or the config says how many."""

ARITHMETIC = 2
"""The number of seqlab's own arithmetic, raised with each change by which a training computes other last bits.

2: plain PyTorch trains where backward passes were written by hand.
"""


@dataclass(frozen=True)
class DeviceContext:
    """The device and its precision, chosen once, and the processes that train together."""

    device: torch.device
    dtype: torch.dtype
    world: World = SINGLE_PROCESS
    is_sharded: bool = False
    """Whether the ranks divide the weights among them (FSDP) instead of each holding all."""
    compiles: bool = False
    """Whether the model is compiled (`torch.compile`)."""
    fair_threads: int | None = None
    """The fair share of the cores that was taken beside other programs; None where all were, or the config says it."""

    def autocast(self) -> torch.autocast:
        """Give the context that a forward pass runs in: bf16 products, or none."""
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.dtype == torch.bfloat16)


@dataclass(frozen=True)
class Fingerprint:
    """Everything besides the config that bit-for-bit equality depends on."""

    torch_version: str
    processor: str
    threads: int
    device: str
    dtype: str
    world_size: int
    arithmetic: int = ARITHMETIC
    compiled: bool = False
    reference_kernels: str = ""
    """Those that plain PyTorch replaces (`seqlab.nn.reference_kernels`), separated by commas."""

    def differences(self, other: dict[str, Any]) -> list[str]:
        """Name what another machine's fingerprint has differently; older ones lack the last fields."""
        own, other = (
            asdict(self),
            {"world_size": 1, "arithmetic": 1, "compiled": False, "reference_kernels": "", **other},
        )
        return [f"{name} {other.get(name)} -> {value}" for name, value in own.items() if other.get(name) != value]


def set_up(
    config: TrainingConfig, world: World = SINGLE_PROCESS, before: Mapping[str, Any] | None = None
) -> DeviceContext:
    """Choose device and precision, set the threads and prepare the heap.

    `before`: run.json of the run that is continued, None for a new one. A run keeps the fair share of the cores that it
    was begun with, as another number of threads rounds sums differently.
    """
    threads, fair = world.thread_count() if config.threads is None else config.threads, None
    if threads is None:
        threads = fair = _shared_threads(before)
    if threads is not None:
        torch.set_num_threads(threads)
    device = choose_device(world.device_name(config.device))
    if device.type == "cpu":
        prepare_heap()
    elif device.index is not None:
        torch.cuda.set_device(device)  # what NCCL works on, and whose stream an event is recorded on
    is_sharded = config.parallel == "fsdp" and not world.is_single_process
    return DeviceContext(
        device, choose_dtype(config.precision, device), world, is_sharded, _compiles(config, device), fair
    )


def _compiles(config: TrainingConfig, device: torch.device) -> bool:
    if not config.compile:
        return False
    if device.type == "cpu":
        raise ValueError("`training.compile` needs a GPU: on the CPU seqlab has kernels of its own. Set it to false.")
    if config.parallel == "fsdp":
        raise ValueError("`training.compile` and `training.parallel: fsdp` do not work together: set one of them back.")
    if find_spec("triton") is None:
        logger.warning("The model is not compiled: torch.compile needs triton, which is not installed.")
        return False
    return True


def _shared_threads(before: Mapping[str, Any] | None) -> int | None:
    """Return how many threads a run takes beside other programs, None for all.

    One that is continued takes as many as it began with, or all where it is from a machine of more or fewer cores.
    """
    if before is not None:
        threads = before.get(FAIR_THREADS) if before.get(CORES) == usable_cores() else None
        reason = "the run did when it was begun"
    else:
        threads, reason = fair_thread_count(), "other programs compete for them"
    if threads is not None:
        text = "Training uses %d of the %d cores, as %s (`--threads %d` uses all)."
        logger.warning(text, threads, usable_cores(), reason, usable_cores())
    return threads


def fingerprint(machine: DeviceContext) -> Fingerprint:
    """Describe this machine as far as results depend on it."""
    return Fingerprint(
        torch_version=str(torch.__version__),
        processor=torch.cuda.get_device_name(machine.device) if machine.device.type == "cuda" else _processor(),
        threads=torch.get_num_threads(),
        device=machine.device.type,
        dtype=str(machine.dtype).removeprefix("torch."),
        world_size=machine.world.world_size,
        compiled=machine.compiles,
        reference_kernels=",".join(filter(is_reference, TRAINING_KERNELS)),
    )


def _processor() -> str:
    """Name the processor and the instructions that torch's kernels are chosen by."""
    name = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            name = next((line.split(":", 1)[1].strip() for line in file if line.startswith("model name")), name)
    return f"{name}, {torch.backends.cpu.get_cpu_capability()}"
