"""Worker that measures the peak rate of matrix products of torch's kernels."""

import platform
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.records import Json

SHAPES = ((2048, 1024, 1024), (4096, 256, 1024), (4096, 1024, 256), (1024, 256, 8000), (2048, 2048, 2048))
"""Matrix shapes (rows, inputs, outputs): large ones, and those of the benchmark's layers."""
GPU_SHAPES = ((8192, 8192, 8192), (16384, 4096, 4096))
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def run(job: Json) -> Json:
    """Measure GFLOP/s by dtype: {"peaks": {dtype: {kernel: rate}}, "machine": {...}}."""
    torch.set_num_threads(job["threads"])
    device = torch.device(job["device"])
    peaks: dict[str, dict[str, float]] = {}
    for name, dtype in DTYPES.items():
        for kernel, product in _kernels(dtype, device).items():
            shapes = GPU_SHAPES if device.type == "cuda" else SHAPES
            rates = [_rate(product, shape, dtype, device, job["seconds"]) for shape in shapes]
            peaks.setdefault(name, {})[kernel] = max(rates) / 1e9
    return {"peaks": peaks, "machine": _describe(device)}


def _kernels(dtype: torch.dtype, device: torch.device) -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
    kernels: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"F.linear": F.linear}
    if dtype == torch.float32 and device.type == "cpu" and torch.backends.mkldnn.is_available():
        # In fp32 F.linear uses MKL, which is slower on some processors.
        pointwise = torch.ops.mkldnn._linear_pointwise
        kernels["oneDNN linear"] = lambda x, w: pointwise(x, w, None, "none", [], "")
    return kernels


def _rate(
    product: Callable[[Tensor, Tensor], Tensor],
    shape: tuple[int, int, int],
    dtype: torch.dtype,
    device: torch.device,
    seconds: float,
) -> float:
    """Return the best rate of several runs of one product, in FLOP/s."""
    rows, inputs, outputs = shape
    x = torch.randn(rows, inputs, device=device).to(dtype)
    w = torch.randn(outputs, inputs, device=device).to(dtype)
    best, deadline = float("inf"), time.perf_counter() + seconds
    with torch.inference_mode():
        product(x, w)
        while best == float("inf") or time.perf_counter() < deadline:
            _synchronize(device)
            started = time.perf_counter()
            product(x, w)
            _synchronize(device)
            best = min(best, time.perf_counter() - started)
    return 2 * rows * inputs * outputs / best


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _describe(device: torch.device) -> Json:
    processor = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line for line in cpuinfo.read_text(errors="replace").splitlines() if line.startswith("model name")]
        processor = names[0].partition(":")[2].strip() if names else processor
    return {
        "processor": processor,
        "capability": torch.backends.cpu.get_cpu_capability(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
