"""Device and precision: choose the device and the dtype of matrix products, and prepare models for inference."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from seqlab.nn.cpu.linear import make_repeatable, pack
from seqlab.nn.layers import Linear
from seqlab.nn.projection import VocabularyProjection

DEVICE_TYPES = ("cpu", "cuda")
"""Supported device types."""


def choose_device(name: str) -> torch.device:
    """Return the device for `cpu`, `cuda`, `cuda:1` or `auto` (CUDA if available), and make matrix products repeatable.

    Call it before a model is built. On a CPU it sets MKL's reproducibility mode, which MKL reads at its first matrix
    product (see `make_repeatable`). On a GPU it disables TF32 in cuDNN.

    Raises:
        ValueError: the name is unknown, or this machine has no such device.
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
        torch.backends.cudnn.allow_tf32 = False  # cuDNN's recurrent layers use it by default
        torch.backends.cuda.enable_cudnn_sdp(False)  # it plans each new shape for tens of ms on the host
    return device


def supports_bf16(device: torch.device) -> bool:
    """Whether the device multiplies matrices faster in bf16 than in fp32."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return device.type == "cpu" and multiplies_bf16_faster(torch.cpu.get_capabilities())


def multiplies_bf16_faster(cpu: Mapping[str, Any]) -> bool:
    """Whether a processor with these capabilities multiplies faster in bf16 than in fp32.

    Intel processors since Sapphire Rapids (the first with `avx512_fp16`) compute bf16 products in AMX tiles; with
    only AVX-512, bf16 runs at half the rate of fp32. Some virtual machines lack AMX. On one of them, an Emerald Rapids
    multiplied 2048 x 2048 matrices at 204 GFLOP/s in bf16 and at 378 in fp32, and trained an LSTM 1.3 times as fast in
    fp32.
    """
    if not cpu.get("avx512_bf16", False):
        return False
    lacks_amx = cpu.get("avx512_fp16", False) and not cpu.get("amx_bf16", False)
    return not (lacks_amx and "Intel" in cpu["cpu_name"])


def choose_dtype(precision: str, device: torch.device) -> torch.dtype:
    """Return the dtype for `bf16`, `fp32` or `auto` (bf16 if it is faster on the device); raises ValueError."""
    choices = {"bf16": torch.bfloat16, "fp32": torch.float32}
    choices["auto"] = torch.bfloat16 if supports_bf16(device) else torch.float32
    if precision not in choices:
        raise ValueError(f"`precision` must be `auto`, `bf16` or `fp32`, but is `{precision}` instead.")
    return choices[precision]


def choose_scoring_dtype(precision: str, device: torch.device) -> torch.dtype:
    """Return the dtype in which given texts are scored: fp32 for `auto`, as bf16 has errors of about 1% in nats."""
    return choose_dtype("fp32" if precision == "auto" else precision, device)


def prepare_inference(module: nn.Module, device: torch.device, dtype: torch.dtype) -> None:
    """Move a module to a device and cast it for inference, in place.

    The weights of linear layers and vocabulary projections are converted to `dtype`; on a CPU they are packed, too. An
    embedding that shares its weight with a projection is converted with it. Norms and positions stay in fp32.
    """
    module.to(device)
    for part in module.modules():
        if isinstance(part, Linear | VocabularyProjection):
            for parameter in part.parameters(recurse=False):
                parameter.data = parameter.data.to(dtype)
            if device.type == "cpu":
                pack(part.weight)
