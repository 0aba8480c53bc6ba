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
"""Keys of run.json. `cores`: number of cores of the machine on which the run started. `fair_threads`: number of threads
that left cores for other programs; null if the run used all cores or the config sets `threads`."""

ARITHMETIC = 2
"""Version of the arithmetic of seqlab's kernels. Increase it with each change that alters the last bits of results.

2: plain PyTorch replaces hand-written backward passes.
"""


@dataclass(frozen=True)
class DeviceContext:
    """Device, precision and ranks of a run."""

    device: torch.device
    dtype: torch.dtype
    world: World = SINGLE_PROCESS
    is_sharded: bool = False
    """Whether weights are sharded over the ranks (FSDP) instead of replicated."""
    is_compiled: bool = False
    """Whether the model is compiled (`torch.compile`)."""
    fair_threads: int | None = None
    """Number of threads that leaves cores for other programs; None if the run uses all cores or sets `threads`."""

    def autocast(self) -> torch.autocast:
        """Return the autocast context of a forward pass: bf16, or disabled."""
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.dtype == torch.bfloat16)


@dataclass(frozen=True)
class Fingerprint:
    """Versions and hardware that determine results bit for bit, together with the config."""

    torch_version: str
    processor: str
    threads: int
    device: str
    dtype: str
    world_size: int
    arithmetic: int = ARITHMETIC
    compiled: bool = False
    reference_kernels: str = ""
    """Names of the kernels that plain PyTorch replaces (`seqlab.nn.reference_kernels`), separated by commas."""

    def differences(self, other: dict[str, Any]) -> list[str]:
        """List the fields that differ from another fingerprint, which may lack the newer fields."""
        current, before = (
            asdict(self),
            {"world_size": 1, "arithmetic": 1, "compiled": False, "reference_kernels": "", **other},
        )
        return [f"{name} {before.get(name)} -> {value}" for name, value in current.items() if before.get(name) != value]


def set_up(
    config: TrainingConfig, world: World = SINGLE_PROCESS, before: Mapping[str, Any] | None = None
) -> DeviceContext:
    """Choose device and precision, set the number of threads and prepare the heap.

    `before` is run.json of a resumed run, None for a new run. A resumed run keeps its number of threads, because
    another number rounds sums differently.
    """
    threads, fair = world.thread_count() if config.threads is None else config.threads, None
    if threads is None:
        threads = fair = _fair_threads(before)
    if threads is not None:
        torch.set_num_threads(threads)
    device = choose_device(world.device_name(config.device))
    if device.type == "cpu":
        prepare_heap()
    elif device.index is not None:
        torch.cuda.set_device(device)  # NCCL and CUDA events use the current device
    is_sharded = config.parallel == "fsdp" and not world.is_single_process
    return DeviceContext(
        device, choose_dtype(config.precision, device), world, is_sharded, _compiles(config, device), fair
    )


def _compiles(config: TrainingConfig, device: torch.device) -> bool:
    if not config.compile:
        return False
    if device.type == "cpu":
        raise ValueError("`training.compile` needs a GPU: on the CPU seqlab uses other kernels. Set it to false.")
    if config.parallel == "fsdp":
        raise ValueError("`training.compile` and `training.parallel: fsdp` do not work together: disable one of them.")
    if find_spec("triton") is None:
        logger.warning("The model is not compiled: torch.compile needs triton, which is not installed.")
        return False
    return True


def _fair_threads(before: Mapping[str, Any] | None) -> int | None:
    """Return a number of threads that leaves cores for other programs; None to use all cores.

    A resumed run keeps its number of threads, or uses all cores if their number has changed.
    """
    if before is not None:
        threads = before.get(FAIR_THREADS) if before.get(CORES) == usable_cores() else None
        reason = "the run did when it started"
    else:
        threads, reason = fair_thread_count(), "other programs compete for them"
    if threads is not None:
        text = "Training uses %d of the %d cores, as %s (`--threads %d` uses all)."
        logger.warning(text, threads, usable_cores(), reason, usable_cores())
    return threads


def fingerprint(device_context: DeviceContext) -> Fingerprint:
    """Return the fingerprint of this process: versions and hardware that results depend on."""
    device = device_context.device
    return Fingerprint(
        torch_version=str(torch.__version__),
        processor=torch.cuda.get_device_name(device) if device.type == "cuda" else _processor(),
        threads=torch.get_num_threads(),
        device=device.type,
        dtype=str(device_context.dtype).removeprefix("torch."),
        world_size=device_context.world.world_size,
        compiled=device_context.is_compiled,
        reference_kernels=",".join(filter(is_reference, TRAINING_KERNELS)),
    )


def _processor() -> str:
    """Return the name of the processor and the instruction set that torch's kernels use."""
    name = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            name = next((line.split(":", 1)[1].strip() for line in file if line.startswith("model name")), name)
    return f"{name}, {torch.backends.cpu.get_cpu_capability()}"
