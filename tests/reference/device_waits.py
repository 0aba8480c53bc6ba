"""How often the host waits for a CUDA device, counted by PyTorch's profiler."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

WAITING = ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize", "cudaMemcpy")
"""Calls of CUDA that return when the device is done. Asynchronous copies that wait synchronise their stream."""


def count_waits(run: Callable[[], Any]) -> Counter[str]:
    """Run a function and count the calls that wait, by name; those of the profiler itself are not counted."""

    def profiled(function: Callable[[], Any]) -> Counter[str]:
        with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
            function()
        return Counter({event.key: event.count for event in profiler.key_averages() if event.key in WAITING})

    torch.cuda.synchronize()
    of_profiler = profiled(lambda: torch.ones(1, device="cuda"))
    return profiled(run) - of_profiler
