"""Count synchronizations of the host with a CUDA device, by PyTorch's profiler."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

WAITING = ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize", "cudaMemcpy")
"""CUDA calls that return after the device has finished. Waiting asynchronous copies synchronize their stream."""


def count_waits(run: Callable[[], Any]) -> Counter[str]:
    """Run a function and count its waiting calls by name, without those of the profiler."""

    def profiled(function: Callable[[], Any]) -> Counter[str]:
        with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
            function()
        return Counter({event.key: event.count for event in profiler.key_averages() if event.key in WAITING})

    torch.cuda.synchronize()
    of_profiler = profiled(lambda: torch.ones(1, device="cuda"))
    return profiled(run) - of_profiler
