"""Output sizes and receptive fields of convolutions against the layers themselves; norms of features."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seqlab.nn.convolution import ConvolutionBlock, OutputGeometry, output_geometry
from seqlab.nn.feature_norm import BatchNorm, make_feature_norm

BLOCKS = st.lists(
    st.fixed_dictionaries(
        {
            "kernel": st.sampled_from([1, 3, 5]),
            "stride": st.integers(1, 2),
            "padding": st.sampled_from(["same", "valid"]),
            "dilation": st.integers(1, 3),
            "pooling": st.sampled_from(["none", "max", "mean"]),
            "pool_size": st.integers(2, 3),
        }
    ),
    min_size=1,
    max_size=3,
)


@settings(max_examples=60)
@given(BLOCKS, st.integers(1, 40), st.sampled_from([1, 2]))
def test_output_size_and_receptive_field_equal_those_of_the_layers(
    options: list[dict[str, object]], size: int, dimensions: int
) -> None:
    blocks = [ConvolutionBlock(dimensions, 1, 1, **each) for each in options]  # type: ignore[arg-type]
    geometry = output_geometry(blocks, size)
    x = torch.zeros(1, 1, *(size,) * dimensions)
    if geometry.size == 0:
        with pytest.raises(RuntimeError):
            torch.nn.Sequential(*blocks)(x)
        return
    for block in blocks:  # make layers linear: the gradient is nonzero wherever the output depends on x
        torch.nn.init.ones_(block.convolution.weight)
        torch.nn.init.zeros_(block.convolution.bias)
        block.activation = torch.nn.Identity()
        if not isinstance(block.pool, torch.nn.Identity):
            block.pool = (torch.nn.AvgPool1d if dimensions == 1 else torch.nn.AvgPool2d)(block.pool_size)
    x.requires_grad_()
    output = torch.nn.Sequential(*blocks)(x)
    assert output.shape == (1, 1, *(geometry.size,) * dimensions)
    middle = geometry.size // 2
    index = (0, 0, middle) if dimensions == 1 else (0, 0, middle, middle)
    (input_grad,) = torch.autograd.grad(output[index], x)
    grad = input_grad[0, 0] if dimensions == 1 else input_grad[0, 0].sum(1)
    positions = grad.nonzero()[:, 0]
    extent = int(positions.max() - positions.min()) + 1
    assert extent <= geometry.receptive_field
    if all(each["dilation"] == 1 for each in options) and positions.min() > 0 and positions.max() < size - 1:
        assert extent == geometry.receptive_field


def test_geometry_of_vgg() -> None:
    """First two blocks of VGG: two 3x3 convolutions and a pooling each."""
    geometry = OutputGeometry(224)
    for _ in range(2):
        geometry = geometry.after(3, padding=1).after(3, padding=1).after(2, stride=2)
    assert geometry == OutputGeometry(56, 16, 4)


@pytest.mark.parametrize("kind", ["batch", "layer", "group", "rms"])
@pytest.mark.parametrize("shape", [(6, 16), (6, 16, 5), (6, 16, 4, 3)])
def test_feature_norms_equal_their_definitions(kind: str, shape: tuple[int, ...]) -> None:
    x = 3 * torch.randn(shape) + 2
    norm = make_feature_norm(kind, 16)  # type: ignore[arg-type]
    found = norm(x)
    assert found.shape == x.shape
    flat = x.flatten(2) if len(shape) > 2 else x[..., None]
    if kind == "batch":
        dims, mean = (0, 2), True
    elif kind == "group":
        flat, dims, mean = flat.unflatten(1, (2, 8)), (2, 3), True
    else:
        dims, mean = (1,), kind == "layer"
    centered = flat - flat.mean(dims, keepdim=True) if mean else flat
    expected = centered / centered.square().mean(dims, keepdim=True).add(1e-5).sqrt()
    torch.testing.assert_close(found, expected.reshape(shape), atol=1e-4, rtol=1e-4)


def test_batch_norm_in_evaluation_mode_is_independent_of_the_batch() -> None:
    norm = BatchNorm(4)
    for _ in range(50):
        norm(5 + 2 * torch.randn(64, 4, 3, 3))
    norm.eval()
    x = torch.randn(7, 4, 3, 3)
    assert torch.equal(norm(x)[2:3], norm(x[2:3]))
    torch.testing.assert_close(norm.running_mean, torch.full((4,), 5.0), atol=0.2, rtol=0)


def test_batch_norm_of_a_single_vector_uses_running_means() -> None:
    norm = BatchNorm(4)
    before = norm.running_mean.clone()
    assert torch.allclose(norm(torch.ones(1, 4)), torch.ones(1, 4), atol=1e-4)
    assert torch.equal(norm.running_mean, before)


def test_even_kernel_with_same_padding_is_refused() -> None:
    with pytest.raises(ValueError, match="`padding: same` needs an odd `kernel`, but it is 2 instead"):
        ConvolutionBlock(1, 1, 1, kernel=2)
