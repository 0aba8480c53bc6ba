"""Data parallel training: replicated weights (DistributedDataParallel) or sharded weights (FSDP2)."""

import warnings
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from seqlab.nn.attention import SelfAttention
from seqlab.nn.feature_norm import BatchNorm
from seqlab.nn.transformer import FeedForward
from seqlab.training.device_context import DeviceContext

SHARDED_MODULES = (SelfAttention, FeedForward)
"""Modules with most of the weights, which are gathered only while the module computes. All other weights stay gathered
until the end of the backward pass: they are small, or used in several modules, as the embedding is."""


def parallelize(module: nn.Module, device_context: DeviceContext) -> nn.Module:
    """Move a module to the device, and wrap or shard it so that gradients are the mean over all ranks.

    The weights of the module must be used only in its forward pass. With a single process it is only moved.
    """
    synchronize_batch_norms(module, device_context)
    if device_context.is_sharded and any(parameter.requires_grad for parameter in module.parameters()):
        return _shard(module, device_context)
    module.to(device_context.device)
    if device_context.world.is_single_process or not any(parameter.requires_grad for parameter in module.parameters()):
        return module
    with warnings.catch_warnings():
        # Older versions of torch lack the option's new name. `TrainingRun.buffers` sends buffers before a checkpoint.
        warnings.filterwarnings("ignore", category=FutureWarning, message=".*broadcast_buffers")
        return DistributedDataParallel(module, broadcast_buffers=False, gradient_as_bucket_view=True)


def synchronize_batch_norms(module: nn.Module, device_context: DeviceContext) -> None:
    """Make batch norms compute statistics over the micro-steps of all ranks (as `nn.SyncBatchNorm` does on a GPU)."""
    for layer in module.modules() if not device_context.world.is_single_process else ():
        if isinstance(layer, BatchNorm):
            layer.sum_over_ranks = SumOverRanks.apply


def mark_idle(module: nn.Module, is_idle: bool) -> None:
    """Exclude this rank's next micro-step from the statistics of batch norms if it has no targets."""
    for layer in module.modules():
        if isinstance(layer, BatchNorm):
            layer.is_idle = is_idle


class SumOverRanks(torch.autograd.Function):
    """All-reduce (sum) of a tensor, and of its gradient, as each rank's loss depends on the inputs of all ranks."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        summed = tensor.clone()
        dist.all_reduce(summed)
        return summed

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        summed = gradients[0].clone()
        dist.all_reduce(summed)
        return summed


def _shard(module: nn.Module, device_context: DeviceContext) -> nn.Module:
    """Shard the parameters in place (FSDP2): they become DTensors, and the module keeps its names and its type."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import FSDPModule, fully_shard

    # The warning is about in-place changes of a submodule's output, which residual branches do not make.
    warnings.filterwarnings("ignore", category=UserWarning, message="FSDP2-wrapped module")
    mesh = init_device_mesh(device_context.device.type, (device_context.world.world_size,))
    for layer in [child for child in module.modules() if isinstance(child, SHARDED_MODULES)]:
        fully_shard(layer, mesh=mesh)
    fully_shard(module, mesh=mesh)
    for child in module.modules():
        if isinstance(child, FSDPModule) and device_context.device.type == "cpu":
            child.set_force_sum_reduction_for_comms(True)  # gloo cannot compute means
    return module


def sync_gradients_if_last(module: nn.Module, is_last: bool) -> AbstractContextManager[None]:
    """Return the context of a micro-step: DistributedDataParallel reduces gradients only after the last one of a step.

    Sharded gradients are reduced after each micro-step: full gradients would cost the memory that sharding saves.
    """
    if isinstance(module, DistributedDataParallel) and not is_last:
        return module.no_sync()
    return nullcontext()


def mean_over_ranks(tensor: Tensor, world_size: int) -> Tensor:
    """Return the mean of a tensor over all ranks, which must all call this."""
    if world_size == 1:
        return tensor
    dist.all_reduce(tensor)
    return tensor / world_size


def gather_shards(tensor: Tensor) -> Tensor:
    """Gather a sharded tensor on all ranks, which must all call this; return other tensors unchanged."""
    gather = getattr(tensor, "full_tensor", None)  # a DTensor method; its module is not imported for one process
    return tensor if gather is None else gather()


def local_shard(tensor: Tensor) -> Tensor:
    """Return this rank's shard of a sharded tensor, as a view; return other tensors unchanged."""
    to_local = getattr(tensor, "to_local", None)  # a DTensor method
    return tensor if to_local is None else to_local()


def shard_like(values: Mapping[str, Tensor], like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Shard full tensors like the tensors of the same name and shape in `like`; return the others unchanged."""
    sharded = dict(values)
    if not any(hasattr(tensor, "full_tensor") for tensor in like.values()):
        return sharded
    from torch.distributed.tensor import DTensor, distribute_tensor

    for name, value in values.items():
        template = like.get(name)
        if isinstance(template, DTensor) and template.shape == value.shape:
            sharded[name] = distribute_tensor(value.to(template.device), template.device_mesh, template.placements)
    return sharded
