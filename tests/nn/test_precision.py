"""Choice of device and dtype, and casting of weights for inference."""

import copy

import pytest
import torch
from torch import nn

from seqlab.nn.layers import Linear
from seqlab.nn.precision import choose_device, choose_dtype, multiplies_bf16_faster, prepare_inference, supports_bf16
from seqlab.nn.projection import VocabularyProjection


def test_device_and_dtype_are_chosen() -> None:
    cpu = torch.device("cpu")
    assert choose_device("cpu") == cpu
    assert choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert choose_dtype("fp32", cpu) == torch.float32
    assert choose_dtype("bf16", cpu) == torch.bfloat16
    assert (choose_dtype("auto", cpu) == torch.bfloat16) == supports_bf16(cpu)


def test_bf16_is_chosen_on_cpus_that_multiply_it_faster() -> None:
    zen = {"cpu_name": "AMD EPYC", "avx512_bf16": True}
    cooper_lake = {"cpu_name": "Intel Xeon", "avx512_bf16": True}
    sapphire_rapids = cooper_lake | {"avx512_fp16": True, "amx_bf16": True}
    assert all(multiplies_bf16_faster(cpu) for cpu in (zen, cooper_lake, sapphire_rapids, zen | {"avx512_fp16": True}))
    without_tiles = sapphire_rapids | {"amx_bf16": False}
    assert not any(multiplies_bf16_faster(cpu) for cpu in (without_tiles, {"cpu_name": "Apple M1"}))


def test_invalid_devices_and_dtypes_are_refused() -> None:
    for name in ("gpu", "mps", "meta", "xpu", ""):
        with pytest.raises(ValueError, match=f"is `{name}` instead"):
            choose_device(name)
    with pytest.raises(ValueError, match="this machine has"):
        choose_device("cuda:99")
    with pytest.raises(ValueError, match="is `fp16` instead"):
        choose_dtype("fp16", torch.device("cpu"))


def test_linear_weights_are_cast_but_not_norms() -> None:
    weight = nn.Parameter(torch.randn(5, 4))
    embedding = nn.Embedding(5, 4)
    embedding.weight = weight
    module = nn.ModuleList([Linear(4, 4), nn.LayerNorm(4), VocabularyProjection(weight), embedding])
    prepare_inference(module, torch.device("cpu"), torch.bfloat16)
    dtypes = {name: parameter.dtype for name, parameter in module.named_parameters()}
    assert dtypes == {
        "0.weight": torch.bfloat16,
        "0.bias": torch.bfloat16,
        "1.weight": torch.float32,
        "1.bias": torch.float32,
        "2.weight": torch.bfloat16,
    }
    assert embedding.weight is module[2].weight


def test_repeated_preparation_uses_changed_weights() -> None:
    module, x = nn.Sequential(Linear(4, 4), nn.LayerNorm(4)), torch.randn(3, 4)
    prepare_inference(module, torch.device("cpu"), torch.float32)
    with torch.inference_mode():
        torch.testing.assert_close(copy.deepcopy(module)(x), module(x))
    module.load_state_dict({name: torch.zeros_like(value) for name, value in module.state_dict().items()})
    prepare_inference(module, torch.device("cpu"), torch.float32)
    with torch.inference_mode():
        assert module(x).count_nonzero() == 0
