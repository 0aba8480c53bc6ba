"""Count synchronizations of the host with a CUDA device, using PyTorch's profiler."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

SYNCHRONIZING_CALLS = ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize", "cudaMemcpy")
"""CUDA calls that wait for the device. Asynchronous copies that wait appear as synchronizations of their stream."""


def count_waits(run: Callable[[], Any]) -> Counter[str]:
    """Run a function and count its synchronizing calls by name, without those of the profiler itself."""

    def count_calls(function: Callable[[], Any]) -> Counter[str]:
        with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
            function()
        return Counter(
            {event.key: event.count for event in profiler.key_averages() if event.key in SYNCHRONIZING_CALLS}
        )

    torch.cuda.synchronize()
    profiler_calls = count_calls(lambda: torch.ones(1, device="cuda"))
    return count_calls(run) - profiler_calls
