"""Convolutions over spectrograms: independence from padding, and equality with `torch.nn.Conv2d`."""

import pytest
import torch
from torch import nn

from seqlab.nn.frame_convolution import FrameConvolution, Subsampling, subsampled_lengths

BANDS = 9


@pytest.mark.parametrize("norm", ["none", "layer", "rms"])
@pytest.mark.parametrize("depth", [1, 2])
def test_outputs_do_not_depend_on_padding(norm: str, depth: int) -> None:
    torch.manual_seed(0)
    layer = Subsampling(BANDS, (4, 6), 5, norm=norm, depth=depth).eval()
    lengths = [1, 2, 3, 4, 5, 11, 12, 13]
    rows = [torch.randn(length, BANDS) for length in lengths]
    padded = torch.full((len(rows), 20, BANDS), 1e3)
    for index, row in enumerate(rows):
        padded[index, : len(row)] = row
    batched, output_lengths = layer(padded, torch.tensor(lengths))
    for index, row in enumerate(rows):
        single, output_length = layer(row[None], torch.tensor([len(row)]))
        assert int(output_length) == int(output_lengths[index]) == -(-len(row) // 4) == single.size(1)
        torch.testing.assert_close(batched[index, : int(output_length)], single[0], rtol=1e-5, atol=1e-5)


def test_unpadded_recordings_equal_torch() -> None:
    torch.manual_seed(0)
    layer = FrameConvolution(1, 4, stride=2)
    torch_layer = nn.Conv2d(1, 4, 3, 2, padding=1)
    torch_layer.load_state_dict(layer.convolution.state_dict())
    x = torch.randn(2, 1, 13, BANDS)
    found, lengths = layer(x, torch.tensor([13, 13]))
    torch.testing.assert_close(found, torch_layer(x).relu())
    assert lengths.tolist() == [7, 7]
    assert found.shape[2:] == (7, 5)


def test_layers_with_a_stride_of_one_are_residual() -> None:
    layer = FrameConvolution(3, 3, stride=1)
    nn.init.zeros_(layer.convolution.weight)
    nn.init.zeros_(layer.convolution.bias)
    x = torch.randn(1, 3, 5, BANDS)
    torch.testing.assert_close(layer(x, torch.tensor([5]))[0], x)


def test_subsampled_lengths() -> None:
    sizes = torch.arange(1, 30)
    for stride in (1, 2, 3):
        expected = [len(range(0, size, stride)) for size in sizes.tolist()]
        assert subsampled_lengths(sizes, stride).tolist() == expected


@pytest.mark.parametrize("norm", ["batch", "group"])
def test_norms_that_depend_on_padding_are_refused(norm: str) -> None:
    with pytest.raises(ValueError, match="would depend on padding"):
        FrameConvolution(1, 4, stride=2, norm=norm)
