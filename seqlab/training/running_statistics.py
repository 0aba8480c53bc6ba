"""Running statistics of batch norms, recomputed for averaged weights.

The statistics of training belong to the current weights. For averaged weights, the activations have other variances
(Izmailov et al. 2018, arXiv:1803.05407, section 3.2).
"""

from collections.abc import Iterable
from itertools import chain, islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from seqlab.data.batch import Batch
from seqlab.runs.load import copy_weights, named_buffers
from seqlab.training.data_parallel import mark_idle, synchronize_batch_norms
from seqlab.training.device_context import DeviceContext

NUM_STATISTICS_BATCHES = 200
"""Number of micro-steps for the statistics: the first ones of the training data."""


def has_batch_norm(model: nn.Module) -> bool:
    """Return whether a model has batch norms."""
    return any(isinstance(layer, _BatchNorm) for layer in model.modules())


def running_statistics(model: nn.Module) -> list[Tensor]:
    """List the buffers of all batch norms."""
    return [buffer for layer in model.modules() if isinstance(layer, _BatchNorm) for buffer in layer.buffers()]


@torch.no_grad()
def recomputed_buffers(
    model: Any, weights: dict[str, Tensor], batches: Iterable[Batch], device_context: DeviceContext
) -> dict[str, Tensor]:
    """Return a model's buffers, with batch norm statistics recomputed for the given weights, without dropout.

    Args:
        model: a separate model; its weights are overwritten.
        weights: all weights and buffers.
        batches: training batches; the first `NUM_STATISTICS_BATCHES` are used.
        device_context: the device and precision.
    """
    copy_weights(model, weights, Path("averaged weights"))
    model.to(device_context.device).eval()
    synchronize_batch_norms(model, device_context)
    for layer in model.modules():
        if isinstance(layer, _BatchNorm):
            layer.train()
            layer.reset_running_stats()
            layer.momentum = None  # the mean over all batches
    for batch in islice(batches, NUM_STATISTICS_BATCHES):
        mark_idle(model, batch.num_targets == 0)
        with device_context.autocast():
            model(batch.to(device_context.device))
    return named_buffers(model)


def micro_steps(steps: Iterable[Any]) -> Iterable[Batch]:
    """Iterate over the micro-steps of several steps."""
    return chain.from_iterable(step.micro_steps for step in steps)
