"""Which device to compute on, and in which dtype its matrix products run."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from seqlab.nn.cpu.linear import make_repeatable, pack
from seqlab.nn.layers import Linear
from seqlab.nn.projection import VocabularyProjection

DEVICE_TYPES = ("cpu", "cuda")
"""What is tested; torch knows more, some of which (`meta`) compute nothing."""


def choose_device(name: str) -> torch.device:
    """Turn `cpu`, `cuda`, `cuda:1` or `auto` (CUDA where there is one) into a device; raises ValueError.

    It is called before a model is built, so it also makes products repeatable: on a CPU it sets what MKL reads at its
    first product (`make_repeatable`), on a GPU it switches TF32 off where torch has it on.
    """
    make_repeatable()
    try:
        device = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)
    except RuntimeError:
        device = None
    if device is None or device.type not in DEVICE_TYPES:
        raise ValueError(f"`device` must be `auto`, `cpu`, `cuda` or like `cuda:1`, but is `{name}` instead.")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"`device` is `{name}`, but this machine has {torch.cuda.device_count()} CUDA devices.")
    if device.type == "cuda":
        torch.backends.cudnn.allow_tf32 = False  # in its recurrent layers fp32 is fp32 then, as in all other products
        torch.backends.cuda.enable_cudnn_sdp(False)  # it plans anew for each shape, tens of milliseconds on the host
    return device


def supports_bf16(device: torch.device) -> bool:
    """Tell whether the device multiplies matrices in bf16 faster than in fp32."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return device.type == "cpu" and multiplies_bf16_faster(torch.cpu.get_capabilities())


def multiplies_bf16_faster(cpu: Mapping[str, Any]) -> bool:
    """Tell from a processor's capabilities whether its bf16 products are the faster ones.

    Intel's since Sapphire Rapids (the first with `avx512_fp16`) compute them in AMX tiles; AVX-512's bf16 runs at half
    the rate of fp32 there, and is all that a virtual machine without AMX has: an Emerald Rapids multiplied 2048 x 2048
    matrices at 204 GFLOP/s in bf16 and at 378 in fp32, and trained an LSTM 1.3 times as fast in fp32.
    """
    if not cpu.get("avx512_bf16", False):
        return False
    lost_its_tiles = cpu.get("avx512_fp16", False) and not cpu.get("amx_bf16", False)
    return not (lost_its_tiles and "Intel" in cpu["cpu_name"])


def choose_dtype(precision: str, device: torch.device) -> torch.dtype:
    """Turn `bf16`, `fp32` or `auto` (bf16 where the device has it) into a dtype; raises ValueError."""
    choices = {"bf16": torch.bfloat16, "fp32": torch.float32}
    choices["auto"] = torch.bfloat16 if supports_bf16(device) else torch.float32
    if precision not in choices:
        raise ValueError(f"`precision` must be `auto`, `bf16` or `fp32`, but is `{precision}` instead.")
    return choices[precision]


def prepare_inference(module: nn.Module, device: torch.device, dtype: torch.dtype) -> None:
    """Move a module to a device for inference, in place, with the weights of all matrix products in a dtype.

    These are linear layers and vocabulary projections; on a CPU their weights are packed, too. An embedding that shares
    its weight with a projection is cast with it; norms and positions stay in fp32.
    """
    module.to(device)
    for part in module.modules():
        if isinstance(part, Linear | VocabularyProjection):
            for parameter in part.parameters(recurse=False):
                parameter.data = parameter.data.to(dtype)
            if device.type == "cpu":
                pack(part.weight)
