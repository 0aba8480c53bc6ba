"""One model on several ranks: each holds all of it (DistributedDataParallel), or a part of every weight (FSDP2)."""

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

SHARDED_PARTS = (SelfAttention, FeedForward)
"""What is gathered when it is computed and let go again: most of the weights. All others stay gathered from the forward
pass to the end of the backward pass: they are few, or, as the embedding, used in more than one place."""


def parallelize(module: nn.Module, device_context: DeviceContext) -> nn.Module:
    """Move a module to the device and let its gradients be the mean over all ranks; alone it stays as it is.

    All uses of its weights must be in its own forward pass.
    """
    synchronize_batch_norms(module, device_context)
    if device_context.is_sharded and any(parameter.requires_grad for parameter in module.parameters()):
        return _sharded(module, device_context)
    module.to(device_context.device)
    if device_context.world.is_single_process or not any(parameter.requires_grad for parameter in module.parameters()):
        return module
    with warnings.catch_warnings():
        # The option's new name is not in older versions. Buffers are sent before a checkpoint (`TrainingRun.buffers`).
        warnings.filterwarnings("ignore", category=FutureWarning, message=".*broadcast_buffers")
        return DistributedDataParallel(module, broadcast_buffers=False, gradient_as_bucket_view=True)


def synchronize_batch_norms(module: nn.Module, device_context: DeviceContext) -> None:
    """Let batch norms take their statistics over the micro-steps of all ranks (as `nn.SyncBatchNorm` on a GPU)."""
    for part in module.modules() if not device_context.world.is_single_process else ():
        if isinstance(part, BatchNorm):
            part.sum_over_ranks = SumOverRanks.apply


def mark_idle(module: nn.Module, is_idle: bool) -> None:
    """Tell batch norms whether the next micro-step of this rank predicts nothing, so that it does not count."""
    for part in module.modules():
        if isinstance(part, BatchNorm):
            part.is_idle = is_idle


class SumOverRanks(torch.autograd.Function):
    """Sum a tensor over all ranks, and its gradients, too: each rank's loss depends on the inputs of all."""

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


def _sharded(module: nn.Module, device_context: DeviceContext) -> nn.Module:
    """Divide the parameters in place: the module keeps its names and its type, and its parameters become DTensors."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import FSDPModule, fully_shard

    # About in-place changes of a part's output: the residual branches make none.
    warnings.filterwarnings("ignore", category=UserWarning, message="FSDP2-wrapped module")
    mesh = init_device_mesh(device_context.device.type, (device_context.world.world_size,))
    for part in [each for each in module.modules() if isinstance(each, SHARDED_PARTS)]:
        fully_shard(part, mesh=mesh)
    fully_shard(module, mesh=mesh)
    for each in module.modules():
        if isinstance(each, FSDPModule) and device_context.device.type == "cpu":
            each.set_force_sum_reduction_for_comms(True)  # gloo has no mean
    return module


def sync_gradients_if_last(module: nn.Module, is_last: bool) -> AbstractContextManager[None]:
    """Give the context of a micro-step: with whole weights, gradients are exchanged after the last one of a step.

    Divided ones are exchanged each time, as keeping whole gradients until then would cost the memory that they save.
    """
    if isinstance(module, DistributedDataParallel) and not is_last:
        return module.no_sync()
    return nullcontext()


def whole(tensor: Tensor) -> Tensor:
    """Gather a divided tensor; all ranks must ask. One that is whole is given back."""
    gather = getattr(tensor, "full_tensor", None)  # as a DTensor has, whose module one process need not load
    return tensor if gather is None else gather()


def divided(values: Mapping[str, Tensor], like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Keep this rank's part of tensors that all ranks have whole, where that of the same name and shape is divided."""
    parts = dict(values)
    if not any(hasattr(each, "full_tensor") for each in like.values()):
        return parts
    from torch.distributed.tensor import DTensor, distribute_tensor

    for name, value in values.items():
        model = like.get(name)
        if isinstance(model, DTensor) and model.shape == value.shape:
            parts[name] = distribute_tensor(value.to(model.device), model.device_mesh, model.placements)
    return parts
