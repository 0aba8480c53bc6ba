"""What a run computes on: device, precision, threads, memory."""

import os
import platform
from dataclasses import asdict, dataclass
from typing import Any

import torch

from seqlab.nn.precision import choose_device, choose_dtype, keep_freed_pages
from seqlab.runs.config import TrainingConfig


@dataclass(frozen=True)
class Machine:
    """The device and its precision, chosen once."""

    device: torch.device
    dtype: torch.dtype

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

    def differences(self, other: dict[str, Any]) -> list[str]:
        """Name what another machine's fingerprint has differently."""
        own = asdict(self)
        return [f"{name} {other.get(name)} -> {value}" for name, value in own.items() if other.get(name) != value]


def set_up(config: TrainingConfig) -> Machine:
    """Choose device and precision, set the threads and keep freed memory."""
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    device = choose_device(config.device)
    if device.type == "cpu":
        keep_freed_pages()
    return Machine(device, choose_dtype(config.precision, device))


def fingerprint(machine: Machine) -> Fingerprint:
    """Describe this machine as far as results depend on it."""
    return Fingerprint(
        torch_version=str(torch.__version__),
        processor=torch.cuda.get_device_name(machine.device) if machine.device.type == "cuda" else _processor(),
        threads=torch.get_num_threads(),
        device=machine.device.type,
        dtype=str(machine.dtype).removeprefix("torch."),
    )


def _processor() -> str:
    """Name the processor and the instructions that torch's kernels are chosen by."""
    name = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            name = next((line.split(":", 1)[1].strip() for line in file if line.startswith("model name")), name)
    return f"{name}, {torch.backends.cpu.get_cpu_capability()}"
